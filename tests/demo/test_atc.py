"""The atc sample: trend classes, as a list and as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from portico.demo.services.atc import TrendQuery, classify
from portico.demo.services.market import Bar

Call = Callable[..., httpx.Response]


def bars_of(closes: list[float]) -> list[Bar]:
    start = date(2025, 1, 1)
    return [
        Bar(timestamp=start + timedelta(days=day), open=close, high=close, low=close, close=close)
        for day, close in enumerate(closes)
    ]


def test_a_rise_is_bullish_a_fall_bearish_and_a_flat_line_neutral() -> None:
    query = TrendQuery(fast=2, slow=5)
    up = [100.0 * 1.02**day for day in range(30)]
    assert {point.trend for point in classify(bars_of(up), query)} == {"bullish"}
    assert {point.trend for point in classify(bars_of(up[::-1]), query)} == {"bearish"}
    flat = classify(bars_of([100.0] * 30), query)
    assert {(point.trend, point.strength) for point in flat} == {("neutral", 0.0)}


def test_a_turn_is_marked_once_for_each_change() -> None:
    closes = [100.0 * 1.02**day for day in range(20)]
    points = classify(bars_of(closes + closes[::-1]), TrendQuery(fast=2, slow=5))
    names = [point.trend for point in points]
    assert (names[0], names[-1]) == ("bullish", "bearish")
    assert [point.changed for point in points[1:]] == [a != b for a, b in pairwise(names)]


def test_trend_series(atc_call: Call) -> None:
    series = atc_call("GET", "/api/trend", params={"fast": 5, "slow": 20}).json()
    assert (series["fast"], series["slow"], len(series["points"])) == (5, 20, 180)
    assert {point["trend"] for point in series["points"]} == {"bullish", "bearish", "neutral"}
    assert all((point["strength"] > 0.5) == (point["trend"] != "neutral") for point in series["points"])


def test_a_wider_band_makes_more_days_neutral(atc_call: Call) -> None:
    def neutral(band: float) -> int:
        points = atc_call("GET", "/api/trend", params={"band": band}).json()["points"]
        return sum(point["trend"] == "neutral" for point in points)

    assert neutral(0) < neutral(1) < neutral(10)


def test_latest_is_the_last_of_the_series(atc_call: Call) -> None:
    assert atc_call("GET", "/api/trend/latest").json() == atc_call("GET", "/api/trend").json()["points"][-1]


@pytest.mark.parametrize("path", ["/api/trend", "/api/trend/latest", "/api/trend/stream"])
@pytest.mark.parametrize("query", [{"fast": 30, "slow": 10}, {"fast": 1}, {"slow": 101}, {"band": -1}, {"band": "nan"}])
def test_unusable_queries_are_422(atc_call: Call, path: str, query: dict[str, Any]) -> None:
    assert atc_call("GET", path, params=query).status_code == 422


def test_stream_sends_one_event_for_each_bar(atc_call: Call) -> None:
    answer = atc_call("GET", "/api/trend/stream", params={"interval": 0})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = answer.text.removesuffix("\n\n").split("\n\n")
    assert [event.splitlines()[:2] for event in events] == [[f"id: {n}", "event: trend"] for n in range(1, 11)]
    data = [json.loads(event.splitlines()[2].removeprefix("data: ")) for event in events]
    assert data == atc_call("GET", "/api/trend").json()["points"][-10:]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"interval": -1}, {"interval": 6}])
def test_a_stream_is_bounded(atc_call: Call, query: dict[str, Any]) -> None:
    assert atc_call("GET", "/api/trend/stream", params=query).status_code == 422
