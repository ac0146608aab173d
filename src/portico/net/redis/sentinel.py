"""Connections to the master that Sentinels name, in pools that are bounded as the others are.

redis-py's own Sentinel pools refuse at once when all connections are in use, and leave connections to Sentinels open.
Its connections ask for the master only when they connect, and a deposed one takes writes until it learns of that.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import cache
from typing import Any, Final

from redis import BlockingConnectionPool
from redis import SentinelConnectionPool as SyncSentinelPool
from redis.asyncio import BlockingConnectionPool as AsyncBlockingPool
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.exceptions import RedisError

from portico.net.redis.demoted import dropping

_CURRENT: Final = 1.0
"""Seconds for which a connection takes its server for the master without asking again."""


class AsyncPool(AsyncSentinelPool, AsyncBlockingPool):
    """For asyncio."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class SyncPool(SyncSentinelPool, BlockingConnectionPool):
    """For code that is not asynchronous."""

    def close(self) -> None:
        super().close()
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


@cache
def following(managed: type, plain: type) -> Any:
    """A class of redis-py's `managed` connections over `plain` ones, that follow the master."""
    mixin = _Async if issubclass(managed, AsyncConnection) else _Sync
    return type(managed.__name__, (mixin, managed, dropping(plain)), {})


class _Async:
    """A pool calls `connect` whenever it hands out a connection."""

    _asked = 0.0

    async def connect(self: Any) -> None:
        pool = self.connection_pool
        if self.is_connected and time.monotonic() - self._asked > _CURRENT:
            with suppress(RedisError, TimeoutError):  # then the master is the one that was
                async with asyncio.timeout(_CURRENT):
                    await pool.get_master_address()
            self._asked = time.monotonic()
        if self.is_connected and (self.host, self.port) != pool.master_address:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            await super().connect()  # type: ignore[misc]
            self._asked = time.monotonic()

    async def send_packed_command(self: Any, *arguments: Any, **options: Any) -> None:
        if not self.is_connected:  # redis-py would connect to the same server again
            await self.connect()
        await super().send_packed_command(*arguments, **options)  # type: ignore[misc]


class _Sync:
    _asked = 0.0

    def connect(self: Any) -> None:
        pool = self.connection_pool
        if self.is_connected and time.monotonic() - self._asked > _CURRENT:
            with suppress(RedisError):
                pool.get_master_address()
            self._asked = time.monotonic()
        if self.is_connected and (self.host, self.port) != pool.master_address:
            self.disconnect()
        if not self.is_connected:
            super().connect()  # type: ignore[misc]
            self._asked = time.monotonic()

    def send_packed_command(self: Any, *arguments: Any, **options: Any) -> None:
        if not self.is_connected:
            self.connect()
        super().send_packed_command(*arguments, **options)  # type: ignore[misc]
