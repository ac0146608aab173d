"""Quotas in memory: how many requests a key has made in the current calendar period."""

from __future__ import annotations

import time
from collections.abc import Iterable
from copy import copy

from portico.core.caches import ages
from portico.core.slices import Steps
from portico.policies.counters.periods import Period, bounds
from portico.policies.counters.ranked import CAPACITY, Ranked
from portico.policies.counters.standing import fullest, without


class Counts:
    """What was counted of each key in one period. Where there is no room for all, the least is forgotten first, and of
    what is as much, that which was counted longest ago.
    """

    __slots__ = ("__weakref__", "_begin", "_ranked", "end", "period")

    def __init__(self, period: Period, capacity: int = CAPACITY) -> None:
        self.period: Period = period
        self.end = 0
        """When the next period begins, in seconds since the epoch."""
        self._begin = 0
        self._ranked: Ranked[str] = Ranked(capacity)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002 - periods are of the calendar
        """Drop the counts of a period that is over."""
        self.begin(time.time())

    def begin(self, now: float) -> None:
        """Start anew where `now` is in another period."""
        if not self._begin <= now < self.end:
            self._begin, self.end = bounds(self.period, now)
            self._ranked = Ranked(self._ranked.capacity)

    def __len__(self) -> int:
        return len(self._ranked)

    def get(self, key: str) -> int:
        """What was counted of a key."""
        return int(self._ranked.get(key))

    def put(self, key: str, count: int, now: float) -> None:
        """Set that; the fraction of what is stored says when."""
        self._ranked.put(key, count + (now - self._begin) / (self.end - self._begin) / 2)

    def forget(self, key: str) -> None:
        """Nothing was counted of a key."""
        self._ranked.forget(key)

    def items(self) -> Iterable[tuple[str, float]]:
        """All keys of which something was counted."""
        return ((key, float(int(number))) for key, number in self._ranked.items() if number >= 1)

    def peek(self) -> Counts:
        """The same, for whoever asks what would be counted: nothing is, here."""
        peeked = copy(self)
        peeked._ranked = self._ranked.peek()
        return peeked


class Quotas:
    """Counts up to `allowed` requests of each key in every period (UTC).

    Their `store` may be that of other quotas too, whose keys have another `prefix` there.
    """

    __slots__ = ("_prefix", "allowed", "period", "store")

    def __init__(
        self,
        allowed: int,
        period: Period,
        capacity: int = CAPACITY,
        store: Counts | None = None,
        prefix: str = "",
    ) -> None:
        self.allowed = allowed
        self.period: Period = period
        self.store = store if store is not None else Counts(period, capacity)
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self.store)

    def look(self, key: str, now: float) -> float:
        """What `take` would return. `now` is in seconds since the epoch."""
        self.store.begin(now)
        used = self.store.get(self._prefix + key)
        return self.allowed - used - 1 if used < self.allowed else now - self.store.end

    def set_left(self, key: str, left: float, now: float) -> None:
        """Take over what was counted elsewhere: so many are left, none where that is negative."""
        self.store.begin(now)
        self.store.put(self._prefix + key, self.allowed - max(0, int(left)), now)

    def take(self, key: str, now: float) -> float:
        """Count a request: how many are left, or, where none is, minus the seconds until the next period."""
        left = self.look(key, now)
        if left >= 0:
            self.store.put(self._prefix + key, self.allowed - int(left), now)
        return left

    def charge(self, key: str, amount: int, now: float) -> None:
        """Count so much, whether it is left or not."""
        self.store.begin(now)
        self.store.put(self._prefix + key, self.store.get(self._prefix + key) + amount, now)

    def standing(self, key: str, now: float) -> tuple[float, float]:
        """What is left, and the seconds until the next period, 0 where nothing was counted; nothing is counted."""
        self.store.begin(now)
        used = self.store.get(self._prefix + key)
        return max(0, self.allowed - used), self.store.end - now if used else 0.0

    def fullest(self, most: int, now: float) -> Steps[list[tuple[str, float]]]:
        """The keys of which most was counted, with that."""
        self.store.begin(now)
        return (yield from fullest(without(self._prefix, self.store.items()), most))

    def known_keys(self) -> list[str]:
        """Those of which something was counted."""
        return [key for key, _ in without(self._prefix, self.store.items())]

    def reset(self, key: str) -> None:
        """Begin anew for a key."""
        self.store.forget(self._prefix + key)

    def peek(self) -> Quotas:
        """The same counts, for whoever asks what is left: what is counted there is not counted here."""
        peeked = copy(self)
        peeked.store = self.store.peek()
        return peeked
