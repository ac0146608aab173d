"""Purges in the control process: from the admin API and from workers, to all workers and to other gateways."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from portico.config import Config
from portico.core.tasks import background
from portico.net.redis.connection import masked
from portico.net.redis.links import link_to
from portico.processes.control.purge_stream import PurgeStream
from portico.processes.control.shared_sweep import SharedSweep
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.proxy.cache.purges import Purge
from portico.proxy.cache.redis_store import RedisStore
from portico.snapshot.caching import query_selections

logger: Final = logging.getLogger("portico.cache")

_TIMEOUT: Final = 5.0
"""Seconds that workers have to confirm a purge, once what it removes is counted."""
_SENDING: Final = 1.0
"""Seconds that Redis has to take a purge before it is answered; it waits for Redis in any case."""
_RECENT: Final = 10.0
"""Seconds for which purges are sent to workers that connect: they may have served before they did."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a purge came to: `entries` went in `done` workers, `late` ones have not confirmed it.

    `shared`: whether Redis has it for other gateways; None where there is none.
    """

    entries: int
    done: int
    late: int
    shared: bool | None


class CachePurges:
    """Spreads purges to the workers and to other gateways, and knows those that workers may have missed."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._recent: deque[tuple[float, Purge]] = deque()
        self._url: str | None = None
        self._stream: PurgeStream | None = None
        self._sweep: SharedSweep | None = None
        """Where the store in Redis is used."""
        self._swept = channel.SharedSwept(math.inf)
        workers.welcome = self._current
        workers.invalidated = self._invalidated

    async def follow(self, config: Config) -> None:
        """Share purges as this configuration says: where a route has a cache, over Redis if there is one."""
        secret = config.gateway.redis_url
        caches = [route.policies["cache"][0] for route in config.all_routes if "cache" in route.policies]
        url = secret.get_secret_value() if secret is not None and caches else None
        shares_store = url is not None and any(cache.store == "redis" for cache in caches)
        if (url, shares_store) != (self._url, self._sweep is not None):
            await self.close()
            self._url = url
            if url is not None:
                self._open(url, config, shares_store=shares_store)
            self._report_swept(-math.inf if shares_store else math.inf)
        if self._sweep is not None:
            self._sweep.follow(query_selections(config.all_routes))

    def _open(self, url: str, config: Config, *, shares_store: bool) -> None:
        self._stream = stream = PurgeStream(url, self._received, self._missed, self._heard_swept)
        if shares_store:
            store = RedisStore(link_to(url), _TIMEOUT, config.gateway.cache.redis, asyncio.get_running_loop())
            self._sweep = SharedSweep(store, self._have_swept)
            self._sweep.is_current = lambda: stream.is_current

    async def close(self) -> None:
        """Stop sharing."""
        if self._stream is not None:
            await self._stream.close()
        if self._sweep is not None:
            await self._sweep.close()
        self._stream = self._sweep = None

    async def redis_state(self) -> dict[str, Any] | None:
        """For the admin API: over which Redis purges are shared, without its secrets, whether it is reachable, and what
        is `stored` there, where anything is.
        """
        if self._stream is None:
            return None
        usage = await self._sweep.usage() if self._sweep is not None else None
        stored = dict(zip(("bytes", "entries", "evictions"), usage, strict=True)) if usage is not None else None
        return {"url": masked(self._url or ""), "up": bool(self._stream.up), "stored": stored}

    async def purge(self, purges: list[Purge], *, source: str = "") -> Confirmed:
        """Have all workers apply them, but the `source` that has; returns once they have, or have no time left."""
        self._keep(purges, own=True)
        answers = await self._workers.ask(lambda number: channel.NewPurges(purges, number), _TIMEOUT, but=source)
        done = [answer for answer in answers.values() if isinstance(answer, channel.Purged)]
        shared = await self._stream.all_sent(_SENDING) if self._stream is not None else None
        return Confirmed(sum(answer.entries for answer in done), len(done), len(answers) - len(done), shared)

    def _invalidated(self, worker: str, message: channel.NewPurges) -> None:
        """Purges that a worker has applied already."""
        if message.number:
            background(self._answer(worker, message), "a purge by a client")
            return
        self._keep(message.purges, own=True)
        self._workers.send(message, but=worker)

    async def _answer(self, worker: str, message: channel.NewPurges) -> None:
        outcome = await self.purge(message.purges, source=worker)
        self._workers.send_to(worker, channel.Purged(message.number, outcome.entries, outcome.late))

    def _received(self, purges: list[Purge]) -> None:
        """Purges of another gateway."""
        self._keep(purges, own=False)
        self._workers.send(channel.NewPurges(purges))

    def _missed(self) -> None:
        logger.warning("purges of other gateways may have been missed: everything is purged here")
        self._received([Purge.of("all")])

    def _have_swept(self, before: float) -> None:
        """This gateway has swept the store that it shares."""
        self._report_swept(before)
        if self._stream is not None:
            self._stream.add_swept(before)

    def _heard_swept(self, before: float) -> None:
        """Another one has."""
        if self._sweep is not None:
            self._sweep.swept(before)
            self._report_swept(before)

    def _report_swept(self, before: float) -> None:
        self._swept = channel.SharedSwept(before)
        self._workers.send(self._swept)

    def _keep(self, purges: list[Purge], *, own: bool) -> None:
        if own and self._stream is not None:
            self._stream.add(purges)
        if self._sweep is not None:
            self._sweep.add(purges, own=own)
            earliest = min(purge.at for purge in purges)
            if earliest < self._swept.before:  # it comes late
                self._report_swept(earliest)
        now = time.monotonic()
        self._recent.extend((now, purge) for purge in purges)
        while self._recent and self._recent[0][0] < now - _RECENT:
            self._recent.popleft()

    def _current(self) -> list[channel.Message]:
        """What a worker has to know that connects now."""
        start = time.monotonic() - _RECENT
        purges = {purge.id: purge for since, purge in self._recent if since >= start}
        if self._sweep is not None:
            purges |= {purge.id: purge for purge in self._sweep.unswept}
        return [self._swept, *([channel.NewPurges([*purges.values()])] if purges else [])]
