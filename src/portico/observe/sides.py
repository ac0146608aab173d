"""What is counted of the sides of splits: plain numbers of one worker, which the control process adds up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.observe.families import SIDE_BOUNDS, fill

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
    `diverted` are those that were its own, and went to another side because it had no instance that could be used.
    """

    __slots__ = ("_uncounted", "buckets", "diverted", "errors", "requests", "route", "seconds", "service")

    def __init__(self, route: str, service: str) -> None:
        self.route = route
        self.service = service
        self.requests = self.errors = self.diverted = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(SIDE_BOUNDS) + 1)
        self._uncounted: list[float] = []

    def observe(self, exchange: Exchange, seconds: float) -> None:
        """Count an exchange that is over after so long."""
        status, until_response = exchange.status, exchange.upstream_seconds
        if until_response is None or status >= _CLIENT_LEFT or exchange.reason is not None:
            if status == _CLIENT_LEFT:
                return
            self.errors += _is_error(status, exchange.reason)
            if not exchange.attempts:
                self.requests += 1
                return
            if until_response is None:
                until_response = seconds
        self._uncounted.append(until_response)
        if len(self._uncounted) >= _TOGETHER:
            self._count()

    def _count(self) -> None:
        durations, self._uncounted = self._uncounted, []
        self.requests += len(durations)
        self.seconds += fill(self.buckets, durations, SIDE_BOUNDS)

    def dump(self) -> list[Any]:
        """Route, service, requests, errors, buckets, seconds and diverted: what is sent to the control process."""
        self._count()
        return [self.route, self.service, self.requests, self.errors, self.buckets, self.seconds, self.diverted]


def _is_error(status: int, reason: str | None) -> bool:
    if reason is not None and reason.startswith("upstream_"):
        return True
    return status >= _LOWEST_ERROR and reason not in _NO_ERRORS


def add_up_sides(dumps: Iterable[list[Any]]) -> list[list[Any]]:
    """The sum of several workers' dumps, in the same form."""
    sums: dict[tuple[str, str], list[Any]] = {}
    for route, service, requests, errors, buckets, seconds, diverted in dumps:
        known = sums.setdefault((route, service), [0, 0, [0] * len(buckets), 0.0, 0])
        known[0] += requests
        known[1] += errors
        known[2] = [one + other for one, other in zip(known[2], buckets, strict=True)]
        known[3] += seconds
        known[4] += diverted
    return [[*key, *sums[key]] for key in sorted(sums)]
