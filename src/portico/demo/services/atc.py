"""ATC visualizer (port 8002): adaptive trend classification, as a list or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from statistics import stdev
from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, model_validator

from portico.demo.services.indicators import ema_series, log_returns
from portico.demo.services.market import BARS, SYMBOL, Bar
from portico.demo.services.service import sample_service

app = sample_service("atc", "ATC Visualizer", "Adaptive trend classification of a daily price series.")

TrendName = Literal["bullish", "bearish", "neutral"]


class TrendQuery(BaseModel):
    """Which averages are compared, and how far apart they must be to count as a trend."""

    fast: int = Field(default=10, ge=2, le=50, description="Days of the fast average.")
    slow: int = Field(default=30, ge=3, le=100, description="Days of the slow average.")
    band: float = Field(default=0.5, ge=0, le=10, description="Half of the neutral band, in daily volatilities.")

    @model_validator(mode="after")
    def _ordered(self) -> TrendQuery:
        if self.fast >= self.slow:
            raise ValueError("fast must be shorter than slow")
        return self


class StreamQuery(TrendQuery):
    """A trend query, with how many events to send and how many seconds lie between two."""

    limit: int = Field(default=10, ge=1, le=100)
    interval: float = Field(default=0.2, ge=0, le=5)


class TrendPoint(BaseModel):
    """One day's class; `strength` is 0 where the averages meet, 0.5 at the edge of the band and nears 1 beyond."""

    timestamp: date
    close: float
    fast: float
    slow: float
    trend: TrendName
    strength: float = Field(ge=0, le=1)
    changed: bool = Field(description="Whether the class differs from the day before.")


class TrendSeries(BaseModel):
    """The classes of all days that have enough history, oldest first."""

    symbol: str
    fast: int
    slow: int
    band: float
    points: list[TrendPoint]


def classify(bars: Sequence[Bar], query: TrendQuery) -> list[TrendPoint]:
    """Compares two exponential averages; the neutral band between them widens with the last `slow` days' volatility."""
    closes = [bar.close for bar in bars]
    returns = log_returns(closes)
    fast, slow = ema_series(closes, query.fast), ema_series(closes, query.slow)
    points: list[TrendPoint] = []
    for day in range(query.slow, len(bars)):
        spread = fast[day] / slow[day] - 1
        band = query.band * stdev(returns[day - query.slow : day])
        trend = _name(spread, band)
        points.append(
            TrendPoint(
                timestamp=bars[day].timestamp,
                close=closes[day],
                fast=fast[day],
                slow=slow[day],
                trend=trend,
                strength=abs(spread) / (abs(spread) + band) if spread else 0.0,
                changed=bool(points) and points[-1].trend != trend,
            )
        )
    return points


def _name(spread: float, band: float) -> TrendName:
    if abs(spread) <= band:
        return "neutral"
    return "bullish" if spread > 0 else "bearish"


@app.get("/api/trend", tags=["atc"])
async def trend(query: Annotated[TrendQuery, Query()]) -> TrendSeries:
    """The class of each day."""
    points = classify(BARS, query)
    return TrendSeries(symbol=SYMBOL, fast=query.fast, slow=query.slow, band=query.band, points=points)


@app.get("/api/trend/latest", tags=["atc"])
async def latest(query: Annotated[TrendQuery, Query()]) -> TrendPoint:
    """The class of the last day."""
    return classify(BARS, query)[-1]


@app.get(
    "/api/trend/stream",
    tags=["atc"],
    response_class=StreamingResponse,
    responses={200: {"description": "One `trend` event for each day.", "content": {"text/event-stream": {}}}},
)
async def stream(query: Annotated[StreamQuery, Query()]) -> StreamingResponse:
    """The classes of the last `limit` days as server-sent events, one each `interval` seconds."""
    points = classify(BARS, query)[-query.limit :]
    # A cache has no use for a stream, and nginx would otherwise hold the events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(points, query.interval), media_type="text/event-stream", headers=headers)


async def _events(points: Sequence[TrendPoint], interval: float) -> AsyncIterator[str]:
    for number, point in enumerate(points, start=1):
        if number > 1:
            await asyncio.sleep(interval)
        yield f"id: {number}\nevent: trend\ndata: {point.model_dump_json()}\n\n"
