"""What a worker shares with others over Redis, from one configuration to the next."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from portico.config import Config
from portico.policies.counters.shared_limits import SharedLimits
from portico.processes.worker.limits import bindings_url, cache_store, shared_bindings, shared_limits
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.redis_store import RedisStore
from portico.upstreams.shared_bindings import SharedBindings


class _Part(Protocol):
    def close(self) -> None: ...
    def retire(self) -> None: ...


class Parts(NamedTuple):
    """The limits, the sticky sessions and the stored responses; None where a configuration shares none."""

    limits: SharedLimits | None
    bindings: SharedBindings | None
    store: RedisStore | None

    def but(self, others: Parts) -> list[_Part]:
        """Those that are not among others."""
        pairs: list[tuple[_Part | None, _Part | None]] = list(zip(self, others, strict=True))
        return [own for own, other in pairs if own is not None and own is not other]


class Shared:
    """The parts of one worker; `caches` has the store among them. `fallbacks` counts what is decided without Redis."""

    def __init__(
        self, config: Config, caches: Caches, fallbacks: dict[str, int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._config = config
        self._caches = caches
        self._fallbacks = fallbacks
        self._loop = loop
        limits = shared_limits(config.gateway, fallbacks, loop)
        self.parts = Parts(limits, shared_bindings(config, loop), cache_store(config, loop))
        caches.redis = self.parts.store

    async def start(self) -> None:
        """Connect, as far as that goes: what does not answer is tried again."""
        for part in self.parts:
            if part is not None:
                await part.start()

    async def prepare(self, config: Config) -> Parts:
        """Those that a configuration needs: the ones that are there, or others, connected.

        The store is in use from now on; either `adopt` or `abandon` follows.
        """
        coming = Parts(await self._limits(config), await self._bindings(config), await self._store(config))
        self._caches.redis = coming.store
        return coming

    def abandon(self, coming: Parts) -> None:
        """Go on with those that are there."""
        for part in coming.but(self.parts):
            part.close()
        self._caches.redis = self.parts.store

    def adopt(self, coming: Parts, config: Config) -> None:
        """Go by these, as the snapshot does that has just come into use; running exchanges may ask the last ones."""
        replaced, self.parts, self._config = self.parts, coming, config
        for part in (coming.limits, coming.bindings):
            if part is not None:
                part.timeout = config.gateway.redis_timeout
        for gone in replaced.but(coming):
            gone.retire()

    def close(self) -> None:
        """Disconnect."""
        for part in self.parts:
            if part is not None:
                part.close()

    async def _limits(self, config: Config) -> SharedLimits | None:
        if config.gateway.redis_url == self._config.gateway.redis_url:
            return self.parts.limits
        limits = shared_limits(config.gateway, self._fallbacks, self._loop)
        if limits is not None:
            await limits.start()
        return limits

    async def _bindings(self, config: Config) -> SharedBindings | None:
        if bindings_url(config) == bindings_url(self._config):
            return self.parts.bindings
        bindings = shared_bindings(config, self._loop)
        if bindings is not None:
            await bindings.start()
        return bindings

    async def _store(self, config: Config) -> RedisStore | None:
        wanted, bounds, known = cache_store(config, self._loop), config.gateway.cache, self.parts.store
        if wanted is not None and known is not None and config.gateway.redis_url == self._config.gateway.redis_url:
            known.timeout = bounds.redis_timeout
            known.bound(bounds.redis)
            return known
        if wanted is not None:
            await wanted.start()
        return wanted
