"""The `/metrics` page: all workers' totals as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from portico.observe.families import DURATION_BOUNDS, SIDE_BOUNDS
from portico.observe.sides import SHOWN
from portico.processes.control.workers import add_up


@dataclass(frozen=True, slots=True)
class RegistryGauges:
    """Whether Redis is reachable (None: it is not used), and how many instances of each service are registered.

    `asked` says of services that Kubernetes or DNS is asked for whether they answer.
    """

    up: bool | None
    instances: dict[str, int]
    asked: dict[str, bool]


class _Page(Collector):
    def __init__(
        self,
        live: list[dict[str, Any]],
        ended: list[dict[str, Any]],
        health: dict[tuple[str, str], bool],
        registry: RegistryGauges | None,
        more: Sequence[Metric],
    ) -> None:
        self.live = live
        self.sums = add_up([*live, *ended])
        self.health = health
        self.registry = registry
        self.more = more
        self.exemplars = _newest(live)

    def collect(self) -> Iterator[Metric]:
        yield from self._exchanges()
        yield self._counter("gateway_retries", "Requests sent to a service again", self.sums["retries"])
        yield from self._errors()
        yield from self._parts()
        yield from self._shared_limits()
        yield self._counter("gateway_hedges", "Second tries beside slow first ones", self.sums["hedges"])
        yield self._counter("gateway_hedges_won", "Second tries that answered first", self.sums["hedges_won"])
        yield from self._breakers()
        yield from self._caches()
        yield from self._sides()
        received, sent = self.sums["tunnel_bytes_in"], self.sums["tunnel_bytes_out"]
        yield self._counter("gateway_tunnel_bytes_in", "Bytes from clients through WebSockets that ended", received)
        yield self._counter("gateway_tunnel_bytes_out", "Bytes to clients through WebSockets that ended", sent)
        yield self._gauge("gateway_tunnels", "Open WebSockets and other upgrades", sum(w["tunnels"] for w in self.live))
        yield self._sum(
            "gateway_log_lines_dropped",
            "Access log lines lost because nobody read them in time",
            self.sums["log_lines_dropped"],
        )
        yield self._sum(
            "gateway_tls_handshake_failures",
            "TLS handshakes of clients that came to nothing",
            self.sums["failed_handshakes"],
        )
        yield self._gauge("gateway_requests_in_flight", "Exchanges under way", sum(w["in_flight"] for w in self.live))
        yield self._gauge("gateway_connections", "Open client connections", sum(w["connections"] for w in self.live))
        yield self._gauge("gateway_workers", "Workers that are connected", len(self.live))
        generation = min((w["generation"] for w in self.live), default=0)
        yield self._gauge("gateway_config_generation", "The oldest configuration that a worker serves by", generation)
        yield from self._loads()
        healthy = GaugeMetricFamily(
            "gateway_instance_healthy", "Whether an instance passes its checks", labels=["service", "instance"]
        )
        for (service, url), is_healthy in self.health.items():
            healthy.add_metric([service, url], float(is_healthy))
        yield healthy
        if self.registry is not None:
            yield from self._registered(self.registry)
        yield from self._families()
        yield from self.more

    def _registered(self, registry: RegistryGauges) -> Iterator[Metric]:
        if registry.up is not None:
            yield self._gauge("gateway_registry_up", "Whether the registry in Redis is in reach", float(registry.up))
        instances = GaugeMetricFamily("gateway_registry_instances", "Registered instances", labels=["service"])
        for service, count in registry.instances.items():
            instances.add_metric([service], count)
        yield instances
        if registry.asked:
            text = "Whether Kubernetes or DNS says where the instances of a service are"
            asked = GaugeMetricFamily("gateway_discovery_up", text, labels=["service"])
            for service, is_up in registry.asked.items():
                asked.add_metric([service], float(is_up))
            yield asked

    def _families(self) -> Iterator[Metric]:
        """What is counted of users' policies, and by them."""
        for name, kind, labels, bounds, text, series in self.sums["families"]:
            if kind == "counter":
                counter = CounterMetricFamily(name, text, labels=labels)
                for values, count in series:
                    counter.add_metric(values, count)
                yield counter
            else:
                histogram = HistogramMetricFamily(name, text, labels=labels)
                for values, (buckets, total) in series:
                    histogram.add_metric(values, _cumulated(buckets, bounds), total)
                yield histogram

    def _exchanges(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("gateway_requests", "Total requests", labels=["service", "method", "status"])
        duration = HistogramMetricFamily(
            "gateway_request_duration_seconds", "Request duration", labels=["service", "method"]
        )
        upstream = HistogramMetricFamily(
            "gateway_upstream_duration_seconds", "Time until a service's response began", labels=["service", "method"]
        )
        for service, method, statuses, buckets, seconds, upstream_buckets, upstream_seconds in self.sums["series"]:
            for status, count in statuses:
                requests.add_metric([service, method, str(status)], count)
            counted = _cumulated(buckets, DURATION_BOUNDS)
            found = self.exemplars.get((service, method))
            duration.add_metric([service, method], counted if found is None else _exemplified(counted, found), seconds)
            if any(upstream_buckets):
                upstream.add_metric([service, method], _cumulated(upstream_buckets, DURATION_BOUNDS), upstream_seconds)
        yield requests
        yield duration
        yield upstream

    def _errors(self) -> Iterator[Metric]:
        """All refusals and failures, and those that have a metric of their own."""
        text = "Exchanges that were refused or failed"
        errors = CounterMetricFamily("gateway_errors", text, labels=["service", "reason"])
        own: dict[str, dict[str, int]] = {"rate_limited": {}, "overloaded": {}}
        for service, counts in self.sums["errors"].items():
            for reason, count in counts.items():
                errors.add_metric([service, reason], count)
                if reason in own:
                    own[reason][service] = count
        yield errors
        yield self._counter("gateway_rate_limited", "Requests refused by a rate limit", own["rate_limited"])
        text = "Requests refused because too many were under way"
        yield self._counter("gateway_overloaded", text, own["overloaded"])

    def _parts(self) -> Iterator[Metric]:
        """Nothing where they are not counted."""
        requests = CounterMetricFamily(
            "gateway_route_requests", "Requests by route", labels=["service", "route", "status"]
        )
        duration = HistogramMetricFamily(
            "gateway_route_duration_seconds", "Request duration by route", labels=["service", "route"]
        )
        yield from self._of_parts("by_route", requests, duration)
        requests = CounterMetricFamily(
            "gateway_instance_requests", "Requests by instance", labels=["service", "instance", "status"]
        )
        text = "Time until the response of an instance began"
        duration = HistogramMetricFamily("gateway_instance_duration_seconds", text, labels=["service", "instance"])
        yield from self._of_parts("by_instance", requests, duration)

    def _of_parts(self, name: str, requests: CounterMetricFamily, duration: HistogramMetricFamily) -> Iterator[Metric]:
        for service, part, statuses, buckets, seconds in self.sums[name]:
            for status, count in statuses:
                requests.add_metric([service, part, str(status)], count)
            duration.add_metric([service, part], _cumulated(buckets, DURATION_BOUNDS), seconds)
        if self.sums[name]:
            yield requests
            yield duration

    def _shared_limits(self) -> Iterator[Metric]:
        """Nothing where there is no Redis."""
        states = [worker["redis_up"] for worker in self.live if worker["redis_up"] is not None]
        if states:
            text = "Whether Redis serves the limits of every worker"
            yield self._gauge("gateway_redis_up", text, min(states))
            text = "Requests whose limits were decided without Redis"
            yield self._counter("gateway_limit_fallbacks", text, self.sums["limit_fallbacks"])

    def _breakers(self) -> Iterator[Metric]:
        openings = CounterMetricFamily(
            "gateway_breaker_openings", "Times that a breaker opened", labels=["service", "instance"]
        )
        for service, counts in self.sums["openings"].items():
            for instance, count in counts.items():
                openings.add_metric([service, instance], count)
        yield openings
        worst: dict[tuple[str, str], int] = {}
        for worker in self.live:
            for service, instance, state in worker["breakers"]:
                worst[service, instance] = max(state, worst.get((service, instance), 0))
        states = GaugeMetricFamily(
            "gateway_breaker_state", "0 closed, 1 half-open, 2 open", labels=["service", "instance"]
        )
        for (service, instance), state in worst.items():
            states.add_metric([service, instance], state)
        yield states

    def _sides(self) -> Iterator[Metric]:
        """Nothing where no route is split."""
        if not self.sums["sides"]:
            return
        labels = ["route", "service"]
        requests = CounterMetricFamily("gateway_split_requests", "Requests that a side of a split got", labels=labels)
        errors = CounterMetricFamily("gateway_split_errors", "Those of them that failed", labels=labels)
        text = "Time until the response of a side began"
        duration = HistogramMetricFamily("gateway_split_duration_seconds", text, labels=labels)
        bounds = [f"{bound:g}" for bound in SIDE_BOUNDS[::SHOWN]]
        text = "Requests of a side without a usable instance that others got"
        diverted = CounterMetricFamily("gateway_split_diverted", text, labels=labels)
        for route, service, counted, failed, buckets, seconds, left in self.sums["sides"]:
            requests.add_metric([route, service], counted)
            errors.add_metric([route, service], failed)
            diverted.add_metric([route, service], left)
            up_to = [*accumulate(buckets)]
            shown = zip([*bounds, "+Inf"], [*up_to[:-1:SHOWN], up_to[-1]], strict=True)
            duration.add_metric([route, service], [*shown], seconds)
        yield requests
        yield errors
        yield diverted
        yield duration

    def _caches(self) -> Iterator[Metric]:
        """Nothing where no route has a cache."""
        if not self.sums["cached"]:
            return
        requests = CounterMetricFamily(
            "gateway_cache_requests", "Requests on routes with a cache", labels=["service", "outcome"]
        )
        for service, counts in self.sums["cached"].items():
            for outcome, count in counts.items():
                requests.add_metric([service, outcome], count)
        yield requests
        entries, size = (sum(worker[name] for worker in self.live) for name in ("cache_entries", "cache_bytes"))
        yield self._gauge("gateway_cache_entries", "Responses stored in the memory of all workers", entries)
        yield self._gauge("gateway_cache_bytes", "Bytes of memory that they take", size)
        text = "Stored responses that made room for others"
        yield self._sum("gateway_cache_evictions", text, self.sums["cache_evictions"])

    def _loads(self) -> Iterator[Metric]:
        """For each service, over all workers: the requests in flight, their limit, and the requests in the queue."""
        for index, name, text in (
            (0, "in_flight", "Exchanges in flight at a service"),
            (1, "limit", "Exchanges that a service may have in flight"),
            (2, "waiting", "Requests that wait for a permit of a service"),
        ):
            sums: dict[str, int] = {}
            for worker in self.live:
                for service, numbers in worker["services"].items():
                    if numbers[1] is not None or not index:  # without a limit there is no queue
                        sums[service] = sums.get(service, 0) + numbers[index]
            family = GaugeMetricFamily(f"gateway_service_{name}", text, labels=["service"])
            for service, value in sums.items():
                family.add_metric([service], value)
            yield family

    @staticmethod
    def _counter(name: str, text: str, counts: dict[str, int]) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=["service"])
        for service, count in counts.items():
            family.add_metric([service], count)
        return family

    @staticmethod
    def _sum(name: str, text: str, count: int) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text)
        family.add_metric([], count)
        return family

    @staticmethod
    def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, text, value=value)


