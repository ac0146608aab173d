"""From counters in workers to the page that Prometheus reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from portico.observe.families import DURATION_BOUNDS
from portico.observe.metrics import Metrics
from portico.processes.control.exposition import render_metrics
from portico.processes.control.workers import PARTS, add_up

GAUGES: dict[str, Any] = {
    "in_flight": 1,
    "connections": 2,
    "tunnels": 1,
    "generation": 3,
    "breakers": [],
    "services": {},
    "redis_up": None,
    "cache_entries": 3,
    "cache_bytes": 4000,
}


def totals(*seen: tuple[str, str, int, float, float | None], **gauges: Any) -> dict[str, Any]:
    """A worker's report, as it comes out of the channel."""
    metrics = Metrics()
    for service, method, status, seconds, upstream in seen:
        metrics.observe(service, method, status, seconds, upstream)
    report: dict[str, Any] = json.loads(json.dumps({**metrics.dump(), **GAUGES, **gauges}))
    return report


def page(
    live: list[dict[str, Any]],
    ended: list[dict[str, Any]] | None = None,
    health: dict[tuple[str, str], bool] | None = None,
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the page, by name and labels."""
    text, content_type = render_metrics(live, ended or [], health or {}, "")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text.decode())
        for sample in family.samples
    }


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def test_names_and_labels_are_exactly_those_that_are_promised() -> None:
    worker = totals(("gemini", "GET", 200, 0.02, 0.015))
    worker["retries"] = {"gemini": 4}
    worker["errors"] = {"gemini": {"rate_limited": 5, "overloaded": 10, "upstream_dns": 2}}
    worker["services"] = {"gemini": [3, 20, 2], "free": [4, None, 0]}
    worker["log_lines_dropped"] = 6
    worker["failed_handshakes"] = 9
    worker["hedges"], worker["hedges_won"] = {"gemini": 10}, {"gemini": 11}
    worker["openings"], worker["breakers"] = {"gemini": {"http://a:1": 12}}, [["gemini", "http://a:1", 2]]
    worker["tunnel_bytes_in"], worker["tunnel_bytes_out"] = {"gemini": 7}, {"gemini": 8}
    found = page([worker], health={("gemini", "http://a:1"): True, ("gemini", "http://b:1"): False})
    at = {"service": "gemini", "method": "GET"}
    assert {(name, tuple(key for key, _ in pairs)) for name, pairs in found} == {
        ("gateway_requests_total", ("method", "service", "status")),
        *(
            (f"gateway_{which}_duration_seconds_{part}", ("method", "service"))
            for which in ("request", "upstream")
            for part in ("count", "sum")
        ),
        ("gateway_request_duration_seconds_bucket", ("le", "method", "service")),
        ("gateway_upstream_duration_seconds_bucket", ("le", "method", "service")),
        ("gateway_retries_total", ("service",)),
        ("gateway_errors_total", ("reason", "service")),
        ("gateway_rate_limited_total", ("service",)),
        ("gateway_overloaded_total", ("service",)),
        ("gateway_service_in_flight", ("service",)),
        ("gateway_service_limit", ("service",)),
        ("gateway_service_waiting", ("service",)),
        ("gateway_log_lines_dropped_total", ()),
        ("gateway_tls_handshake_failures_total", ()),
        ("gateway_requests_in_flight", ()),
        ("gateway_connections", ()),
        ("gateway_tunnels", ()),
        ("gateway_hedges_total", ("service",)),
        ("gateway_hedges_won_total", ("service",)),
        ("gateway_breaker_openings_total", ("instance", "service")),
        ("gateway_breaker_state", ("instance", "service")),
        ("gateway_tunnel_bytes_in_total", ("service",)),
        ("gateway_tunnel_bytes_out_total", ("service",)),
        ("gateway_workers", ()),
        ("gateway_config_generation", ()),
        ("gateway_instance_healthy", ("instance", "service")),
    }
    assert found["gateway_requests_total", labels(**at, status="200")] == 1
    assert found["gateway_request_duration_seconds_sum", labels(**at)] == pytest.approx(0.02)
    assert found["gateway_upstream_duration_seconds_sum", labels(**at)] == pytest.approx(0.015)
    assert found["gateway_retries_total", labels(service="gemini")] == 4
    assert found["gateway_errors_total", labels(service="gemini", reason="upstream_dns")] == 2
    assert found["gateway_errors_total", labels(service="gemini", reason="rate_limited")] == 5
    assert found["gateway_rate_limited_total", labels(service="gemini")] == 5
    assert found["gateway_overloaded_total", labels(service="gemini")] == 10
    assert found["gateway_log_lines_dropped_total", ()] == 6
    assert found["gateway_tls_handshake_failures_total", ()] == 9
    assert found["gateway_tunnel_bytes_in_total", labels(service="gemini")] == 7
    assert found["gateway_tunnel_bytes_out_total", labels(service="gemini")] == 8
    assert found["gateway_hedges_total", labels(service="gemini")] == 10
    assert found["gateway_hedges_won_total", labels(service="gemini")] == 11
    assert found["gateway_breaker_openings_total", labels(service="gemini", instance="http://a:1")] == 12
    assert found["gateway_breaker_state", labels(service="gemini", instance="http://a:1")] == 2
    assert found["gateway_instance_healthy", labels(service="gemini", instance="http://a:1")] == 1
    assert found["gateway_instance_healthy", labels(service="gemini", instance="http://b:1")] == 0


def test_workers_that_ended_still_count_but_hold_no_gauges() -> None:
    seen = ("gemini", "GET", 200, 0.02, None)
    live = [totals(seen, generation=5), totals(seen, seen, generation=4)]
    found = page(live, [totals(seen, in_flight=7, generation=1)])
    assert found["gateway_requests_total", labels(service="gemini", method="GET", status="200")] == 4
    gauges = [found[f"gateway_{name}", ()] for name in ("requests_in_flight", "connections", "tunnels", "workers")]
    assert gauges == [2, 4, 2, 2]
    assert found["gateway_config_generation", ()] == 4


def test_of_several_workers_breakers_the_worst_is_shown() -> None:
    live = [totals(breakers=[["s", "a", 0], ["s", "b", 1]]), totals(breakers=[["s", "a", 2], ["s", "b", 0]])]
    found = page(live, [totals(breakers=[["s", "b", 2]])])
    assert found["gateway_breaker_state", labels(service="s", instance="a")] == 2
    assert found["gateway_breaker_state", labels(service="s", instance="b")] == 1, "a worker that ended has no state"


def test_requests_in_flight_of_services_are_added_up() -> None:
    live = [totals(), totals()]
    live[0]["services"] = {"gemini": [3, 20, 2], "free": [4, None, 0]}
    live[1]["services"] = {"gemini": [1, 15, 0], "free": [0, None, 0]}
    found = page(live)
    gauges = ("in_flight", "limit", "waiting")
    assert [found[f"gateway_service_{name}", labels(service="gemini")] for name in gauges] == [4, 35, 2]
    assert found["gateway_service_in_flight", labels(service="free")] == 4
    assert ("gateway_service_limit", labels(service="free")) not in found


def test_a_page_without_workers() -> None:
    found = page([])
    assert (found["gateway_workers", ()], found["gateway_config_generation", ()]) == (0, 0)


@pytest.mark.parametrize("bound", [*DURATION_BOUNDS, None])
@pytest.mark.parametrize("shift", [-1e-6, 0.0, 1e-6])
def test_buckets_hold_what_is_at_most_their_bound(bound: float | None, shift: float) -> None:
    seconds = 100.0 if bound is None else bound + shift
    found = page([totals(("s", "GET", 200, seconds, seconds))])
    for which in ("request", "upstream"):
        buckets = {
            float(dict(pairs)["le"]): value
            for (name, pairs), value in found.items()
            if name == f"gateway_{which}_duration_seconds_bucket"
        }
        assert buckets == {edge: float(seconds <= edge) for edge in (*DURATION_BOUNDS, float("inf"))}


def test_no_upstream_no_upstream_series() -> None:
    found = page([totals(("none", "GET", 404, 0.001, None))])
    assert not [name for name, _ in found if name.startswith("gateway_upstream_duration_seconds_")]


@pytest.mark.parametrize(
    ("method", "label"),
    [
        *((name, name) for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY")),
        *((name, "OTHER") for name in ("PROPFIND", "get", "-", "X" * 100, 'GET"} 1\n')),
    ],
)
def test_clients_cannot_create_labels(method: str, label: str) -> None:
    found = page([totals(("s", method, 200, 0.1, None), ("s", method, 200, 0.1, None))])
    assert found["gateway_requests_total", labels(service="s", method=label, status="200")] == 2
    assert {value for _, pairs in found for key, value in pairs if key == "method"} == {label}


def test_openmetrics_for_clients_that_ask_for_it() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    text, content_type = render_metrics([totals(("s", "GET", 200, 0.1, 0.1))], [], {}, accept)
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]
    assert {"gateway_requests", "gateway_request_duration_seconds", "gateway_log_lines_dropped"} <= names


observations = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from([200, 404, 503]),
        st.floats(0, 60).map(lambda value: round(value, 4)),
        st.none() | st.floats(0, 60).map(lambda value: round(value, 4)),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(observations, max_size=4))
def test_adding_up_is_as_if_one_worker_had_seen_all(
    workers: list[list[tuple[str, str, int, float, float | None]]],
) -> None:
    apart = add_up([totals(*seen) for seen in workers])
    together = add_up([totals(*(each for seen in workers for each in seen))])
    assert normal(apart) == normal(together)
    assert normal(add_up([apart])) == normal(apart)
    assert set(apart) == {"series", *Metrics().dump(), *PARTS}


def normal(sums: dict[str, Any]) -> list[Any]:
    return [
        [service, method, sorted(statuses), buckets, pytest.approx(total), upstream, pytest.approx(upstream_total)]
        for service, method, statuses, buckets, total, upstream, upstream_total in sums["series"]
    ]


def test_counters_add_up() -> None:
    one, two = totals(), totals()
    one.update(
        retries={"a": 1},
        errors={"a": {"rate_limited": 2}},
        tunnel_bytes_in={"a": 4},
        log_lines_dropped=3,
        failed_handshakes=1,
    )
    two.update(retries={"a": 10, "b": 5}, tunnel_bytes_in={"a": 2}, log_lines_dropped=4, failed_handshakes=8)
    one.update(hedges={"a": 1}, openings={"a": {"x": 1}}, cached={"a": {"hit": 2, "miss": 1}}, cache_evictions=5)
    two.update(hedges={"a": 2}, hedges_won={"a": 1}, openings={"a": {"x": 2, "y": 3}, "b": {"z": 4}})
    two["errors"] = {"b": {"overloaded": 3}, "a": {"rate_limited": 1, "no_route": 4}}
    one["sides"] = [["shop", "new", 2, 1, [0, 2], 0.5, 1]]
    two["sides"] = [["shop", "old", 9, 0, [9, 0], 0.25, 0], ["shop", "new", 3, 0, [1, 2], 0.5, 3]]
    two.update(cached={"a": {"hit": 3}}, cache_evictions=6)
    assert add_up([one, two]) == {
        "series": [],
        "retries": {"a": 11, "b": 5},
        "limit_fallbacks": {},
        "errors": {"a": {"rate_limited": 3, "no_route": 4}, "b": {"overloaded": 3}},
        "tunnel_bytes_in": {"a": 6},
        "tunnel_bytes_out": {},
        "hedges": {"a": 3},
        "hedges_won": {"a": 1},
        "openings": {"a": {"x": 3, "y": 3}, "b": {"z": 4}},
        "cached": {"a": {"hit": 5, "miss": 1}},
        "families": totals()["families"],
        "sides": [["shop", "new", 5, 1, [1, 4], 1.0, 4], ["shop", "old", 9, 0, [9, 0], 0.25, 0]],
        "by_route": [],
        "by_instance": [],
        "log_lines_dropped": 7,
        "failed_handshakes": 9,
        "cache_evictions": 11,
    }


def test_words_of_policies_are_no_labels() -> None:
    metrics = Metrics()
    for word in ("too_old", "too_new", "no_route"):
        metrics.observe_error("a", word)
    assert metrics.errors == {"a": {"policy": 2, "no_route": 1}}


def test_caches_are_shown_where_there_are_any() -> None:
    none = totals()
    assert not [name for name, _ in page([none]) if name.startswith("gateway_cache_")]
    one = totals()
    one.update(cached={"a": {"hit": 2, "miss": 1}}, cache_evictions=5)
    found = page([one, {**none, "cached": {"a": {"hit": 1}}}])
    assert found["gateway_cache_requests_total", labels(service="a", outcome="hit")] == 3
    assert found["gateway_cache_requests_total", labels(service="a", outcome="miss")] == 1
    assert found["gateway_cache_entries", ()] == 6
    assert found["gateway_cache_bytes", ()] == 8000
    assert found["gateway_cache_evictions_total", ()] == 5
