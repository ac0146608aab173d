"""The issuer of tokens as the configuration has it now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from portico.config import Config
from portico.core.consumers import Consumers
from portico.policies.counters.guessing import Guessing
from portico.processes.control.state_file import state_path
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.credentials import Credentials
from portico.processes.control.tokens.errors import OAuthError
from portico.processes.control.tokens.families import Families, FileFamilies, StoreError
from portico.processes.control.tokens.refreshing import RefreshTokens
from portico.processes.control.tokens.shared_families import SharedFamilies

logger: Final = logging.getLogger("portico.auth")


class Issuing:
    """What issues tokens; `access` is None where nobody can sign in, `refresh` where tokens cannot be refreshed.

    `embedded_redis` is the URL of the Redis that ends with this gateway, in which nothing is kept.
    """

    def __init__(self, config_path: Path | None = None, embedded_redis: str | None = None) -> None:
        self._config_path = config_path
        self._embedded_redis = embedded_redis
        self._guessing = Guessing()
        self._place: str | Path | None = None
        self._families: Families | None = None
        self.consumers = Consumers()
        self.access: AccessTokens | None = None
        self.refresh: RefreshTokens | None = None
        self.credentials = Credentials(self.consumers, self._guessing)

    async def follow(self, config: Config) -> None:
        """Issue tokens to these consumers from now on."""
        self.consumers = config.consumer_directory
        self.credentials = Credentials(self.consumers, self._guessing)
        self.access = self.refresh = None
        signing, tokens = config.token_settings, config.gateway.tokens
        if not config.issues_tokens or signing is None or signing.secret is None:
            return
        self.access = AccessTokens(signing, config.gateway.access_token_expire_minutes * 60)
        if tokens.refresh:
            families = await self._open(config)
            secret = signing.secret.get_secret_value().encode()
            self.refresh = RefreshTokens(families, secret, tokens.refresh, tokens.refresh_grace)

    async def _open(self, config: Config) -> Families:
        """Where refresh tokens are kept: Redis, a file of this gateway, or its memory."""
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None else None
        if url is not None and url != self._embedded_redis:
            place: str | Path | None = url
        else:
            path = state_path(config, self._config_path, "sign-ins")
            place = path.with_suffix(".sqlite") if path is not None else None
        if self._families is None or place != self._place:
            await self.close()
            self._families, self._place = _opened(place), place
        return self._families

    async def close(self) -> None:
        """Stop."""
        if self._families is not None:
            await self._families.close()
        self._families = None


def _opened(place: str | Path | None) -> Families:
    if isinstance(place, str):
        return SharedFamilies(place)
    try:
        return FileFamilies(place)
    except StoreError as error:
        extra = {"file": str(place), "reason": str(error)}
        logger.warning("who is signed in is not kept: refresh tokens end with this gateway", extra=extra)
        return FileFamilies(None)


def granted_scopes(has: Sequence[str], asked: str | None) -> Sequence[str]:
    """Those of the scopes that are asked for; all, where none is. Raises OAuthError (RFC 6749, section 3.3)."""
    if not asked or not asked.split():
        return has
    wanted = list(dict.fromkeys(asked.split()))
    if missing := [scope for scope in wanted if scope not in has]:
        raise OAuthError("invalid_scope", f"not to be had: {' '.join(missing)[:200]}")
    return wanted