def _cumulated(buckets: list[int], bounds: Sequence[float]) -> list[tuple[str, float]]:
    return list(zip([*map(str, bounds), "+Inf"], accumulate(buckets), strict=True))


def _newest(live: list[dict[str, Any]]) -> dict[tuple[str, str], dict[int, Exemplar]]:
    """The last exchange with spans, by service and method, and by the bucket of its duration."""
    newest: dict[tuple[str, str], dict[int, Exemplar]] = {}
    for worker in live:
        for service, method, bucket, trace_id, span_id, seconds, at in worker.get("exemplars", ()):
            of_series = newest.setdefault((service, method), {})
            if bucket not in of_series or of_series[bucket].timestamp < at:
                of_series[bucket] = Exemplar({"trace_id": trace_id, "span_id": span_id}, seconds, at)
    return newest


def _exemplified(buckets: list[tuple[str, float]], found: dict[int, Exemplar]) -> list[Any]:
    return [(*bucket, found[index]) if index in found else bucket for index, bucket in enumerate(buckets)]


def families_of(
    live: list[dict[str, Any]],
    ended: list[dict[str, Any]],
    health: dict[tuple[str, str], bool],
    registry_gauges: RegistryGauges | None = None,
    more: Sequence[Metric] = (),
) -> list[Metric]:
    """What the page has, for others than those who read it."""
    return [*_Page(live, ended, health, registry_gauges, more).collect()]


def render_metrics(
    live: list[dict[str, Any]],
    ended: list[dict[str, Any]],
    health: dict[tuple[str, str], bool],
    accept: str,
    registry_gauges: RegistryGauges | None = None,
    more: Sequence[Metric] = (),
) -> tuple[bytes, str]:
    """The page and its content type: OpenMetrics for those who `accept` it, Prometheus text for others.

    `more` are families that are known already.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(live, ended, health, registry_gauges, more))
    encode, content_type = choose_encoder(accept)
    page: bytes = encode(registry)
    return page, content_type
