"""Which requests are too many, for a loop that is late by as much as each test says."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from portico.proxy import overload
from portico.proxy.overload import Overload

_FEW = 8
_MANY = 1000


class Loop:
    """A clock, and the timer that is set by it; stands in for the loop and for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due = 0.0
        self.timer: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.due, self.timer = self.now + delay, callback

    def turn(self, late: float = 0.0) -> None:
        self.now = self.due + late
        self.timer()


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int | None = None, lag: float = 0.1) -> None:
        self.loop = Loop()
        self.admit_waiting = self.looks = 0
        monkeypatch.setattr(overload, "time", self.loop)
        monkeypatch.setattr(overload, "random", random.Random(5).random)
        self.overload = Overload()
        self.overload.limit(most, lag)
        loop: Any = self.loop
        self.overload.start(loop, self._admit_waiting, self._look_beside)

    def _admit_waiting(self) -> None:
        self.admit_waiting += 1

    def _look_beside(self) -> None:
        self.looks += 1

    def iterate(self, count: int, late: float = 0.0) -> None:
        for _ in range(count):
            self.loop.turn(late)

    def refused(self, running: int = _MANY) -> float:
        """The share of the requests."""
        if running <= self.overload.threshold:
            return 0.0
        return sum(self.overload.refuses(running) for _ in range(1000)) / 1000


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_loop_in_time_refuses_nobody(world: World) -> None:
    world.iterate(100, late=0.005)
    assert world.refused() == 0.0
    assert (world.admit_waiting, world.looks) == (0, 100)


def test_waiting_connections_are_accepted_where_loop_iterations_are_long(world: World) -> None:
    world.iterate(3, late=0.05)
    assert world.admit_waiting == 3


def test_one_stall_is_no_overload(world: World) -> None:
    world.iterate(10)
    world.iterate(1, late=5.0)
    assert world.refused() == 0.0
    world.iterate(5)
    assert world.refused() == 0.0


def test_the_later_the_loop_the_more_is_refused(world: World) -> None:
    world.iterate(20, late=0.15)
    assert 0.4 < world.refused() < 0.6
    world.iterate(20, late=0.5)
    assert 0.9 < world.refused() < 1.0
    world.iterate(20, late=0.12)
    assert 0.1 < world.refused() < 0.3


def test_a_few_are_taken_on_however_late_it_is(world: World) -> None:
    world.iterate(50, late=2.0)
    assert world.refused(_FEW) == 0.0
    assert world.refused(_FEW + 1) > 0.9


def test_it_is_over_soon_after_the_load(world: World) -> None:
    world.iterate(50, late=0.5)
    world.iterate(10)
    assert world.refused() == 0.0
    assert world.overload.threshold > _MANY


def test_a_number_of_requests_is_a_bound_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, most=20)
    assert (world.refused(20), world.refused(21)) == (0.0, 1.0)
    world.iterate(50, late=0.15)
    assert 0.4 < world.refused(20) < 0.6
    assert world.refused(21) == 1.0


@pytest.mark.parametrize("lag", [0.0, 0.1])
def test_one_event_counts_all_refusals(
    lag: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch, most=20, lag=lag)
    world.refused(21)
    world.iterate(3)
    world.refused(21)
    world.iterate(3)
    assert [record.refused for record in caplog.records] == [1000]  # type: ignore[attr-defined]
    world.iterate(200)
    assert [record.refused for record in caplog.records] == [1000, 1000]  # type: ignore[attr-defined]


def test_without_a_lag_nobody_is_refused_for_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, lag=0.0)
    world.iterate(50, late=3.0)
    assert world.refused() == 0.0
    assert world.admit_waiting == 50


def test_it_goes_on_sampling_where_a_sample_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(world.overload, "_admit_waiting", fail)
    with pytest.raises(RuntimeError):
        world.loop.turn(late=0.05)
    monkeypatch.setattr(world.overload, "_note", lambda late, now: fail())
    due = world.loop.due
    with pytest.raises(RuntimeError):
        world.loop.turn()
    assert world.loop.due > due
