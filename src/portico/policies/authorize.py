"""What the authenticated consumer may do: scopes (RFC 6749, section 3.3)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Settings
from portico.policies.consumer_fields import ScopeName, percent_encoded
from portico.policies.policy import Context, Policy


class AuthorizeSettings(Settings):
    """Every one of `scopes` must be among the token's `scope` or `scopes` claim."""

    scopes: Annotated[list[ScopeName], Field(min_length=1)]


def build_authorize(settings: AuthorizeSettings, context: Context) -> Policy:  # noqa: ARG001
    """The policy: refuses with 403 a consumer who lacks a scope."""
    needed = frozenset(settings.scopes)
    wanted = " ".join(settings.scopes)
    shown = " ".join(map(percent_encoded, settings.scopes)).replace("\\", "\\\\").replace('"', '\\"')
    challenge = f'WWW-Authenticate: Bearer realm="portico", error="insufficient_scope", scope="{shown}"'.encode()

    def authorize(exchange: Exchange) -> Answer | None:
        if needed.issubset(exchange.scopes):
            return None
        return Refusal("scope_missing", f"this needs the scopes: {wanted}", (challenge,))

    return authorize
