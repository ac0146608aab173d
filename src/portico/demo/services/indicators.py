"""Indicators over a list of closing prices, oldest first. Each needs at least `window` + 1 prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean, stdev

TRADING_DAYS = 365  # crypto markets do not close


def log_returns(closes: Sequence[float]) -> list[float]:
    """The logarithm of each price over the one before; one item shorter than `closes`."""
    return [math.log(after / before) for before, after in pairwise(closes)]


def volatility(closes: Sequence[float], window: int) -> float:
    """Sample standard deviation of the last `window` daily log returns, per year; 0.2 is 20 %."""
    return stdev(log_returns(closes[-window - 1 :])) * math.sqrt(TRADING_DAYS)


def sma(closes: Sequence[float], window: int) -> float:
    """Simple moving average of the last `window` prices."""
    return fmean(closes[-window:])


def ema_series(closes: Sequence[float], window: int) -> list[float]:
    """Exponential moving average after each price, with weight 2 / (window + 1), started at the first price."""
    weight = 2 / (window + 1)
    return list(accumulate(closes, lambda average, close: average + weight * (close - average)))


def rsi(closes: Sequence[float], window: int) -> float:
    """Relative strength index, 0 to 100, with Wilder's smoothing (New Concepts in Technical Trading Systems, 1978)."""
    changes = [after - before for before, after in pairwise(closes)]
    gain = fmean(max(change, 0.0) for change in changes[:window])
    loss = fmean(max(-change, 0.0) for change in changes[:window])
    for change in changes[window:]:
        gain += (max(change, 0.0) - gain) / window
        loss += (max(-change, 0.0) - loss) / window
    return 100 * (gain / (gain + loss)) if gain + loss else 50.0


def max_drawdown(closes: Sequence[float]) -> float:
    """The deepest fall from a peak, as a share of that peak: 0.25 is a loss of a quarter."""
    return max(1 - close / peak for close, peak in zip(closes, accumulate(closes, max), strict=True))


def up_probability(closes: Sequence[float], window: int) -> tuple[float, int]:
    """The chance that the next close is higher, and the number of past days it rests on.

    Method: conditional relative frequency with Laplace's rule of succession. Of the past days on which the return
    over `window` days had the sign it has today, it counts those followed by a higher close: (ups + 1) / (days + 2).
    """
    rising = [after > before for before, after in zip(closes, closes[window:], strict=False)]
    followed_by_up = [after > before for before, after in pairwise(closes[window:])]
    alike = [up for state, up in zip(rising, followed_by_up, strict=False) if state == rising[-1]]
    return (sum(alike) + 1) / (len(alike) + 2), len(alike)
