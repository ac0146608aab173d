"""Token buckets in memory, one float each: the generic cell rate algorithm (ITU-T I.371)."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from math import inf
from typing import Final

from portico.core.caches import ages
from portico.core.slices import Steps
from portico.policies.counters.generations import Generations
from portico.policies.counters.standing import fullest

CAPACITY: Final = 50_000
"""Buckets per generation. A client whose bucket was dropped starts with a full one, so the oldest go first."""

_ROUNDING: Final = 1e-3
"""Share of a token by which sums of floats may be off: without it the last token of a full bucket is refused."""


class Buckets:
    """Buckets of `burst` tokens, refilled one token every `interval` seconds. Moments are of the monotonic clock.

    What is stored per key is the moment when its bucket will be full again.
    """

    __slots__ = ("__weakref__", "_margin", "_tolerance", "burst", "interval", "span")

    def __init__(self, requests_per_minute: float, burst: int) -> None:
        self.burst = burst
        self.interval = 60.0 / requests_per_minute
        self.span = burst * self.interval
        self._tolerance = self.span - self.interval
        self._margin = self.interval * _ROUNDING

    def take(self, key: str, now: float) -> float:
        """Take a token: the tokens left (0 or more), or, where there is none, minus the seconds until the next one."""
        raise NotImplementedError

    def look(self, key: str, now: float) -> float:
        """What `take` would return now."""
        debt = max(0.0, self._full_at(key) - now)
        if debt > self._tolerance + self._margin:
            return self._tolerance - debt
        return self._left(debt + self.interval)

    def set_left(self, key: str, left: float, now: float) -> None:
        """Take over the state of a bucket kept elsewhere: `left` tokens, or minus the seconds until the next one."""
        debt = self.span - left * self.interval if left >= 0.0 else self._tolerance - left
        if debt > 0.0:
            self._note(key, now + debt)

    def charge(self, key: str, tokens: int, now: float) -> None:
        """Take tokens whether they are there or not: what is missing has to come back before there is one again."""
        self._note(key, max(self._full_at(key), now) + tokens * self.interval)

    def standing(self, key: str, now: float) -> tuple[float, float]:
        """The tokens left, and the seconds until all are there again; nothing is taken."""
        debt = max(0.0, self._full_at(key) - now)
        return self._left(debt), debt

    def fullest(self, most: int, now: float) -> Steps[list[tuple[str, float]]]:  # noqa: ARG002
        """The keys whose buckets are full again last, as far as they are known here, with those moments."""
        return (yield from fullest(self._moments(), most))

    def known_keys(self) -> list[str]:
        """Those that are known here."""
        return [key for key, _ in self._moments()]

    def reset(self, key: str) -> None:
        """Fill a bucket."""
        self._note(key, 0.0)

    def _moments(self) -> Iterable[tuple[str, float]]:
        """The keys that are known here, and what is stored for each."""
        raise NotImplementedError

    def peek(self) -> Buckets:
        """The same buckets, for whoever asks what is in them: what is taken there is not taken here."""
        raise NotImplementedError

    def _full_at(self, key: str) -> float:
        """The moment stored for a key; one in the past where there is none."""
        raise NotImplementedError

    def _note(self, key: str, moment: float) -> None:
        raise NotImplementedError

    def _left(self, debt: float) -> float:
        """The tokens left in a bucket that will be full in `debt` seconds."""
        left = (self.span - debt) / self.interval + _ROUNDING
        return left // 1 if left > 0.0 else 0.0


class TokenBuckets(Buckets):
    """The buckets of one worker; an absent key has a full one.

    A bucket that has been left alone for `burst * interval` seconds is full, so generations older than that are dropped
    without loss; one that was charged with more is kept as long as that takes.
    """

    __slots__ = ("_entries", "_fill_time", "_rotated")

    def __init__(self, requests_per_minute: float, burst: int, capacity: int = CAPACITY) -> None:
        super().__init__(requests_per_minute, burst)
        self._entries: Generations[str, float] = Generations(capacity)
        self._fill_time = self.span
        """Seconds in which each of them is full again."""
        self._rotated = 0.0
        ages(self)

    def age(self, now: float) -> None:
        """Drop the buckets that are full."""
        if now - self._rotated > self._fill_time:
            self._rotated = now
            self._entries.rotate()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: str, now: float) -> float:
        if now - self._rotated > self._fill_time:
            self.age(now)
        young = self._entries.young
        known = young.get(key)
        debt = (known or self._entries.get(key) or now) - now
        if debt <= 0.0:
            debt = 0.0
        elif debt > self._tolerance + self._margin:
            return self._tolerance - debt
        debt += self.interval
        if known is None:
            self._entries.put(key, now + debt)
        else:
            young[key] = now + debt
        return self._left(debt)

    def charge(self, key: str, tokens: int, now: float) -> None:
        super().charge(key, tokens, now)
        self._fill_time = max(self._fill_time, self._full_at(key) - now)

    def peek(self) -> TokenBuckets:
        peeked = copy(self)
        peeked._entries, peeked._rotated = self._entries.peek(), inf
        return peeked

    def _full_at(self, key: str) -> float:
        return self._entries.get(key) or 0.0

    def _note(self, key: str, moment: float) -> None:
        self._entries.put(key, moment)

    def _moments(self) -> Iterable[tuple[str, float]]:
        return self._entries.items()
