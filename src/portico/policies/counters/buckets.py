"""Token buckets in memory, one float each: the generic cell rate algorithm (ITU-T I.371)."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Final

from portico.core.caches import ages
from portico.core.slices import Steps
from portico.policies.counters.ranked import CAPACITY, Ranked
from portico.policies.counters.standing import fullest, without

_ROUNDING: Final = 1e-3
"""Share of a token by which sums of floats may be off: without it the last token of a full bucket is refused."""


class Buckets:
    """Buckets of `burst` tokens, refilled one token every `interval` seconds. Moments are of the monotonic clock.

    What is stored per key is the moment when its bucket will be full again.
    """

    __slots__ = ("_margin", "_tolerance", "burst", "interval", "span")

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
            self._note(key, now + debt, now)

    def charge(self, key: str, tokens: int, now: float) -> None:
        """Take tokens whether they are there or not: what is missing has to come back before there is one again."""
        self._note(key, max(self._full_at(key), now) + tokens * self.interval, now)

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
        self._forget(key)

    def _moments(self) -> Iterable[tuple[str, float]]:
        """The keys that are known here, and what is stored for each."""
        raise NotImplementedError

    def peek(self) -> Buckets:
        """The same buckets, for whoever asks what is in them: what is taken there is not taken here."""
        raise NotImplementedError

    def _full_at(self, key: str) -> float:
        """The moment stored for a key; one in the past where there is none."""
        raise NotImplementedError

    def _note(self, key: str, moment: float, now: float) -> None:
        raise NotImplementedError

    def _forget(self, key: str) -> None:
        """A bucket is full."""
        raise NotImplementedError

    def _left(self, debt: float) -> float:
        """The tokens left in a bucket that will be full in `debt` seconds."""
        left = (self.span - debt) / self.interval + _ROUNDING
        return left // 1 if left > 0.0 else 0.0


class Moments(Ranked[str]):
    """When buckets will be full, by key; one that is full, or nearest to it, is forgotten first."""

    __slots__ = ()

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__(capacity)
        ages(self)

    def age(self, now: float) -> Steps[None]:
        """Forget the buckets that are full."""
        return self.forgetting(now)


class TokenBuckets(Buckets):
    """The buckets of one worker; an absent key has a full one.

    Their `store` may be that of other buckets too, whose keys have another `prefix` there.
    """

    __slots__ = ("_prefix", "store")

    def __init__(
        self,
        requests_per_minute: float,
        burst: int,
        capacity: int = CAPACITY,
        store: Moments | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__(requests_per_minute, burst)
        self.store = store if store is not None else Moments(capacity)
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self.store)

    def take(self, key: str, now: float) -> float:
        if self._prefix:
            key = self._prefix + key
        numbers = self.store.numbers
        known = numbers.get(key)
        if known is None:
            self.store.put(key, now + self.interval, now)
            return self._left(self.interval)
        debt = known - now
        if debt <= 0.0:
            debt = 0.0
        elif debt > self._tolerance + self._margin:
            return self._tolerance - debt
        debt += self.interval
        numbers[key] = now + debt
        return self._left(debt)

    def peek(self) -> TokenBuckets:
        peeked = copy(self)
        peeked.store = self.store.peek()
        return peeked

    def _full_at(self, key: str) -> float:
        return self.store.get(self._prefix + key)

    def _note(self, key: str, moment: float, now: float) -> None:
        self.store.put(self._prefix + key, moment, now)

    def _forget(self, key: str) -> None:
        self.store.forget(self._prefix + key)

    def _moments(self) -> Iterable[tuple[str, float]]:
        return without(self._prefix, self.store.items())
