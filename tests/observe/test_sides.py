"""What is counted of a side of a split."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytest

from portico.observe.families import SIDE_BOUNDS
from portico.observe.sides import SideCounts
from upstreams.members import exchange


@pytest.mark.parametrize(
    ("outcome", "requests", "errors", "durations"),
    [
        ({"status": 200, "attempts": 1, "upstream_seconds": 0.25}, 1, 0, [0.25]),
        ({"status": 404, "attempts": 1, "upstream_seconds": 0.25}, 1, 0, [0.25]),
        ({"status": 500, "attempts": 1, "upstream_seconds": 0.25}, 1, 1, [0.25]),
        ({"status": 504, "attempts": 2, "reason": "upstream_timeout"}, 1, 1, [3.0]),
        ({"status": 502, "attempts": 1, "reason": "upstream_refused"}, 1, 1, [3.0]),
        ({"status": 200, "attempts": 1, "upstream_seconds": 0.25, "reason": "upstream_reset"}, 1, 1, [0.25]),
        ({"status": 503, "reason": "no_healthy_upstream"}, 1, 1, []),
        ({"status": 503, "reason": "maintenance"}, 1, 1, []),
        ({"status": 200, "cache": "hit"}, 1, 0, []),
        ({"status": 504, "reason": "not_cached"}, 1, 0, []),
        ({"status": 499, "reason": "client_closed", "attempts": 1}, 0, 0, []),
        ({"status": 200, "attempts": 1, "upstream_seconds": 0.25, "reason": "client_closed"}, 1, 0, [0.25]),
        ({"status": 101, "attempts": 1, "upstream_seconds": 0.25}, 1, 0, [0.25]),
    ],
)
def test_how_an_exchange_counts(outcome: dict[str, Any], requests: int, errors: int, durations: list[float]) -> None:
    side = SideCounts("shop", "new")
    side.observe(exchange(**outcome), 3.0)
    assert side.dump()[:4] == ["shop", "new", requests, errors]
    assert side.seconds == sum(durations)
    buckets = [bisect_left(SIDE_BOUNDS, each) for each in durations]
    assert [index for index, count in enumerate(side.buckets) if count] == buckets


def test_many_are_counted_together() -> None:
    side = SideCounts("shop", "new")
    for _ in range(1000):
        side.observe(exchange(status=200, attempts=1, upstream_seconds=100.0), 100.0)
    *_, requests, _, buckets, seconds, _ = side.dump()
    assert (requests, buckets[-1], seconds) == (1000, 1000, 100_000.0)
