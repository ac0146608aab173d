"""A canary as it is written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from portico.config.canary import CanarySettings, LatencyLimit


def canary(**written: Any) -> CanarySettings:
    return CanarySettings.model_validate({"to": "next", **written})


def test_what_holds_where_nothing_is_written() -> None:
    settings = canary()
    assert settings.steps == (1, 5, 25, 100)
    assert (settings.every, settings.min_requests, settings.if_fewer) == (600, 100, "wait")
    assert (settings.abort_if.errors, settings.abort_if.p99) == (None, None)


def test_per_cent_is_written_with_its_sign_or_without() -> None:
    assert canary(steps=["0.5%", 5, "25", 100.0]).steps == (0.5, 5, 25, 100)


@pytest.mark.parametrize(
    ("written", "limit"),
    [("2x", (2, True)), ("1.5 x", (1.5, True)), ("500ms", (0.5, False)), ("2s", (2, False)), (0.25, (0.25, False))],
)
def test_latency_limits(written: Any, limit: tuple[float, bool]) -> None:
    assert canary(abort_if={"p99": written}).abort_if.p99 == LatencyLimit(*limit)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"steps": []}, "at least 1"),
        ({"steps": [5, 5]}, "5 is not more than 5"),
        ({"steps": [25, 5, 100]}, "5 is not more than 25"),
        ({"steps": [0, 5]}, "greater than or equal to 0.01"),
        ({"steps": [101]}, "less than or equal to 100"),
        ({"steps": [True]}, "expected per cent"),
        ({"abort_if": {"errors": 2}}, "less than or equal to 1"),
        ({"abort_if": {"errors": "0%"}}, "greater than 0"),
        ({"abort_if": {"p99": "1x"}}, "more than 1x"),
        ({"abort_if": {"p99": "fast"}}, "expected a multiple of the old side's, such as 2x"),
        ({"abort_if": {"p99": True}}, "expected a multiple"),
        ({"abort_if": {"p99": float("inf")}}, "expected a multiple"),
        ({"abort_if": {"p99": [1]}}, "expected a multiple"),
        ({"every": 0}, "greater than 0"),
        ({"min_requests": -1}, "greater than or equal to 0"),
        ({"if_fewer": "stop"}, "'wait' or 'continue'"),
    ],
)
def test_what_cannot_be_meant(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        canary(**written)
