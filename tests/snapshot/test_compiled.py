"""A service's settings as the request path gets them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from portico.config import RetrySettings, ServiceSettings, Timeouts
from portico.snapshot.compiled import balancing_of, retry_of, timeouts_of, trip_of
from portico.upstreams.breaker import Trip
from portico.upstreams.consistent_hash import ConsistentHash
from portico.upstreams.least_connections import LeastConnections
from portico.upstreams.power_of_two import PowerOfTwo
from portico.upstreams.random_choice import RandomChoice
from portico.upstreams.round_robin import RoundRobin

TWO = ("http://a", "http://b")


def upstream(*urls: str, **written: Any) -> Any:
    return ServiceSettings.model_validate({"instances": list(urls or TWO)} | written).upstream()


@pytest.mark.parametrize(
    ("written", "bound", "trip"),
    [
        ({}, 0.5, Trip()),
        ({"passive_health": {"failures": 2, "max_ejected": "30%"}}, 0.3, Trip(failures=2)),
        ({"passive_health": False}, None, None),
        ({"circuit_breaker": {"open_for": 3}}, None, Trip(open_for=3)),
        ({"circuit_breaker": True, "passive_health": False}, None, Trip()),
    ],
)
def test_breakers(written: dict[str, Any], bound: float | None, trip: Trip | None) -> None:
    assert trip_of(upstream(**written)) == trip
    assert balancing_of(upstream(**written)).max_ejected == bound


def test_an_instance_that_is_alone_is_watched_by_a_circuit_breaker_only() -> None:
    assert trip_of(upstream("http://a")) is None
    assert trip_of(upstream("http://a", circuit_breaker=True)) == Trip()


@pytest.mark.parametrize(
    ("written", "make"),
    [
        ("round_robin", RoundRobin),
        ("least_connections", LeastConnections),
        ("power_of_two", PowerOfTwo),
        ("random", RandomChoice),
    ],
)
def test_balancers(written: str, make: object) -> None:
    assert balancing_of(upstream(load_balancing=written)).make is make


@pytest.mark.parametrize("key", ["client_ip", {"header": "X-User"}, {"cookie": "id"}])
def test_consistent_hashes(key: object) -> None:
    make = balancing_of(upstream(load_balancing={"consistent_hash": key})).make
    assert isinstance(make, partial)
    assert make.func is ConsistentHash


def test_a_bound_on_each_try_shortens_what_comes_before_a_response() -> None:
    written = Timeouts(connect=5, response=30, idle=60, total=9)
    plain = timeouts_of(written, RetrySettings())
    assert (plain.connect, plain.response, plain.idle, plain.total) == (5, 30, 60, 9)
    short = timeouts_of(written, RetrySettings(per_try_timeout=2))
    assert (short.connect, short.response, short.idle, short.total) == (2, 2, 60, 9)
    between = timeouts_of(written, RetrySettings(per_try_timeout=8))
    assert (between.connect, between.response) == (5, 8)
    each = "retries.per_try_timeout"
    assert (plain.keys, short.keys) == (("timeout.connect", "timeout.response"), (each, each))
    assert between.keys == ("timeout.connect", each)


def test_causes_and_methods() -> None:
    retry = retry_of(RetrySettings(on=("connect", 429, 503), methods=("GET", "POST")))
    assert (set(retry.phases), set(retry.statuses), set(retry.methods)) == ({"connect"}, {429, 503}, {b"GET", b"POST"})
    assert retry_of(RetrySettings(per_try_timeout=2)).phases == {"connect", "reset", "timeout"}
