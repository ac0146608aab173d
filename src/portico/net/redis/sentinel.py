"""Pools of connections to the master that Sentinels name, bounded as the others are.

redis-py's own Sentinel pools refuse at once when all connections are in use, and leave connections to Sentinels open.
"""

from __future__ import annotations

from redis import BlockingConnectionPool
from redis import SentinelConnectionPool as SyncSentinelPool
from redis.asyncio import BlockingConnectionPool as AsyncBlockingPool
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool


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
