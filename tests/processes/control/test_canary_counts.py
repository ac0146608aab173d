"""What the sides of a canary have come to, from what workers report."""

from __future__ import annotations

from typing import Any

from portico.observe.families import SIDE_BOUNDS
from portico.processes.control.canary_counts import Counts, Sides, Tally


def totals(**requests: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """By worker: requests to the old side, and to the new one."""
    none = [0] * (len(SIDE_BOUNDS) + 1)
    others = ["x", "shop", 9, 9, none, 0.0, 0]
    return {
        worker: {"sides": [["r", "shop", old, 0, none, 0.0, 0], ["r", "next", new, 1, none, 0.0, 2], others]}
        for worker, (old, new) in requests.items()
    }


def requests(sides: Sides) -> tuple[int, int]:
    return sides.old.requests, sides.new.requests


def test_what_workers_did_before_does_not_count() -> None:
    tally = Tally()
    assert requests(tally.new(totals(a=(100, 10)), "r", "shop", "next")) == (0, 0)
    assert requests(tally.new(totals(a=(130, 15)), "r", "shop", "next")) == (30, 5)
    assert requests(tally.new(totals(a=(130, 15), b=(4, 1)), "r", "shop", "next")) == (4, 3), "b is new"
    assert requests(tally.new(totals(b=(4, 1)), "r", "shop", "next")) == (0, 0), "a is away"
    assert requests(tally.new(totals(a=(131, 15), b=(5, 1)), "r", "shop", "next")) == (2, 0), "and came back"


def test_what_others_had_to_take_counts_as_failed() -> None:
    tally = Tally()
    tally.new({}, "r", "shop", "next")
    new = tally.new(totals(a=(10, 3)), "r", "shop", "next").new
    assert (new.requests, new.errors) == (5, 3)


def test_quantiles_are_right_by_a_tenth() -> None:
    for index in (0, 7, 30, 68):
        buckets = [0] * (len(SIDE_BOUNDS) + 1)
        buckets[index] = 100
        lower = SIDE_BOUNDS[index - 1] if index else SIDE_BOUNDS[0] / 2**0.25
        assert lower < Counts(100, 0, tuple(buckets)).quantile(0.99) < SIDE_BOUNDS[index]
        assert SIDE_BOUNDS[index] / lower < 1.2
    beyond = (*[0] * len(SIDE_BOUNDS), 5)
    assert Counts(5, 0, beyond).quantile(0.99) == SIDE_BOUNDS[-1]
