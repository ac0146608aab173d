"""The shipped bars and the indicators over them."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from portico.demo.services import indicators
from portico.demo.services.market import BARS, Bar


def test_the_shipped_series_is_two_hundred_days_without_a_gap() -> None:
    assert len(BARS) == 200
    assert all(later.timestamp - earlier.timestamp == timedelta(days=1) for earlier, later in pairwise(BARS))
    assert all(later.open == earlier.close for earlier, later in pairwise(BARS))
    assert all(bar.volume > 0 for bar in BARS)


@pytest.mark.parametrize("low", [10.5, 12.5])
def test_a_bar_whose_low_is_above_its_prices_is_refused(low: float) -> None:
    with pytest.raises(ValidationError, match="low must not exceed"):
        Bar.model_validate({"timestamp": "2025-01-01", "open": 10, "high": 12, "low": low, "close": 11})


def test_averages() -> None:
    assert indicators.sma([1, 2, 3, 5], 2) == 4
    assert indicators.ema_series([1, 2, 4], 3) == [1, 1.5, 2.75]


def test_rsi_with_wilders_smoothing() -> None:
    # Over 2 days: first averages gain 1, loss 0; then (1 + 0) / 2 and (0 + 1) / 2.
    assert indicators.rsi([10, 11, 12, 11], 2) == 50
    assert indicators.rsi([10, 11, 12, 13], 2) == 100
    assert indicators.rsi([13, 12, 11, 10], 2) == 0
    assert indicators.rsi([10, 10, 10, 10], 2) == 50


def test_volatility_of_steady_growth_is_nothing() -> None:
    assert indicators.volatility([1, 2, 4, 8], 3) == pytest.approx(0)
    assert indicators.volatility([1, 2, 1, 2], 3) > 1


def test_max_drawdown_is_from_the_highest_price_so_far() -> None:
    assert indicators.max_drawdown([10, 20, 15, 30, 12, 25]) == pytest.approx(0.6)
    assert indicators.max_drawdown([1, 2, 3]) == 0


def test_up_probability_counts_only_past_days_like_today() -> None:
    assert indicators.up_probability([1, 2, 3, 4, 5], 2) == (3 / 4, 2)  # two rising days, both followed by up
    assert indicators.up_probability([1, 2, 3, 4, 1], 2) == (1 / 2, 0)  # no falling day before today
