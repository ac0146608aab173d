"""Gemini analyzer (port 8001): statistics of a price series and the chance that the next day closes higher."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, model_validator

from portico.demo.services import indicators
from portico.demo.services.market import BARS, SYMBOL, Bar
from portico.demo.services.service import sample_service

app = sample_service("gemini", "Gemini Analyzer", "Statistics of an OHLCV series: its own, or one you send.")


class Series(BaseModel):
    """The newest bars, oldest first."""

    symbol: str
    count: int
    bars: list[Bar]


class UpProbability(BaseModel):
    """An estimate from history, with what it rests on."""

    probability: float = Field(ge=0, le=1)
    method: str = "share of similar past days followed by a higher close, (ups + 1) / (days + 2)"
    days: int = Field(description="Past days whose return over the window had today's sign.")


class Analysis(BaseModel):
    """Indicators as of the last bar. Returns, volatility and drawdown are shares: 0.05 is 5 %."""

    symbol: str
    as_of: date
    bars: int
    window: int
    last_close: float
    day_return: float
    window_return: float
    total_return: float
    volatility: float = Field(description="Of the window's daily log returns, per year.")
    rsi: float = Field(ge=0, le=100)
    sma: float
    ema: float
    max_drawdown: float = Field(description="Over all bars.")
    up: UpProbability


class AnalysisRequest(BaseModel):
    """Your own bars, oldest first, at least one more than the window."""

    symbol: str = Field(default="CUSTOM", min_length=1, max_length=32)
    window: int = Field(default=14, ge=2, le=1000)
    bars: list[Bar] = Field(min_length=3, max_length=5000)

    @model_validator(mode="after")
    def _usable(self) -> AnalysisRequest:
        if len(self.bars) <= self.window:
            raise ValueError(f"a window of {self.window} needs at least {self.window + 1} bars, not {len(self.bars)}")
        if any(later.timestamp <= earlier.timestamp for earlier, later in pairwise(self.bars)):
            raise ValueError("bars must be in order of time, one for each day")
        return self


def analysis_of(symbol: str, bars: Sequence[Bar], window: int) -> Analysis:
    """Every indicator over `bars`, of which there are more than `window`."""
    closes = [bar.close for bar in bars]
    probability, days = indicators.up_probability(closes, window)
    last = closes[-1]
    return Analysis(
        symbol=symbol,
        as_of=bars[-1].timestamp,
        bars=len(bars),
        window=window,
        last_close=last,
        day_return=last / closes[-2] - 1,
        window_return=last / closes[-1 - window] - 1,
        total_return=last / closes[0] - 1,
        volatility=indicators.volatility(closes, window),
        rsi=indicators.rsi(closes, window),
        sma=indicators.sma(closes, window),
        ema=indicators.ema_series(closes, window)[-1],
        max_drawdown=indicators.max_drawdown(closes),
        up=UpProbability(probability=probability, days=days),
    )


@app.get("/api/ohlcv", tags=["gemini"])
async def ohlcv(limit: Annotated[int, Query(ge=1, le=len(BARS))] = 30) -> Series:
    """The newest `limit` bars of the shipped series."""
    return Series(symbol=SYMBOL, count=limit, bars=BARS[-limit:])


@app.get("/api/analyze", tags=["gemini"])
async def analyze(window: Annotated[int, Query(ge=2, le=len(BARS) // 2)] = 14) -> Analysis:
    """Analyses the shipped series over a window of days."""
    return analysis_of(SYMBOL, BARS, window)


@app.post("/api/analyze", tags=["gemini"])
async def analyze_own(request: AnalysisRequest) -> Analysis:
    """Analyses the bars in the body."""
    return analysis_of(request.symbol, request.bars, request.window)
