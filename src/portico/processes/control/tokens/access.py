"""Access tokens: what is in them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from portico.policies.auth import JwtSettings
from portico.policies.auth.acceptance import LATEST
from portico.policies.auth.signed import signed
from portico.processes.control.tokens.signing import Signing


class AccessTokens:
    """Makes tokens that routes with `auth: {jwt: {}}` accept: for their audience, and of a type that they take."""

    def __init__(self, signing: Signing, issuer: str | None, settings: JwtSettings | None, life: int) -> None:
        self._signing = signing
        accepted = settings or JwtSettings()
        self._kind = "JWT" if "JWT" in accepted.types else next(iter(accepted.types), "JWT")
        audience = accepted.audience
        self._named: dict[str, Any] = {
            "iss": issuer,
            "aud": audience[0] if isinstance(audience, list) else audience,
        }
        self.life = life
        """Seconds that a token lives."""

    def issue(
        self,
        consumer: str,
        scopes: Sequence[str],
        client: str | None = None,
        life: float | None = None,
        sign_in: str | None = None,
    ) -> str:
        """A token for a consumer, with these scopes; `client` is the program that acts for it, where that is known.

        `sign_in` names that which it came from: tokens can be revoked by it.
        """
        now = int(time.time())
        claims = {
            **self._named,
            "sub": consumer,
            "client_id": client,
            "scope": " ".join(scopes),
            "iat": now,
            "exp": now + int(life or self.life),
            "sid": sign_in,
            "jti": secrets.token_hex(12),  # it is written in commands, where a dash begins an option
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return self._signing.signed(msgspec.json.encode(said), self._kind)

    def read(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that was signed here and has not ended; None for any other text."""
        try:
            taken = signed(token.encode())
        except (ValueError, RecursionError):
            return None
        keys = self._signing.keys.matching(taken.kid, taken.algorithm)
        ends = taken.claims.get("exp")
        is_own = bool(keys) and taken.is_by(keys) and isinstance(ends, int | float) and time.time() < ends <= LATEST
        return taken.claims if is_own else None
