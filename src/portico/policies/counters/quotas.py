"""Quotas in memory: how many requests a key has made in the current calendar period."""

from __future__ import annotations

import time
from copy import copy

from portico.core.caches import ages
from portico.core.slices import Steps
from portico.policies.counters.buckets import CAPACITY
from portico.policies.counters.generations import Generations
from portico.policies.counters.periods import Period, bounds
from portico.policies.counters.standing import fullest


class Quotas:
    """Counts up to `allowed` requests of each key in every period (UTC).

    With more than twice `capacity` keys in one period, the least recently used are forgotten and start again.
    """

    __slots__ = ("__weakref__", "_begin", "_counts", "_end", "allowed", "period")

    def __init__(self, allowed: int, period: Period, capacity: int = CAPACITY) -> None:
        self.allowed = allowed
        self.period: Period = period
        self._begin = self._end = 0
        self._counts: Generations[str, int] = Generations(capacity)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002 - periods are of the calendar
        """Drop the counts of a period that is over."""
        self._begin_period(time.time())

    def __len__(self) -> int:
        return len(self._counts)

    def look(self, key: str, now: float) -> float:
        """What `take` would return. `now` is in seconds since the epoch."""
        self._begin_period(now)
        used = self._counts.get(key) or 0
        return self.allowed - used - 1 if used < self.allowed else now - self._end

    def set_left(self, key: str, left: float, now: float) -> None:
        """Take over what was counted elsewhere: so many are left, none where that is negative."""
        self.look(key, now)
        self._counts.put(key, self.allowed - max(0, int(left)))

    def take(self, key: str, now: float) -> float:
        """Count a request: how many are left, or, where none is, minus the seconds until the next period."""
        left = self.look(key, now)
        if left >= 0:
            self._counts.put(key, self.allowed - int(left))
        return left

    def charge(self, key: str, amount: int, now: float) -> None:
        """Count so much, whether it is left or not."""
        self._begin_period(now)
        self._counts.put(key, (self._counts.get(key) or 0) + amount)

    def standing(self, key: str, now: float) -> tuple[float, float]:
        """What is left, and the seconds until the next period, 0 where nothing was counted; nothing is counted."""
        self._begin_period(now)
        used = self._counts.get(key) or 0
        return max(0, self.allowed - used), self._end - now if used else 0.0

    def fullest(self, most: int, now: float) -> Steps[list[tuple[str, float]]]:
        """The keys of which most was counted, with that."""
        self._begin_period(now)
        return (yield from fullest(self._counts.items(), most))

    def known_keys(self) -> list[str]:
        """Those of which something was counted."""
        return [key for key, _ in self._counts.items()]

    def reset(self, key: str) -> None:
        """Begin anew for a key."""
        self._counts.discard(key)

    def peek(self) -> Quotas:
        """The same counts, for whoever asks what is left: what is counted there is not counted here."""
        peeked = copy(self)
        peeked._counts = self._counts.peek()
        return peeked

    def _begin_period(self, now: float) -> None:
        if not self._begin <= now < self._end:
            self._begin, self._end = bounds(self.period, now)
            self._counts = Generations(self._counts.capacity)
