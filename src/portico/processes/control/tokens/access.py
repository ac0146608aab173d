"""Access tokens: what is in them, and their signature."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import jwt

from portico.policies.auth import JwtSettings


class AccessTokens:
    """Makes tokens that routes with `auth: {jwt: {}}` accept: signed with the same secret, for the same audience."""

    def __init__(self, settings: JwtSettings, life: int) -> None:
        assert settings.secret is not None
        self._key = settings.secret.get_secret_value()
        self._algorithm = settings.accepted[0]
        self._kind = next((kind for kind in ("JWT", *settings.types) if kind in settings.types), "JWT")
        audience = settings.audience
        self._named: dict[str, Any] = {
            "iss": settings.issuer,
            "aud": audience[0] if isinstance(audience, list) else audience,
        }
        self.life = life
        """Seconds that a token lives."""

    def issue(self, consumer: str, scopes: Sequence[str], client: str | None = None) -> str:
        """A token for a consumer, with these scopes; `client` is the program that acts for it, where that is known."""
        now = int(time.time())
        claims = {
            **self._named,
            "sub": consumer,
            "client_id": client,
            "scope": " ".join(scopes),
            "iat": now,
            "exp": now + self.life,
            "jti": secrets.token_urlsafe(12),
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(said, self._key, self._algorithm, {"typ": self._kind})
