"""What has been counted between two totals of a worker, by service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import sub
from typing import Any, Final

from portico.observe.families import DURATION_BOUNDS

_BUCKETS: Final = len(DURATION_BOUNDS) + 1


class Counts:
    """Exchanges of one service, or of several: how many, with which status, for which reason, and how long they took.

    `buckets` are those of `DURATION_BOUNDS`.
    """

    __slots__ = ("buckets", "reasons", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.buckets = [0] * _BUCKETS

    def add(self, other: Counts) -> None:
        """Count those of another, too."""
        self.statuses.update(other.statuses)
        self.reasons.update(other.reasons)
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]

    def add_series(self, statuses: Iterable[tuple[int, int]], buckets: Iterable[int]) -> None:
        """Count those of a method."""
        self.statuses.update(dict(statuses))
        self.buckets = [a + b for a, b in zip(self.buckets, buckets, strict=True)]

    def quantile(self, share: float) -> float | None:
        """The milliseconds that this share of them took at most; None where there are none.

        Within a bucket they are taken to be spread evenly, as Prometheus's `histogram_quantile` does; the last bucket
        counts as its lower bound.
        """
        wanted = share * sum(self.buckets)
        if not wanted:
            return None
        below, lower = 0, 0.0
        for upper, count in zip(DURATION_BOUNDS, self.buckets, strict=False):
            if count and below + count >= wanted:
                return round((lower + (upper - lower) * (wanted - below) / count) * 1000, 3)
            below, lower = below + count, upper
        return lower * 1000


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Counts]:
    """What a worker has counted from one of its totals to a later one, by service; idle services are left out.

    Totals that begin anew count from nothing.
    """
    found: dict[str, Counts] = {}
    known = {(series[0], series[1]): series for series in before["series"]}
    for series in after["series"]:
        last = known.get((series[0], series[1]))
        if series != last:
            more = _grown(last, series)
            found.setdefault(series[0], Counts()).add_series(*more)
    for service, reasons in after["errors"].items():
        last_reasons = before["errors"].get(service, {})
        if reasons != last_reasons:
            counted = found.setdefault(service, Counts()).reasons
            for reason, count in reasons.items():
                counted[reason] += _growth(last_reasons.get(reason, 0), count)
    return found


def _grown(before: list[Any] | None, after: list[Any]) -> tuple[list[tuple[int, int]], list[int]]:
    """By how much statuses and buckets of a series have grown."""
    _, _, statuses, buckets, *_ = after
    if before is None:
        return statuses, buckets
    last, grown = dict(before[2]), [*map(sub, buckets, before[3])]
    if min(grown) < 0:
        return statuses, buckets
    return [(status, _growth(last.get(status, 0), count)) for status, count in statuses], grown


def _growth(before: int, after: int) -> int:
    return after - before if after >= before else after
