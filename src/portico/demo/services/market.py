"""The daily bars that every sample reads: 200 days of a made-up market, the same on every machine."""

from __future__ import annotations

import csv
from datetime import date
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

SYMBOL = "DEMO-USD"

# Bounds far outside any market keep every ratio of two prices a finite float.
Price = Annotated[float, Field(ge=1e-12, le=1e12)]
Volume = Annotated[float, Field(ge=0, le=1e18)]


class Bar(BaseModel):
    """One day of trading; `low` and `high` enclose `open` and `close`."""

    timestamp: date
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Volume = 0.0

    @model_validator(mode="after")
    def _enclosed(self) -> Bar:
        if not (self.low <= min(self.open, self.close) and max(self.open, self.close) <= self.high):
            raise ValueError("low must not exceed open and close, nor these high")
        return self


def load_bars() -> list[Bar]:
    """The bars of `ohlcv.csv`, oldest first."""
    with resources.files(__package__).joinpath("ohlcv.csv").open(encoding="utf-8") as file:
        return [Bar.model_validate(row) for row in csv.DictReader(file)]


BARS = load_bars()
