"""What the requests to both sides of a canary came to: counted by workers, summed up since its step began."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, TypeAlias

import msgspec

from portico.observe.families import SIDE_BOUNDS

_RECENT: Final = 60.0
"""Seconds that are the last while."""
_REMEMBERED: Final = 300
"""Workers of which it is known what they have counted: more than there may be at once."""
_TO_MIDDLE: Final = (SIDE_BOUNDS[0] / SIDE_BOUNDS[1]) ** 0.5
"""From the upper bound of a bucket to its middle."""


class Counts(msgspec.Struct, frozen=True):
    """Requests to one side, how many of them failed, and how many took up to each of `SIDE_BOUNDS`."""

    requests: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = (0,) * (len(SIDE_BOUNDS) + 1)

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, -1)

    def _with(self, other: Counts, sign: int) -> Counts:
        buckets = tuple(a + sign * b for a, b in zip(self.buckets, other.buckets, strict=True))
        return Counts(self.requests + sign * other.requests, self.errors + sign * other.errors, buckets)

    @property
    def measured(self) -> int:
        """How many requests the buckets count: not those that the cache answered."""
        return sum(self.buckets)

    def slower_than(self, seconds: float) -> int:
        """How many took longer, as far as the buckets say so: those of the one in which it falls are left out."""
        return sum(self.buckets[bisect_left(SIDE_BOUNDS, seconds) + 1 :])

    def quantile(self, part: float) -> float:
        """The seconds that this part of the requests took at most: the middle of the bucket in which it falls.

        Buckets are 19 % wide, so that this is off by 9 % at most, up to the last bound.
        """
        summed = [*accumulate(self.buckets)]
        index = bisect_left(summed, part * summed[-1])
        return SIDE_BOUNDS[index] * _TO_MIDDLE if index < len(SIDE_BOUNDS) else SIDE_BOUNDS[-1]


class Sides(msgspec.Struct, frozen=True):
    """Both sides' counts."""

    old: Counts = Counts()
    new: Counts = Counts()

    def __add__(self, other: Sides) -> Sides:
        return Sides(self.old + other.old, self.new + other.new)

    def __sub__(self, other: Sides) -> Sides:
        return Sides(self.old - other.old, self.new - other.new)


Totals: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What each worker has counted since it began, by the worker's name."""


class Tally:
    """Counts of a canary's sides from the workers' totals, which only grow while a worker lives.

    Workers that are there at the first call count from then on: what they did before may belong to an earlier step.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Sides] | None = None

    def new(self, totals: Totals, route: str, service: str, to: str) -> Sides:
        """What was added since the last call."""
        now = {
            worker: Sides(_side(counted["sides"], route, service), _side(counted["sides"], route, to))
            for worker, counted in totals.items()
        }
        if self._seen is None:
            self._seen = now
            return Sides()
        added = Sides()
        for worker, sides in now.items():
            added += sides - self._seen.pop(worker, Sides())
            self._seen[worker] = sides
        for worker in [*self._seen][:-_REMEMBERED]:  # those that ended longest ago
            del self._seen[worker]
        return added


def _side(sides: Iterable[Any], route: str, service: str) -> Counts:
    """What a worker's totals have of one side.

    Its share of the requests that others had to take, because it had no usable instance, counts as failed there: no
    client saw an error, but a release that is wholly down must not look like one to which nobody comes.
    """
    for each, name, requests, errors, buckets, _, diverted in sides:
        if (each, name) == (route, service):
            return Counts(requests + diverted, errors + diverted, tuple(buckets))
    return Counts()


class Recent:
    """The part of growing counts that came in the last while."""

    def __init__(self) -> None:
        self._earlier: deque[tuple[float, Sides]] = deque()

    def of(self, counted: Sides, now: float) -> Sides:
        """`counted` less what was there that long ago; `now` is a monotonic time in seconds."""
        earlier = self._earlier
        earlier.append((now, counted))
        while len(earlier) > 1 and earlier[1][0] <= now - _RECENT:
            earlier.popleft()
        return counted - earlier[0][1]
