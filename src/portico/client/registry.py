"""Registering a service in Redis, from where a gateway with `discover: redis` takes its instances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from portico.client.registry_keys import (
    CHANNEL,
    MOST_SECONDS,
    check_description,
    check_ttl,
    check_url,
    key_of,
    value_of,
)
from portico.net.redis.connection import connect, connect_sync, failures

_TIMEOUT: Final = 5.0
_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class _Registration:
    """What to write again when a heartbeat finds nothing."""

    key: str
    value: str


class _Registrations:
    """What this process has registered."""

    def __init__(self) -> None:
        self._known: dict[str, _Registration] = {}

    def note(self, service: str, url: str, ttl: float, instance: str | None, said: Mapping[str, Any]) -> _Registration:
        """Remember a registration. Raises ValueError for one that could not be read back."""
        if instance is None and any(value is not None for value in said.values()):
            raise ValueError("weight, version, metadata and openapi are kept of an instance with an id: give one")
        _check_ttl(ttl, instance)
        check_url(url)
        check_description(said["weight"], said["metadata"], said["openapi"])
        key = key_of(service, instance)
        given = {name: value for name, value in said.items() if value is not None}
        value = url if instance is None else value_of(url, ttl=ttl, **given)
        registration = self._known[key] = _Registration(key, value)
        return registration

    def known(self, service: str, instance: str | None, ttl: float) -> tuple[str, _Registration | None]:
        """The key, and what this process registered there."""
        _check_ttl(ttl, instance)
        key = key_of(service, instance)
        return key, self._known.get(key)

    def forget(self, service: str, instance: str | None) -> str:
        """Forget a registration; returns its key."""
        key = key_of(service, instance)
        self._known.pop(key, None)
        return key


def _check_ttl(ttl: float, instance: str | None) -> None:
    """Only what has an id says its time to live, which gateways check."""
    check_ttl(ttl, math.inf if instance is None else MOST_SECONDS)


def _lifetime(ttl: float) -> dict[str, Any]:
    """The option of SET."""
    return {"ex": int(ttl)} if ttl == int(ttl) else {"px": round(ttl * 1000)}


def _extend(redis: Any, key: str, ttl: float) -> Any:
    """PEXPIRE for fractions of a second alone: an ACL may allow no more than EXPIRE."""
    return redis.expire(key, int(ttl)) if ttl == int(ttl) else redis.pexpire(key, round(ttl * 1000))


class ServiceRegistry:
    """Registrations in Redis, kept alive by heartbeats; for code that is not asynchronous.

    Without an `id` a service has one instance; with one it may have many, each with a heartbeat of its own, and
    describe each: its `weight` (1 to 1000), its `version`, `metadata` as texts, and a hash of its OpenAPI document.
    Names hold letters, digits, `_`, `.` and `-`. Every method may raise what redis-py raises where Redis is down, and
    ValueError for invalid names and numbers.
    """

    def __init__(self, redis_url: str, *, timeout: float = _TIMEOUT) -> None:
        self.redis = connect_sync(redis_url, timeout=timeout, connections=_CONNECTIONS, decode=True)
        self._registrations = _Registrations()

    def register(
        self,
        service_name: str,
        url: str,
        ttl: float = 30,
        *,
        id: str | None = None,  # noqa: A002
        weight: int | None = None,
        version: str | None = None,
        metadata: Mapping[str, str] | None = None,
        openapi: str | None = None,
    ) -> None:
        """Have requests sent to `url` for `ttl` seconds, and longer with each heartbeat."""
        said = {"weight": weight, "version": version, "metadata": metadata, "openapi": openapi}
        registration = self._registrations.note(service_name, url, ttl, id, said)
        self._write(registration, ttl)

    def discover(self, service_name: str) -> str | None:
        """The URL that was registered without an id; None where there is none."""
        return cast("str | None", self.redis.get(key_of(service_name)))

    def heartbeat(self, service_name: str, ttl: float = 30, *, id: str | None = None) -> bool:  # noqa: A002
        """Stay registered for `ttl` seconds more. What Redis has lost meanwhile is registered again.

        False where this process has registered nothing.
        """
        key, registration = self._registrations.known(service_name, id, ttl)
        if _extend(self.redis, key, ttl):
            return True
        if registration is None:
            return False
        self._write(registration, ttl)
        return True

    def deregister(self, service_name: str, *, id: str | None = None) -> None:  # noqa: A002
        """Get no more requests."""
        key = self._registrations.forget(service_name, id)
        self.redis.delete(key)
        self._announce(f"-{key}")

    def close(self) -> None:
        """Close the connections; what is registered stays until it expires."""
        self.redis.close()

    def _write(self, registration: _Registration, ttl: float) -> None:
        self.redis.set(registration.key, registration.value, **_lifetime(ttl))
        self._announce(f"+{registration.key}")

    def _announce(self, message: str) -> None:
        """For gateways that cannot watch the keys; where publishing is not allowed, they poll."""
        try:
            self.redis.publish(CHANNEL, message)
        except failures():
            return


class AsyncServiceRegistry:
    """`ServiceRegistry` for asyncio."""

    def __init__(self, redis_url: str, *, timeout: float = _TIMEOUT) -> None:
        self.redis = connect(redis_url, timeout=timeout, connections=_CONNECTIONS, decode=True)
        self._registrations = _Registrations()

    async def register(
        self,
        service_name: str,
        url: str,
        ttl: float = 30,
        *,
        id: str | None = None,  # noqa: A002
        weight: int | None = None,
        version: str | None = None,
        metadata: Mapping[str, str] | None = None,
        openapi: str | None = None,
    ) -> None:
        """Have requests sent to `url` for `ttl` seconds, and longer with each heartbeat."""
        said = {"weight": weight, "version": version, "metadata": metadata, "openapi": openapi}
        registration = self._registrations.note(service_name, url, ttl, id, said)
        await self._write(registration, ttl)

    async def discover(self, service_name: str) -> str | None:
        """The URL that was registered without an id; None where there is none."""
        return cast("str | None", await self.redis.get(key_of(service_name)))

    async def heartbeat(self, service_name: str, ttl: float = 30, *, id: str | None = None) -> bool:  # noqa: A002
        """Stay registered for `ttl` seconds more. What Redis has lost meanwhile is registered again.

        False where this process has registered nothing.
        """
        key, registration = self._registrations.known(service_name, id, ttl)
        if await _extend(self.redis, key, ttl):
            return True
        if registration is None:
            return False
        await self._write(registration, ttl)
        return True

    async def deregister(self, service_name: str, *, id: str | None = None) -> None:  # noqa: A002
        """Get no more requests."""
        key = self._registrations.forget(service_name, id)
        await self.redis.delete(key)
        await self._announce(f"-{key}")

    async def close(self) -> None:
        """Close the connections; what is registered stays until it expires."""
        await self.redis.aclose()

    async def _write(self, registration: _Registration, ttl: float) -> None:
        await self.redis.set(registration.key, registration.value, **_lifetime(ttl))
        await self._announce(f"+{registration.key}")

    async def _announce(self, message: str) -> None:
        """As in `ServiceRegistry`."""
        try:
            await self.redis.publish(CHANNEL, message)
        except failures():
            return
