"""The issuer of tokens as the configuration has it now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from portico.config import Config
from portico.config.endpoints import METADATA
from portico.core.consumers import Consumers
from portico.policies.counters.guessing import Guessing
from portico.processes.control.state_file import StateFile, state_path, warn_not_kept
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.credentials import Credentials
from portico.processes.control.tokens.errors import OAuthError
from portico.processes.control.tokens.families import Families, FileFamilies, StoreError
from portico.processes.control.tokens.key_store import KeyStore
from portico.processes.control.tokens.refreshing import RefreshTokens
from portico.processes.control.tokens.revocations import LONGEST, Revocations
from portico.processes.control.tokens.shared_families import SharedFamilies
from portico.processes.control.tokens.signing import ByOwnKeys, BySecret, Signing
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.auth")


class Issuing:
    """What issues tokens; `access` is None where nobody can sign in, `refresh` where tokens cannot be refreshed.

    `keys` is None where a secret signs them.
    """

    def __init__(self, workers: Workers, runtime: Runtime, config_path: Path | None = None) -> None:
        self._workers = workers
        self._runtime = runtime
        self._config_path = config_path
        self._guessing = Guessing()
        self._place: str | Path | None = None
        self._key_place: tuple[str | None, Path | None, str] | None = None
        self.keys: ByOwnKeys | None = None
        self.metadata: dict[str, Any] | None = None
        self._families: Families | None = None
        self.consumers = Consumers()
        self.access: AccessTokens | None = None
        self.refresh: RefreshTokens | None = None
        self.credentials = Credentials(self.consumers, self._guessing)
        self.revocations = Revocations(workers)

    async def follow(self, config: Config) -> None:
        """Issue tokens to these consumers from now on."""
        self.consumers = config.consumer_directory
        self.credentials = Credentials(self.consumers, self._guessing)
        self.access = self.refresh = self.metadata = None
        signing, tokens = await self._signing(config), config.gateway.tokens
        if signing is None:
            await self.revocations.close()
            return
        path = state_path(config, self._config_path, "revoked-tokens")
        self.revocations.longest = int(max(LONGEST, tokens.refresh))
        database = path.with_suffix(".sqlite") if path is not None else None
        life = config.gateway.access_token_expire_minutes * 60
        await self.revocations.open(database, self._redis_url(config), config.token_issuer or "", life)
        self.access = AccessTokens(signing, config.token_issuer, config.own_auth.jwt, life)
        if METADATA in config.token_paths:
            self.metadata = _metadata(config.token_issuer or "", has_keys=self.keys is not None)
        if tokens.refresh:
            families = await self._open(config)
            self.refresh = RefreshTokens(families, signing.secret, tokens.refresh, tokens.refresh_grace)

    async def _signing(self, config: Config) -> Signing | None:
        """What tokens are signed with; None where none are issued."""
        tokens, settings = config.gateway.tokens, config.token_settings
        if not config.issues_tokens or tokens.algorithm is None:
            await self._close_keys()
            if not config.issues_tokens or settings is None or settings.secret is None:
                return None
            return BySecret(settings.secret, settings.accepted[0])
        place = self._redis_url(config), state_path(config, self._config_path, "token-keys"), config.token_issuer or ""
        if self.keys is None or place != self._key_place:
            await self._close_keys()
            url, path, issuer = self._key_place = place
            file = StateFile(path, self._runtime.directory / "token-keys.json", "keys of tokens are")
            self.keys = ByOwnKeys(KeyStore(file, path, url, issuer), self._workers)
        await self.keys.follow(tokens.algorithm, tokens.rotate, config.gateway.access_token_expire_minutes * 60)
        return self.keys

    def _redis_url(self, config: Config) -> str | None:
        """The Redis that gateways share; not an embedded one, which ends with its gateway."""
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None else None
        return None if url == self._runtime.redis_url else url

    async def _open(self, config: Config) -> Families:
        """Where refresh tokens are kept: Redis, a file of this gateway, or its memory."""
        path = state_path(config, self._config_path, "sign-ins")
        place = self._redis_url(config) or (path.with_suffix(".sqlite") if path is not None else None)
        if self._families is None or place != self._place:
            await self._close_families()
            self._families, self._place = _opened(place), place
        return self._families

    def state(self) -> dict[str, Any] | None:
        """For the admin API; None where no tokens are issued."""
        return self.revocations.state() if self.access is not None else None

    async def close(self) -> None:
        """Stop."""
        await self._close_families()
        await self._close_keys()
        await self.revocations.close()

    async def _close_families(self) -> None:
        if self._families is not None:
            await self._families.close()
        self._families = None

    async def _close_keys(self) -> None:
        if self.keys is not None:
            await self.keys.close()
        self.keys = None


def _metadata(issuer: str, *, has_keys: bool) -> dict[str, Any]:
    """What OAuth clients read of it (RFC 8414, section 2)."""
    methods = ["client_secret_basic", "client_secret_post", "none"]
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/auth/token",
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": f"{issuer}/auth/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "grant_types_supported": ["password", "client_credentials", "refresh_token"],
        "response_types_supported": ["token"],  # one has to be there; without an authorization_endpoint it has no use
        **({"jwks_uri": f"{issuer}/.well-known/jwks.json"} if has_keys else {}),
    }


def _opened(place: str | Path | None) -> Families:
    if isinstance(place, str):
        return SharedFamilies(place)
    try:
        return FileFamilies(place)
    except StoreError as error:
        warn_not_kept("who is signed in is", place, str(error))
        return FileFamilies(None)


def granted_scopes(has: Sequence[str], asked: str | None) -> Sequence[str]:
    """Those of the scopes that are asked for; all, where none is. Raises OAuthError (RFC 6749, section 3.3)."""
    if not asked or not asked.split():
        return has
    wanted = list(dict.fromkeys(asked.split()))
    if missing := [scope for scope in wanted if scope not in has]:
        raise OAuthError("invalid_scope", f"not to be had: {' '.join(missing)[:200]}")
    return wanted
