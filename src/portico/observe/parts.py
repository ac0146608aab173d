"""Exchanges by route or by instance, where the configuration asks for that: series of what is there now, no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from portico.core.exchange import Exchange
from portico.observe.families import DURATION_BOUNDS, fill


class _Series:
    """What is counted for one part."""

    __slots__ = ("buckets", "statuses", "total")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self.total = 0.0

    def add(self, status: int, seconds: float | None) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if seconds is not None:
            self.total += fill(self.buckets, (seconds,))


class Parts:
    """Of one worker. A key is the service and its route; or the service, the version and the name of the instance."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], _Series] = {}
        self._instances: dict[tuple[str, str | None, str], _Series] = {}

    def observe_route(self, exchange: Exchange) -> None:
        """Count one exchange that is over; the time is all that it took, of a tunnel until it was open."""
        match = exchange.match
        if match.handling is not None and match.route is not None:
            seconds = (exchange.ended or time.monotonic()) - exchange.started
            if exchange.status == 101:
                seconds = exchange.upstream_seconds or seconds
            key = match.handling.service_name, match.route.name
            self._routes.setdefault(key, _Series()).add(exchange.status, seconds)

    def observe_instance(self, exchange: Exchange) -> None:
        """Count one exchange at the instance that was tried last; the time is what that took until it answered."""
        handling = exchange.match.handling
        if handling is not None and exchange.upstream is not None:
            key = handling.service_name, handling.version, exchange.upstream
            self._instances.setdefault(key, _Series()).add(exchange.status, exchange.upstream_seconds)

    def dump(
        self, routes: Callable[[], Iterable[str]], urls: Callable[[], dict[tuple[str, str], str]]
    ) -> dict[str, Any]:
        """The totals as plain data, of what there is still: the rest is forgotten.

        `routes` gives the names of all routes, `urls` the URL of each instance by its upstream's key and its name.
        """
        return {"by_route": self._dump_routes(routes), "by_instance": self._dump_instances(urls)}

    def _dump_routes(self, routes: Callable[[], Iterable[str]]) -> list[Any]:
        if not self._routes:
            return []
        known = {*routes()}
        self._routes = {key: series for key, series in self._routes.items() if key[1] in known}
        return [[*key, *_dumped(series)] for key, series in self._routes.items()]

    def _dump_instances(self, urls: Callable[[], dict[tuple[str, str], str]]) -> list[Any]:
        if not self._instances:
            return []
        known = urls()
        kept, dumped = {}, []
        for (service, version, name), series in self._instances.items():
            for key in (f"{service}@{version}", service):
                if (url := known.get((key, name))) is not None:
                    kept[service, version, name] = series
                    dumped.append([key, url, *_dumped(series)])
                    break
        self._instances = kept
        return dumped


def _dumped(series: _Series) -> list[Any]:
    return [list(series.statuses.items()), series.buckets, series.total]


def add_up_parts(dumped: Iterable[list[Any]]) -> list[list[Any]]:
    """The sum of several workers' series."""
    sums: dict[tuple[str, str], list[Any]] = {}
    for service, part, statuses, buckets, seconds in dumped:
        entry = sums.setdefault((service, part), [{}, [0] * len(buckets), 0.0])
        for status, count in statuses:
            entry[0][status] = entry[0].get(status, 0) + count
        entry[1] = [a + b for a, b in zip(entry[1], buckets, strict=True)]
        entry[2] += seconds
    return [[*key, list(entry[0].items()), *entry[1:]] for key, entry in sorted(sums.items())]
