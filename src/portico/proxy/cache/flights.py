"""Coalescing: requests that would fetch the same wait for the one that does, and nobody waits for long or in vain.

What others may have is given to all of them. What they may not have, or a failure, lets them go on, all at once; one
of them leads again first after a failure. What was not to be shared is remembered for a while, so that nobody waits
for it again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Protocol, TypeAlias

from portico.core.faults import FAULTS, contain
from portico.proxy.admission import fail
from portico.proxy.cache.lookup import COLLAPSED, Lookup
from portico.proxy.cache.recording import Recording
from portico.proxy.waiting import Waiting

_PROBE: Final = 5.0
"""Seconds after which one more request is sent beside a slow one, and again (nginx's proxy_cache_lock_age)."""
_UNSHARED: Final = 10.0
"""Seconds for which nobody waits for what was not to be shared."""
_MOST_UNSHARED: Final = 16_384
_AT_ONCE: Final = 64
"""Followers that go on in one turn of the loop."""

FlightKey: TypeAlias = Hashable
Act: TypeAlias = Callable[[Lookup], None]


class Leader(Protocol):
    """What fetches a response for which others wait."""

    flight_key: FlightKey | None
    flight: Flight | None
    recording: Recording | None
    purged: int
    """The last purge when it began."""

    @property
    def lookup(self) -> Lookup:
        """The request for which it began."""


class Follower(Waiting):
    """A request that waits for the response to another."""

    __slots__ = ("flight", "lookup", "since")

    def __init__(self, lookup: Lookup, flight: Flight) -> None:
        super().__init__(lookup.exchange, _nothing, fail)
        self.lookup = lookup
        self.flight = flight
        self.since = time.monotonic()

    def proceed(self, act: Act) -> None:
        """The wait is over: this is done with the request now."""
        self.start = partial(act, self.lookup)
        self.go_on()

    def finished(self, failure: str | None) -> None:
        self.lookup.cache.note(self.exchange, COLLAPSED)
        super().finished(failure)

    def end(self) -> None:
        self.flight.followers.pop(self, None)


def _nothing() -> None:
    """What a follower does next is not known while it waits."""


class Flight:
    """The followers of one fetch; it outlives a leader that fails."""

    __slots__ = ("followers", "is_over", "is_second", "loop", "patience", "timer")

    def __init__(self, lookup: Lookup) -> None:
        self.followers: dict[Follower, None] = {}
        self.is_second = False
        """Whether it has had a leader that failed."""
        self.is_over = False
        """Whether all that follow have been let go."""
        self.loop = lookup.loop
        self.patience = lookup.handling.timeouts.response
        """Seconds that a follower waits, at most."""
        self.timer: asyncio.TimerHandle | None = self.loop.call_later(min(_PROBE, self.patience), self._probe)

    def join(self, lookup: Lookup) -> Follower:
        """Have a request wait."""
        follower = Follower(lookup, self)
        lookup.waits += 1
        lookup.purged = lookup.cache.purges.number
        lookup.exchange.stream.receiver = follower
        self.followers[follower] = None  # last: one that could not join is answered, and is not to be let go on
        return follower

    def release(self, act: Act) -> None:
        """Let all go on in this way, a few in each turn of the loop."""
        self._release_some(deque(self.followers), act)
        self.is_over = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _release_some(self, waiting: deque[Follower], act: Act) -> None:
        for _ in range(min(_AT_ONCE, len(waiting))):
            _proceed(waiting.popleft(), act)
        if waiting:
            self.loop.call_soon(self._release_some, waiting, act)

    def first(self) -> Follower | None:
        """The one that has waited longest."""
        return next(iter(self.followers), None)

    def _probe(self) -> None:
        self.timer = None
        try:
            self._send_some()
        except FAULTS:
            contain(self)

    def _send_some(self) -> None:
        """The fetch is slow: the first follower goes on alone, and those that have waited long enough."""
        if not self.followers:
            return
        now = time.monotonic()
        late = [each for each in self.followers if now - each.since >= self.patience]
        for follower in late or [next(iter(self.followers))]:
            _proceed(follower, go_on_alone)
        if self.followers and not self.is_over:
            self.timer = self.loop.call_later(min(_PROBE, self.patience), self._probe)

    def faulted(self) -> None:
        """Nobody can be kept waiting any more."""
        self.release(go_on_alone)


def _proceed(follower: Follower, act: Act) -> None:
    """Let one go on; whatever comes of that, the others do."""
    try:
        follower.proceed(act)
    except FAULTS:
        contain(follower)


def go_on_alone(lookup: Lookup) -> None:
    """Ask the service, whatever others do."""
    lookup.cache.fetch_alone(lookup)


def look_again(lookup: Lookup) -> None:
    """Look for what is stored by now, or is being fetched."""
    lookup.cache.look_again(lookup)


class Flights:
    """What is being fetched in this worker, and what is not to be waited for."""

    def __init__(self) -> None:
        self.leading: dict[FlightKey, Leader] = {}
        self.unshared: dict[int, float] = {}
        """When that ends, by the hash of a key, which may be long; the oldest first."""

    def is_unshared(self, key: bytes) -> bool:
        """Whether nobody should wait for a response under this key."""
        if not self.unshared:
            return False
        until = self.unshared.get(hash(key))
        if until is None:
            return False
        if until > time.monotonic():
            return True
        del self.unshared[hash(key)]
        return False

    def unshare(self, key: bytes) -> None:
        """Have nobody wait for it for a while."""
        self.share(key)
        if len(self.unshared) >= _MOST_UNSHARED:
            del self.unshared[next(iter(self.unshared))]
        self.unshared[hash(key)] = time.monotonic() + _UNSHARED

    def share(self, key: bytes) -> None:
        """It may be waited for again."""
        self.unshared.pop(hash(key), None)

    def join(self, leader: Leader, lookup: Lookup) -> None:
        """Have a request wait for what a leader fetches."""
        if leader.flight is None:
            leader.flight = Flight(lookup)
        leader.flight.join(lookup)

    def give(self, leader: Leader, act: Act) -> None:
        """Let those go on in this way who wait for a leader, or for one that fetches the same and began before it."""
        leading = self.leading.get(leader.flight_key)
        if leader.flight is not None:
            leader.flight.release(act)
            leader.flight = None
        if leading is not None and leading.flight is not None and leading.purged <= leader.purged:
            leading.flight.release(act)
            leading.flight = None

    def leave(self, leader: Leader) -> None:
        """Nobody can join a leader any more."""
        key = leader.flight_key
        other = self.leading.pop(key, None)
        if other is not leader and other is not None:
            self.leading[key] = other

    def failed(self, leader: Leader) -> None:
        """It brings nothing that can be given to others: the first follower leads now, but a second failure ends it."""
        key, flight = leader.flight_key, leader.flight
        self.leave(leader)
        leader.flight = None
        if flight is None:
            return
        if flight.is_second:
            flight.release(go_on_alone)
            return
        flight.is_second = True
        while (first := flight.first()) is not None and key not in self.leading and not flight.is_over:
            _proceed(first, partial(_lead, flight))


def _lead(flight: Flight, lookup: Lookup) -> None:
    lookup.cache.lead(lookup, flight)
