"""Being registered from the start of a service to its end, whatever happens to the registry meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Final

from portico.client.announcement import Announcement
from portico.client.registries import Registry
from portico.net.redis.connection import reason

logger: Final = logging.getLogger("portico.client")

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 2.0
"""Seconds until the next attempt after a failure: at first, and, since it doubles, at most."""
_LEAVE_TIMEOUT: Final = 3.0
"""Seconds that deregistering may take; after that it is up to the TTL."""
_OPENING: Final = 3.0
"""Seconds that a server may take from its start until it listens; then it registers anyway."""


class Presence:
    """Keeps one announcement in one or more registries: `begin`, then `leave`, once each."""

    def __init__(self, announcement: Announcement, registries: Sequence[Registry]) -> None:
        self._announcement = announcement
        self._registries = registries
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.has_registered = False
        """Whether this process has been registered anywhere."""

    def begin(self) -> None:
        """Register in the background: nothing waits for a registry."""
        announcement = self._announcement.of_this_process()
        self._tasks = [
            asyncio.create_task(self._keep(announcement, registry), name="portico registration")
            for registry in self._registries
        ]

    async def leave(self) -> None:
        """Deregister everywhere. A second call does nothing."""
        self._leaving.set()
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_LEAVE_TIMEOUT)
        for task in late:
            task.cancel()
        if late:
            logger.warning(
                "%s could not be deregistered everywhere in time: its TTL removes it", self._announcement.name
            )
            await asyncio.wait(late, timeout=1)

    async def _keep(self, announcement: Announcement, registry: Registry) -> None:
        """One task for one registry: requests to it are in order, and deregistering is the last."""
        keeper = _Keeper(announcement, registry)
        try:
            await self._until_reachable(announcement)
            while not self._leaving.is_set():
                pause = await keeper.announce()
                self.has_registered = self.has_registered or keeper.is_registered
                await self._pause(pause)
            await keeper.leave()
        finally:
            with contextlib.suppress(Exception):
                await registry.close()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    async def _until_reachable(self, announcement: Announcement) -> None:
        """A server starts its application before it listens; after registering too early, the first requests fail."""
        clock = asyncio.get_running_loop().time
        end = clock() + _OPENING
        while clock() < end and not self._leaving.is_set():
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(*announcement.address), end - clock())
            except (OSError, ValueError):
                await self._pause(0.05)
            else:
                writer.close()
                return


class _Keeper:
    """The registration in one registry, as far as it is known here, and the requests that keep it."""

    def __init__(self, announcement: Announcement, registry: Registry) -> None:
        self._announcement = announcement
        self._registry = registry
        self._failures = 0
        self._may_be_registered = False
        self.is_registered = False

    async def announce(self) -> float:
        """Register, or send a heartbeat; returns the seconds to wait until the next one."""
        name, where = self._announcement.name, self._registry.where
        rhythm = self._announcement.ttl / 3
        try:
            if self.is_registered and not await self._registry.heartbeat(self._announcement):
                self.is_registered = False
                logger.info("the registry at %s no longer has %s: registering again", where, name)
            if not self.is_registered:
                self._may_be_registered = True
                await self._registry.register(self._announcement)
                self.is_registered = True
                logger.info("registered %s as %s at %s", self._announcement.id, name, where)
        except Exception as error:  # whatever fails in a registry, the service goes on
            if not self._failures:
                logger.warning("cannot register %s at %s: %s; retrying", name, where, reason(error))
            self._failures += 1
            return min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE, rhythm) * _jitter()
        self._failures = 0
        return rhythm * _jitter()

    async def leave(self) -> None:
        """Deregister, unless nothing can have been registered."""
        name, where = self._announcement.name, self._registry.where
        try:
            if self._may_be_registered:
                await self._registry.deregister(self._announcement)
                logger.info("deregistered %s of %s at %s", self._announcement.id, name, where)
        except Exception as error:
            logger.warning("cannot deregister %s at %s: %s; its TTL removes it", name, where, reason(error))


def _jitter() -> float:
    """Services that were started together should not send heartbeats in step."""
    return random.uniform(0.9, 1.1)  # noqa: S311 - nothing depends on its being hard to guess
