"""Where a service can register: in Redis, or with a gateway that keeps the registry itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from portico.client.announcement import Announcement
from portico.client.registry import AsyncServiceRegistry
from portico.net.redis.connection import masked

_TIMEOUT: Final = 5.0
_REDIS_TIMEOUT: Final = 2.0
"""Seconds: a server that hangs is left soon enough for another one at its address to get the next heartbeat."""
_RESPONSE_LIMIT: Final = 65_536


class RegistryError(Exception):
    """The registry was reached and refused the request; the message says why."""


class Registry(Protocol):
    """What keeps announcements. Every call may raise: `RegistryError`, OSError, or what redis-py raises."""

    where: str
    """For messages; without secrets."""

    async def register(self, of: Announcement) -> None:
        """Add it, or replace what is registered under its name and id."""

    async def heartbeat(self, of: Announcement) -> bool:
        """Keep it for another TTL; False where it is not registered (any more)."""

    async def deregister(self, of: Announcement) -> None:
        """Remove it."""

    async def close(self) -> None:
        """Close connections."""


class RedisRegistry:
    """The registry in Redis (`portico.client.registry`)."""

    def __init__(self, url: str) -> None:
        self.where = masked(url)
        self._registry = AsyncServiceRegistry(url, timeout=_REDIS_TIMEOUT)

    async def register(self, of: Announcement) -> None:
        """One instance under `service:NAME:ID`."""
        await self._registry.register(
            of.name,
            of.url,
            of.ttl,
            id=of.id,
            weight=of.weight,
            version=of.version,
            metadata=dict(of.metadata),
            openapi=of.openapi,
        )

    async def heartbeat(self, of: Announcement) -> bool:
        """What Redis has lost is written again."""
        await self._registry.heartbeat(of.name, of.ttl, id=of.id)
        return True

    async def deregister(self, of: Announcement) -> None:
        """Gateways are notified at once."""
        await self._registry.deregister(of.name, id=of.id)

    async def close(self) -> None:
        """Close connections."""
        await self._registry.close()


class GatewayRegistry:
    """The registry that a gateway keeps, over its admin API; `token` is its admin_token.

    Its few calls run in threads, so that nothing but the standard library is needed.
    """

    def __init__(self, admin: str, token: str | None) -> None:
        parts = urlsplit(admin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("gateway: expected the URL of a gateway's admin API, such as http://127.0.0.1:9000")
        if token and re.search(r"[\x00-\x1f\x7f]", token):
            raise ValueError("token: holds control characters, which no header field can carry")
        self.where = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._base = parts.path.rstrip("/")
        self._connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def register(self, of: Announcement) -> None:
        """PUT the whole announcement."""
        document = {
            "url": of.url,
            "weight": of.weight,
            "version": of.version,
            "metadata": dict(of.metadata),
            "openapi": of.openapi,
            "ttl": of.ttl,
        }
        await self._request("PUT", of, "", {key: value for key, value in document.items() if value is not None})

    async def heartbeat(self, of: Announcement) -> bool:
        """A gateway that was restarted responds with 404."""
        return await self._request("POST", of, "/heartbeat") != http.client.NOT_FOUND

    async def deregister(self, of: Announcement) -> None:
        """404 means that it is removed already."""
        await self._request("DELETE", of)

    async def close(self) -> None:
        """No connection is kept open."""

    async def _request(
        self, method: str, of: Announcement, what: str = "", document: Mapping[str, Any] | None = None
    ) -> int:
        path = f"{self._base}/admin/registry/{quote(of.name, safe='')}/{quote(of.id or '', safe='')}{what}"
        body = None if document is None else json.dumps(document).encode()
        status, response = await asyncio.to_thread(self._exchange, method, path, body)
        if status >= 300 and not (status == http.client.NOT_FOUND and method != "PUT"):
            raise RegistryError(_reason(status, response))
        return status

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connection(self._host, self._port, timeout=_TIMEOUT)
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_RESPONSE_LIMIT)
        except http.client.HTTPException as error:
            raise RegistryError(f"the server there does not speak HTTP ({type(error).__name__})") from error
        finally:
            connection.close()


def _reason(status: int, response: bytes) -> str:
    try:
        detail = repr(str(json.loads(response)["detail"]))[1:-1]  # it goes to logs: no control characters
    except (ValueError, KeyError, TypeError):
        detail = "not Portico's admin API?"
    hint = "; set token or ADMIN_TOKEN to the gateway's admin_token" if status == http.client.UNAUTHORIZED else ""
    return f"{status}: {detail}{hint}"
