"""Caches forget what is not used, and are forgotten themselves."""

from __future__ import annotations

import gc

from portico.core.caches import ages, aging, remembered
from portico.core.slices import Steps, at_once


class Cache:
    def __init__(self) -> None:
        self.aged: list[float] = []

    def age(self, now: float) -> None:
        self.aged.append(now)


class Table(dict[str, int]):
    """One that is equal to others, and has no hash."""

    def age(self, now: float) -> None:
        self.clear()


def test_all_of_them_age() -> None:
    one, other, table = ages(Cache()), ages(Cache()), ages(Table(a=1))
    at_once(aging(5.0))
    at_once(aging(7.0))
    assert one.aged == other.aged == [5.0, 7.0]
    assert table == {}


class Slow:
    """One that takes many steps."""

    def __init__(self) -> None:
        self.left = 3

    def age(self, now: float) -> Steps[None]:
        while self.left:
            self.left -= 1
            yield


def test_they_age_in_steps() -> None:
    slow = ages(Slow())
    steps = aging(5.0)
    while slow.left == 3:
        next(steps)
    assert slow.left == 2
    at_once(steps)
    assert slow.left == 0


def test_one_that_nothing_uses_is_not_kept() -> None:
    lives: list[Cache] = [ages(Cache())]
    seen = lives[0].aged
    lives.clear()
    gc.collect()
    at_once(aging(5.0))
    assert seen == []


def test_results_of_functions_are_forgotten() -> None:
    asked = []

    @remembered(10)
    def double(number: int) -> int:
        asked.append(number)
        return 2 * number

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    at_once(aging(5.0))
    assert double(1) == 2
    assert asked == [1, 2, 1]
