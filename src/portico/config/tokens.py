"""Tokens that the gateway issues."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portico.config.section import Section
from portico.core.settings import DurationOrZero, NotEmpty


def is_origin(text: str) -> bool:
    """Whether this is the address of a gateway as its clients have it: without a path."""
    parts = urlsplit(text)
    return parts.scheme in ("https", "http") and bool(parts.netloc) and text == f"{parts.scheme}://{parts.netloc}"


def _origin(text: str | None) -> str | None:
    if text is not None and not is_origin(text):
        raise ValueError("expected where clients find the gateway, without a slash at the end: https://api.example.com")
    return text


class TokenSettings(Section):
    """Tokens that the gateway issues at `/auth/token`.

    `refresh` is how long a refresh token is good for if it is not used; 0: there are none. `refresh_grace` is how long
    one that was used may come again, as it does from two tabs of a browser; 0: never.

    With `algorithm` they are signed with keys of the gateway's own, which it makes, replaces every `rotate` (0: only
    when it is told to) and publishes; without, with the secret of `auth.jwt`. `issuer` is what `iss` says.
    """

    algorithm: Literal["Ed25519", "EdDSA", "ES256", "ES384", "ES512", "RS256", "PS256"] | None = None
    """Signs with keys of the gateway's own. `Ed25519` is what RFC 9864 calls `EdDSA` with that curve; ask your
    services' libraries which they know.
    """
    issuer: Annotated[
        str | None, NotEmpty("write issuer: https://api.example.com, or leave it out"), AfterValidator(_origin)
    ] = None
    """Where clients find the gateway; `iss` of its tokens. With it there is `/.well-known/oauth-authorization-server`
    (RFC 8414), from which OAuth clients learn the rest.
    """
    rotate: DurationOrZero = 30 * 86_400.0
    """How long a key signs; 0: until you say so."""

    refresh: DurationOrZero = 14 * 86_400.0
    """How long a refresh token is good for if it is not used; 0: there are none."""
    refresh_grace: Annotated[DurationOrZero, Field(le=60)] = 10.0
    """How long one that was used may come again; 0: never."""
