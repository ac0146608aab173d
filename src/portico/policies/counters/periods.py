"""Calendar periods in UTC, for quotas."""

from __future__ import annotations

import time
from calendar import timegm
from typing import Final, Literal, TypeAlias

Period: TypeAlias = Literal["hour", "day", "month"]

PERIODS: Final[tuple[Period, ...]] = ("hour", "day", "month")

_SECONDS: Final = {"hour": 3600, "day": 86400}


def bounds(period: Period, now: float) -> tuple[int, int]:
    """When the period that holds `now` began and the next one begins; all in seconds since the epoch."""
    if period == "month":
        year, month = time.gmtime(now)[:2]
        return _month_begins(year, month), _month_begins(year + month // 12, month % 12 + 1)
    length = _SECONDS[period]
    begin = int(now // length) * length
    return begin, begin + length


def _month_begins(year: int, month: int) -> int:
    return timegm((year, month, 1, 0, 0, 0))
