"""Counters and histograms of one worker: plain numbers, which the control process collects and adds up."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from portico.core.errors import REASONS
from portico.observe.families import DURATION_BOUNDS, Families, fill
from portico.observe.families import Counter as CounterFamily
from portico.observe.sides import SideCounts

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"})
_OF_POLICIES: Final = "policy"
"""Stands for the reasons of users' policies, which are words of their own."""
_TOGETHER: Final = 256
"""Exchanges that are counted at once."""
_series_of: Final = itemgetter(0, 1)
_status_of: Final = itemgetter(2)


class Series:
    """What is counted for one service and method."""

    __slots__ = ("buckets", "statuses", "total", "upstream_buckets", "upstream_total")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self.total = 0.0
        self.upstream_buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self.upstream_total = 0.0


class Metrics:
    """All series of a worker. Uncommon methods share the label `OTHER`: clients cannot create labels."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}
        self._uncounted: list[tuple[str, str, int, float, float | None]] = []
        self.retries: dict[str, int] = {}
        self.errors: dict[str, dict[str, int]] = {}
        """Exchanges with a reason, by service and reason."""
        self.limit_fallbacks: dict[str, int] = {}
        """Requests whose limits were decided without the Redis that holds them."""
        self.tunnel_bytes_in: dict[str, int] = {}
        self.tunnel_bytes_out: dict[str, int] = {}
        self.hedges: dict[str, int] = {}
        self.hedges_won: dict[str, int] = {}
        self.openings: dict[str, dict[str, int]] = {}
        """How often breakers opened, by service and instance."""
        self.cached: dict[str, dict[str, int]] = {}
        """What caches had for requests, by service and outcome."""
        self.families = Families()
        """What policies of users count."""
        self.policy_errors = self.families.own_counter(
            "gateway_policy_errors", "Calls of users' policies that failed or blocked", ("policy", "hook", "kind")
        )
        self.shadowed = self.families.own_counter(
            "gateway_rate_limit_shadow", "Requests that a limit with enforce: false would refuse", ("service", "limit")
        )
        self.costs = self.families.own_counter(
            "gateway_cost", "What responses cost, as limits with cost count it", ("service", "limit")
        )
        self.denied = self.families.own_counter(
            "gateway_denied", "Requests that a rule of deny refuses", ("service", "rule")
        )
        self.untransformed = self.families.own_counter(
            "gateway_transform_skipped",
            "Bodies that a rule of transform is for and could not change",
            ("service", "direction", "why"),
        )
        self.versions = self.families.own_counter(
            "gateway_version_requests", "Exchanges by version of the service", ("service", "version")
        )
        self.failovers = self.families.own_counter(
            "gateway_failovers",
            "Requests for which another service was asked in place of one that failed",
            ("service", "to", "cause"),
        )
        self.mirrored = self.families.own_counter(
            "gateway_mirrored_requests", "Copies for mirrors, by what came of them", ("route", "service", "outcome")
        )
        self._sides: dict[tuple[str, str], SideCounts] = {}
        self.compressed = (
            self.families.own_counter("gateway_compressed_responses", "Compressed responses", ("service", "coding")),
            self.families.own_counter(
                "gateway_compressed_bytes", "Bytes of these, before and after", ("service", "coding", "form")
            ),
        )
        self.log_lines_dropped = 0
        self.failed_handshakes = 0
        self.cache_evictions = 0

    def observe(self, service: str, method: str, status: int, seconds: float, upstream_seconds: float | None) -> None:
        """Count one exchange; `seconds` in all, `upstream_seconds` of them in the service, if it was sent there."""
        uncounted = self._uncounted
        uncounted.append((service, method, status, seconds, upstream_seconds))
        if len(uncounted) >= _TOGETHER:
            self._count()

    def _count(self) -> None:
        """Add up the exchanges since the last time: a quarter of the work of adding them one by one."""
        uncounted, self._uncounted = self._uncounted, []
        uncounted.sort(key=_series_of)
        for (service, method), exchanges in groupby(uncounted, _series_of):
            name = method if method in _METHODS else "OTHER"
            series = self._series.setdefault((service, name), Series())
            counted = list(exchanges)
            for status, count in Counter(map(_status_of, counted)).items():
                series.statuses[status] = series.statuses.get(status, 0) + count
            series.total += fill(series.buckets, [each[3] for each in counted])
            upstream = [each[4] for each in counted if each[4] is not None]
            series.upstream_total += fill(series.upstream_buckets, upstream)

    def note_exports(self, sent: dict[str, int], dropped: dict[tuple[str, str], int]) -> None:
        """Set what was sent to collectors, by signal, and what was dropped, by signal and reason."""
        if sent:
            self._exports[0].series.update({(signal,): float(count) for signal, count in sent.items()})
            self._exports[1].series.update({key: float(count) for key, count in dropped.items()})

    @cached_property
    def _exports(self) -> tuple[CounterFamily, CounterFamily]:
        """They are shown once something is exported."""
        text = "Spans and log records that a collector of OpenTelemetry has taken"
        lost = "Spans and log records that no collector got, by why"
        return (
            self.families.own_counter("gateway_otlp_sent", text, ("signal",)),
            self.families.own_counter("gateway_otlp_dropped", lost, ("signal", "why")),
        )

    def observe_version(self, service: str, version: str) -> None:
        """Count one exchange of a version: names of both are written in the configuration, so that there are few."""
        series, key = self.versions.series, (service, version)
        series[key] = series.get(key, 0.0) + 1.0

    def side(self, route: str, service: str) -> SideCounts:
        """What is counted of a side of a split, in all snapshots."""
        return self._sides.setdefault((route, service), SideCounts(route, service))

    @cached_property
    def listeners(self) -> CounterFamily:
        """Exchanges by listener: it is shown where there are several, so once there was one."""
        text = "Exchanges by the listener that they came in by"
        return self.families.own_counter("gateway_listener_requests", text, ("listener", "status"))

    def observe_listener(self, listener: str, status: int) -> None:
        """Count one exchange at one of several listeners."""
        series, key = self.listeners.series, (listener, str(status))
        series[key] = series.get(key, 0.0) + 1.0

    def observe_error(self, service: str, reason: str) -> None:
        """Count one exchange that was refused, or failed; words of users' policies share one label."""
        if reason not in REASONS:
            reason = _OF_POLICIES
        counts = self.errors.setdefault(service, {})
        counts[reason] = counts.get(reason, 0) + 1

    def observe_tunnel(self, service: str, bytes_in: int, bytes_out: int) -> None:
        """Count the bytes of a tunnel that ended."""
        self.tunnel_bytes_in[service] = self.tunnel_bytes_in.get(service, 0) + bytes_in
        self.tunnel_bytes_out[service] = self.tunnel_bytes_out.get(service, 0) + bytes_out

    def dump(self) -> dict[str, Any]:
        """The totals as plain data: what is sent to the control process."""
        self._count()
        return {
            "series": [
                [service, method, list(s.statuses.items()), s.buckets, s.total, s.upstream_buckets, s.upstream_total]
                for (service, method), s in self._series.items()
            ],
            "retries": self.retries,
            "errors": self.errors,
            "limit_fallbacks": self.limit_fallbacks,
            "tunnel_bytes_in": self.tunnel_bytes_in,
            "tunnel_bytes_out": self.tunnel_bytes_out,
            "hedges": self.hedges,
            "hedges_won": self.hedges_won,
            "openings": self.openings,
            "cached": self.cached,
            "families": self.families.dump(),
            "sides": [side.dump() for side in self._sides.values()],
            "log_lines_dropped": self.log_lines_dropped,
            "failed_handshakes": self.failed_handshakes,
            "cache_evictions": self.cache_evictions,
        }
