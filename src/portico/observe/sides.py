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
_PATIENCE: Final = 1.0
"""Seconds after which a client that leaves without an answer had waited in vain."""
_LOWEST_ERROR: Final = 500
_NO_ERRORS: Final = frozenset({"not_cached", "policy_failed"})
"""Reasons that say nothing of a service, although their status is one of its faults."""


class SideCounts:
    """One side of one route: a service, or a version of it (`service@version`).

    `requests` are those for which the service was called, or should have been and could not be; `errors` those of them
    that ended with a status of 500 or more, whose response broke off at the service, or whose client had waited in vain
    for a second when it left. `buckets` count those for which it was called, by the seconds until its response began or
    they failed. What says nothing of the service is not counted: what the cache answered, what clients did not send.
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

    def observe(self, exchange: Exchange, status: int, seconds: float, until_response: float | None) -> None:
        """Count an exchange that is over after so long, if need be, and after how long its response began."""
        if until_response is None or status >= _CLIENT_LEFT or exchange.reason is not None:
            failed = _is_error(exchange)
            if not exchange.attempts:
                self.requests += failed
                self.errors += failed
                return
            if until_response is None:
                if not exchange.stream.request_done or (status == _CLIENT_LEFT and seconds < _PATIENCE):
                    return
                until_response, failed = seconds, True
            self.errors += failed
        uncounted = self._uncounted
        uncounted.append(until_response)
        if len(uncounted) >= _TOGETHER:
            self._count()

    def _count(self) -> None:
        durations, self._uncounted = self._uncounted, []
        self.requests += len(durations)
        self.seconds += fill(self.buckets, durations, SIDE_BOUNDS)

    def dump(self) -> list[Any]:
        """Route, service, requests, errors, buckets, seconds and diverted: what is sent to the control process."""
        self._count()
        return [self.route, self.service, self.requests, self.errors, self.buckets, self.seconds, self.diverted]


def _is_error(exchange: Exchange) -> bool:
    reason = exchange.reason
    if reason is not None and reason.startswith("upstream_"):
        return True
    return exchange.status >= _LOWEST_ERROR and reason not in _NO_ERRORS


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
