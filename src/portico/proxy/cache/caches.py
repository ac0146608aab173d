"""What all caches of a worker share: the stores, purges, what is being fetched, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Final

from portico.core.slices import Steps
from portico.observe.metrics import Metrics
from portico.proxy.cache.flights import Flights
from portico.proxy.cache.lookup import OUTCOMES
from portico.proxy.cache.memory import MemoryStore
from portico.proxy.cache.purge_method import Purger
from portico.proxy.cache.purges import Outcome, Purge, Purges
from portico.proxy.cache.recording import Room
from portico.proxy.cache.redis_store import RedisStore
from portico.proxy.cache.searches import Searches
from portico.proxy.cache.usual import KnownHeads

_RECORDED: Final = 64 << 20
"""Bytes of responses under way that a worker keeps at most, beside what it has stored."""


class Caches:
    """It goes from one snapshot to the next; `redis` is that of the next one."""

    def __init__(self, most_bytes: int, metrics: Metrics) -> None:
        self.memory = MemoryStore(most_bytes)
        self.redis: RedisStore | None = None
        self.purges = Purges()
        self.purge: Purger = self._purge_here
        """Purges in all workers and gateways, once the worker has said how."""
        self.flights = Flights()
        self.known = KnownHeads()
        self.room = Room(min(_RECORDED, most_bytes))
        self.searches = Searches()
        self.writing: set[bytes] = set()
        """The keys under which something is being written to Redis."""
        self.metrics = metrics

    def peek(self) -> Caches:
        """The same, for whoever asks what is stored: nothing is counted, used, fetched or purged there."""
        peeked = copy(self)
        peeked.memory = memory = self.memory.peek()
        peeked.redis = None if self.redis is None else self.redis.peek(memory.wanted)
        peeked.purge = _nothing_purged
        peeked.flights, peeked.room, peeked.writing = Flights(), Room(self.room.most), set()
        peeked.metrics = Metrics()
        return peeked

    async def _purge_here(self, purges: Sequence[Purge]) -> Outcome | None:
        self.purges.add(purges)
        return None

    def resizing(self, most_bytes: int) -> Steps[None]:
        """Use no more memory than this from now on; in slices. A snapshot is built with what it comes to."""
        self.room.most = min(_RECORDED, most_bytes)
        yield from self.memory.bounding(most_bytes)

    def outcomes(self, service: str) -> dict[str, int]:
        """The counts of a service."""
        return self.metrics.cached.setdefault(service, dict.fromkeys(OUTCOMES, 0))


async def _nothing_purged(purges: Sequence[Purge]) -> Outcome | None:  # noqa: ARG001
    return Outcome(0, 0)
