"""What was counted between two totals, and the quantiles of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from portico.observe.metrics import Metrics
from portico.processes.control.live.counts import Counts, differences


def observed(metrics: Metrics, *exchanges: tuple[str, int, float, str]) -> dict[str, Any]:
    """The totals behind so many exchanges more: service, status, seconds, reason."""
    for service, status, seconds, reason in exchanges:
        metrics.observe(service, "GET", status, seconds, None)
        if reason:
            metrics.observe_error(service, reason)
    return copy.deepcopy(metrics.dump())


def test_only_what_was_counted_since_is_there() -> None:
    metrics = Metrics()
    before = observed(metrics, ("shop", 200, 0.1, ""), ("idle", 200, 0.1, ""), ("shop", 429, 0.001, "rate_limited"))
    after = observed(metrics, ("shop", 200, 0.1, ""), ("shop", 502, 0.2, "upstream_refused"), ("new", 204, 0.1, ""))
    found = differences(before, after)
    assert found.keys() == {"shop", "new"}
    assert +found["shop"].statuses == {200: 1, 502: 1}
    assert +found["shop"].reasons == {"upstream_refused": 1}
    assert sum(found["shop"].buckets) == 2
    assert found["new"].statuses == {204: 1}


def test_totals_that_begin_anew_count_from_nothing() -> None:
    before = observed(Metrics(), *[("shop", 429, 0.1, "rate_limited")] * 5)
    after = observed(Metrics(), *[("shop", 429, 0.1, "rate_limited")] * 2)
    found = differences(before, after)["shop"]
    assert (found.statuses, found.reasons, sum(found.buckets)) == ({429: 2}, {"rate_limited": 2}, 2)


@pytest.mark.parametrize(
    ("share", "milliseconds"),
    [(0.5, 5.0), (0.9, 10.0), (0.95, 17.5), (0.99, 23.5)],
)
def test_quantiles_are_those_of_prometheus(share: float, milliseconds: float) -> None:
    """50 of 2.5 to 5 ms, 40 of 5 to 10 ms, 10 of 10 to 25 ms."""
    counts = Counts()
    for index, count in ((3, 50), (4, 40), (5, 10)):
        counts.buckets[index] = count
    assert counts.quantile(share) == pytest.approx(milliseconds)


def test_a_quantile_of_nothing_is_none() -> None:
    assert Counts().quantile(0.5) is None


def test_what_is_slower_than_all_buckets_counts_as_the_last_bound() -> None:
    counts = Counts()
    counts.buckets[-1] = 3
    assert counts.quantile(0.5) == 30_000
