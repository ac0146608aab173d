"""What Sentinels publish when another server becomes the master: the one before takes commands for ten seconds more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from portico.net.redis.connection import failures

logger: Final = logging.getLogger("portico.redis")

_CHANNEL: Final = "+switch-master"
_PAUSE: Final = 0.5
"""Seconds between two attempts to subscribe."""
_CHECK: Final = 30.0
"""Seconds of silence after which redis-py may check the connection."""

Address: TypeAlias = tuple[str, int]


class MasterWatch:
    """Calls `named` with the address of the master: that of now at each subscription, then each new one.

    `manager` is a `redis.asyncio.Sentinel`, and `master` the name that it knows the master by.
    """

    def __init__(self, manager: Any, master: str, named: Callable[[Address], None]) -> None:
        self._manager = manager
        self._master = master
        self._named = named
        self.sentinels: list[Any] = [*manager.sentinels]

    async def follow(self, sentinel: Any) -> None:
        """What one of the `sentinels` says, until it is cancelled."""
        try:
            while True:
                try:
                    await self._listen(sentinel)
                except failures():
                    pass  # others may be there
                except Exception:
                    logger.exception("a Sentinel could not be listened to")
                await asyncio.sleep(_PAUSE)
        finally:
            await sentinel.aclose()

    async def _listen(self, sentinel: Any) -> None:
        pubsub = sentinel.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(_CHANNEL)
            now = await sentinel.sentinel_get_master_addr_by_name(self._master)
            if now is not None:
                self._named(now)
            while True:
                message = await pubsub.get_message(timeout=_CHECK)
                if message is not None:
                    self._process(sentinel, message["data"])
        finally:
            await pubsub.aclose()

    def _process(self, sentinel: Any, data: str) -> None:
        """`NAME OLD-HOST OLD-PORT HOST PORT`, of any master that this Sentinel watches."""
        name, _, _, host, port = data.split(" ")
        if name == self._master:
            others = [each for each in self._manager.sentinels if each is not sentinel]
            self._manager.sentinels[:] = [sentinel, *others]  # asked first: others may learn of it later
            self._named((host, int(port)))
