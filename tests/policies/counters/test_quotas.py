"""Quotas in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from portico.policies.counters import quotas as module
from portico.policies.counters.periods import Period, bounds
from portico.policies.counters.quotas import Quotas


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "now", "begin", "end"),
    [
        ("hour", "2026-11-24T15:59:59.9", "2026-11-24T15:00", "2026-11-24T16:00"),
        ("day", "2026-11-24T00:00", "2026-11-24T00:00", "2026-11-25T00:00"),
        ("month", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_periods(period: Period, now: str, begin: str, end: str) -> None:
    assert bounds(period, at(now)) == (at(begin), at(end))


def test_a_quota_counts_to_the_end_of_its_period() -> None:
    quotas = Quotas(2, "day")
    now = at("2026-11-24T23:00")
    assert [quotas.take("a", now) for _ in range(3)] == [1, 0, -3600]
    assert quotas.take("b", now) == 1, "others have their own"
    assert [quotas.take("a", now + 3600) for _ in range(3)] == [1, 0, -86400]
    assert quotas.take("a", now) == 1, "a clock that is set back begins a day again"


def test_looking_takes_nothing() -> None:
    quotas = Quotas(1, "hour")
    now = at("2026-11-24T23:00")
    assert [quotas.look("a", now), quotas.look("a", now), quotas.take("a", now), quotas.look("a", now)] == [
        0,
        0,
        0,
        -3600,
    ]


def test_memory_is_bounded() -> None:
    quotas = Quotas(5, "day", capacity=100)
    now = at("2026-11-24T12:00")
    for number in range(10_000):
        quotas.take(str(number), now)
    assert len(quotas) <= 200


def test_who_has_used_up_a_quota_is_not_forgotten_for_others() -> None:
    quotas = Quotas(3, "day", capacity=100)
    now = at("2026-11-24T12:00")
    for _ in range(3):
        quotas.take("exhausted", now)
    quotas.take("some", now)
    quotas.take("some", now)
    for number in range(10_000):
        quotas.take(str(number), now + number / 100)
    assert quotas.take("exhausted", now + 200) < 0
    assert quotas.take("some", now + 200) == 0
    assert quotas.take("9990", now + 200) == 1, "of those with as much, the latest are kept"
    assert quotas.take("0", now + 200) == 2


def test_counts_are_forgotten_with_their_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now = at("2026-11-24T15:59")
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))
    quotas = Quotas(2, "hour")
    quotas.take("a", now)
    quotas.store.age(0.0)
    quotas.store.age(0.0)
    assert quotas.take("a", now) == 0
    now = at("2026-11-24T16:00")
    quotas.store.age(0.0)
    assert len(quotas) == 0
