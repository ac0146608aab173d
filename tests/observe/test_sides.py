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
        ({"status": 503, "reason": "circuit_open"}, 1, 1, []),
        ({"status": 200, "cache": "hit"}, 0, 0, []),
        ({"status": 307}, 0, 0, []),
        ({"status": 504, "reason": "not_cached"}, 0, 0, []),
        ({"status": 499, "reason": "client_closed"}, 0, 0, []),
        ({"status": 200, "attempts": 1, "upstream_seconds": 0.25, "reason": "client_closed"}, 1, 0, [0.25]),
        ({"status": 101, "attempts": 1, "upstream_seconds": 0.25}, 1, 0, [0.25]),
    ],
)
def test_how_an_exchange_counts(outcome: dict[str, Any], requests: int, errors: int, durations: list[float]) -> None:
    assert counted(3.0, **outcome) == (requests, errors, durations)


@pytest.mark.parametrize(
    ("seconds", "is_whole", "outcome", "errors"),
    [
        (0.9, True, {"status": 499, "reason": "client_closed"}, None),
        (1.1, True, {"status": 499, "reason": "client_closed"}, 1),
        (1.1, False, {"status": 499, "reason": "client_closed"}, None),
        (0.1, True, {"status": 504, "reason": "upstream_timeout"}, 1),
        (1.1, False, {"status": 504, "reason": "upstream_timeout"}, None),
        (1.1, False, {"status": 413, "reason": "body_too_large"}, None),
        (0.1, False, {"status": 200, "upstream_seconds": 0.1}, 0),
    ],
)
def test_who_is_to_blame(seconds: float, is_whole: bool, outcome: dict[str, Any], errors: int | None) -> None:
    """A client that sends no content, or leaves at once, says nothing of the service; None: it is not counted."""
    found = counted(seconds, is_whole=is_whole, attempts=1, **outcome)
    assert found == ((0, 0, []) if errors is None else (1, errors, [seconds]))


def counted(seconds: float, *, is_whole: bool = True, **outcome: Any) -> tuple[int, int, list[float]]:
    """Requests, errors and durations of a side that had one exchange."""
    side, made = SideCounts("shop", "new"), exchange(**outcome)
    vars(made.stream)["request_done"] = is_whole
    side.observe(made, made.status, seconds, made.upstream_seconds)
    _, _, requests, errors, buckets, total, _ = side.dump()
    durations = [total] if total else []
    assert [index for index, count in enumerate(buckets) if count] == [
        bisect_left(SIDE_BOUNDS, each) for each in durations
    ]
    return requests, errors, durations


def test_many_are_counted_together() -> None:
    side = SideCounts("shop", "new")
    for _ in range(1000):
        side.observe(exchange(status=200, attempts=1), 200, 101.0, 100.0)
    *_, requests, _, buckets, seconds, _ = side.dump()
    assert (requests, buckets[-1], seconds) == (1000, 1000, 100_000.0)
