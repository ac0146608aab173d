"""What is counted of the sides of splits: plain numbers of one worker, which the control process adds up."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.observe.families import SIDE_BOUNDS

SHOWN: Final = 4
"""Of so many buckets `/metrics` has one: percentiles of two sides are compared, and need finer ones."""
_TOGETHER: Final = 256
"""Durations that are counted at once."""
_CLIENT_LEFT: Final = 499
_LOWEST_ERROR: Final = 500
_NO_ERRORS: Final = frozenset({"not_cached", "policy_failed"})
"""Reasons that say nothing of a service, although their status is one of its faults."""


class SideCounts:
    """One side of one route: a service, or a version of it (`service@version`).

    `requests` are all that it was given, unless their clients left before they were answered. `errors` are those of
    them that ended with a status of 500 or more, or whose response broke off at the service. `buckets` count those
    for which the service was called, and not the cache, by the seconds until its response began or they failed.
    """

    __slots__ = ("_uncounted", "buckets", "errors", "requests", "route", "seconds", "service")

    def __init__(self, route: str, service: str) -> None:
        self.route = route
        self.service = service
        self.requests = self.errors = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(SIDE_BOUNDS) + 1)
        self._uncounted: list[float] = []

    def observe(self, exchange: Exchange, seconds: float) -> None:
        """Count an exchange that is over after so long."""
        if exchange.status >= _CLIENT_LEFT or exchange.reason is not None:
            if exchange.status == _CLIENT_LEFT:
                return
            self.errors += _is_error(exchange.status, exchange.reason)
        self.requests += 1
        if exchange.attempts:
            upstream_seconds, uncounted = exchange.upstream_seconds, self._uncounted
            uncounted.append(seconds if upstream_seconds is None else upstream_seconds)
            if len(uncounted) >= _TOGETHER:
                self._count()

    def _count(self) -> None:
        durations, self._uncounted = self._uncounted, []
        self.seconds += sum(durations)
        for index, count in Counter(bisect_left(SIDE_BOUNDS, each) for each in durations).items():
            self.buckets[index] += count

    def dump(self) -> list[Any]:
        """Route, service, requests, errors, buckets and seconds: what is sent to the control process."""
        self._count()
        return [self.route, self.service, self.requests, self.errors, self.buckets, self.seconds]


def _is_error(status: int, reason: str | None) -> bool:
    if reason is not None and reason.startswith("upstream_"):
        return True
    return status >= _LOWEST_ERROR and reason not in _NO_ERRORS


def add_up_sides(dumps: Iterable[list[Any]]) -> list[list[Any]]:
    """The sum of several workers' dumps, in the same form."""
    sums: dict[tuple[str, str], list[Any]] = {}
    for route, service, requests, errors, buckets, seconds in dumps:
        known = sums.setdefault((route, service), [0, 0, [0] * len(buckets), 0.0])
        known[0] += requests
        known[1] += errors
        known[2] = [one + other for one, other in zip(known[2], buckets, strict=True)]
        known[3] += seconds
    return [[*key, *sums[key]] for key in sorted(sums)]
