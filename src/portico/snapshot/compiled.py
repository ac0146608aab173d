"""Settings, mostly of services, in the form in which the request path uses them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from portico.config import ConsistentHashSettings, CookieKey, HeaderKey, RetrySettings, Upstream
from portico.config import Timeouts as TimeoutSettings
from portico.config.telemetry import TracingSettings
from portico.observe.tracing import Sampling
from portico.upstreams.balancer import MakeBalancer
from portico.upstreams.breaker import Trip
from portico.upstreams.consistent_hash import ConsistentHash, KeyOf, by_client, by_cookie, by_header
from portico.upstreams.instance import Instance
from portico.upstreams.least_connections import LeastConnections
from portico.upstreams.power_of_two import PowerOfTwo
from portico.upstreams.random_choice import RandomChoice
from portico.upstreams.ring import Ring
from portico.upstreams.round_robin import RoundRobin
from portico.upstreams.service import Balancing, Retry, Timeouts
from portico.wire.deadlines import NEVER

_BALANCERS: Final[dict[str, Any]] = {
    "round_robin": RoundRobin,
    "least_connections": LeastConnections,
    "power_of_two": PowerOfTwo,
    "random": RandomChoice,
}


def balancing_of(upstream: Upstream) -> Balancing:
    """How requests are balanced over its instances."""
    ejects = upstream.circuit_breaker is None and upstream.passive_health is not None
    most = upstream.passive_health.max_ejected if ejects and upstream.passive_health else None
    written = upstream.load_balancing
    if isinstance(written, str):
        make: MakeBalancer[Any] = _BALANCERS[written]
        return Balancing(make, most, upstream.slow_start)
    ring: Ring[Instance] = Ring()
    make = partial(ConsistentHash, key_of=_key_of(written), ring=ring)
    return Balancing(make, most, upstream.slow_start, ring)


def _key_of(written: ConsistentHashSettings) -> KeyOf:
    match written.consistent_hash:
        case HeaderKey(header=name):
            return by_header(name)
        case CookieKey(cookie=name):
            return by_cookie(name)
        case _:
            return by_client


def latency_wanted(upstream: Upstream) -> bool:
    """Whether its balancer needs the instances' latency."""
    return upstream.load_balancing == "power_of_two"


def trip_of(upstream: Upstream) -> Trip | None:
    """When breakers of its instances open; None where it has none: a single instance is never ejected."""
    passive = upstream.passive_health if len(upstream.instances) > 1 or upstream.may_change else None
    written = upstream.circuit_breaker or passive
    if written is None:
        return None
    return Trip(
        written.failures,
        written.error_rate,
        written.volume,
        written.window,
        written.open_for,
        written.open_for_most,
    )


def timeouts_of(written: TimeoutSettings, retry: RetrySettings) -> Timeouts:
    """How long an attempt may take; `per_try_timeout` shortens what comes before a response."""
    each = retry.per_try_timeout or NEVER
    connect, response = min(written.connect, each), min(written.response, each)
    keys = (
        "timeout.connect" if connect < each else "retries.per_try_timeout",
        "timeout.response" if response < each else "retries.per_try_timeout",
    )
    silence = min(response, retry.silence) if retry.silence and retry.attempts else response
    return Timeouts(connect, response, written.idle, written.total, written.tunnel, silence, keys)


def retry_of(written: RetrySettings) -> Retry:
    """What is retried; a timeout per attempt implies another attempt after it."""
    causes = (*written.on, "timeout") if written.per_try_timeout is not None else written.on
    return Retry(
        written.attempts,
        frozenset(cause for cause in causes if isinstance(cause, str)),
        frozenset(cause for cause in causes if isinstance(cause, int)),
        written.budget,
        frozenset(method.encode() for method in written.methods),
        frozenset() if "on" in written.model_fields_set else frozenset({"timeout"}),
    )


def sampling_of(written: TracingSettings) -> Sampling:
    """Which exchanges are recorded."""
    joins, believes = written.clients != "restart", written.clients == "follow"
    return Sampling(written.sample, written.parent_based, joins, believes)
