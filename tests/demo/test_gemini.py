"""The gemini sample: the shipped series and analyses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from portico.demo.services.market import BARS

Call = Callable[..., httpx.Response]


def rising_bars(count: int) -> list[dict[str, Any]]:
    return [
        {"timestamp": f"2025-01-{day:02}", "open": day, "high": day + 1, "low": day, "close": day + 1}
        for day in range(1, count + 1)
    ]


def test_ohlcv_is_the_newest_bars(gemini_call: Call) -> None:
    series = gemini_call("GET", "/api/ohlcv", params={"limit": 5}).json()
    assert series["count"] == len(series["bars"]) == 5
    assert series["bars"][-1]["timestamp"] == BARS[-1].timestamp.isoformat()
    assert gemini_call("GET", "/api/ohlcv").json()["count"] == 30


def test_analyze(gemini_call: Call) -> None:
    analysis = gemini_call("GET", "/api/analyze", params={"window": 20}).json()
    assert (analysis["bars"], analysis["window"]) == (200, 20)
    assert analysis["window_return"] == pytest.approx(BARS[-1].close / BARS[-21].close - 1)
    assert analysis["sma"] == pytest.approx(sum(bar.close for bar in BARS[-20:]) / 20)
    assert 0 < analysis["up"]["probability"] < 1
    assert 0 < analysis["max_drawdown"] < 1


def test_analyze_own_bars(gemini_call: Call) -> None:
    answer = gemini_call("POST", "/api/analyze", json={"symbol": "X", "window": 3, "bars": rising_bars(6)})
    assert answer.status_code == 200
    analysis = answer.json()
    assert (analysis["symbol"], analysis["as_of"], analysis["last_close"]) == ("X", "2025-01-06", 7)
    assert (analysis["rsi"], analysis["max_drawdown"]) == (100, 0)
    assert analysis["up"] | {"method": ""} == {"probability": 3 / 4, "method": "", "days": 2}


@pytest.mark.parametrize("query", [{"window": 1}, {"window": 101}, {"window": "x"}])
def test_an_unusable_window_is_422(gemini_call: Call, query: dict[str, Any]) -> None:
    assert gemini_call("GET", "/api/analyze", params=query).status_code == 422


@pytest.mark.parametrize("limit", [0, 201])
def test_an_unusable_limit_is_422(gemini_call: Call, limit: int) -> None:
    assert gemini_call("GET", "/api/ohlcv", params={"limit": limit}).status_code == 422


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"window": 6, "bars": rising_bars(6)}, "needs at least 7 bars, not 6"),
        ({"window": 3, "bars": rising_bars(6)[::-1]}, "in order of time"),
        ({"window": 3, "bars": [*rising_bars(5), rising_bars(5)[-1]]}, "in order of time"),
        ({"window": 3, "bars": [*rising_bars(5), {**rising_bars(6)[-1], "low": 6.5}]}, "low must not exceed"),
        ({"window": 3, "bars": [*rising_bars(5), {**rising_bars(6)[-1], "close": 0}]}, "greater than or equal"),
        ({"window": 3}, "Field required"),
    ],
)
def test_unusable_bars_are_422(gemini_call: Call, body: dict[str, Any], reason: str) -> None:
    answer = gemini_call("POST", "/api/analyze", json=body)
    assert answer.status_code == 422
    assert reason in answer.text
