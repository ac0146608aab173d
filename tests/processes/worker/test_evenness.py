from __future__ import annotations

from typing import cast

import pytest

from portico.processes.worker import evenness
from portico.processes.worker.evenness import Evenness
from portico.wire.frontend import Frontend
from portico.wire.loads import Load


class World:
    """A worker with so many connections too many, of which some have no exchange now; and the module `time`."""

    def __init__(self, surplus: int, idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.too_many = surplus
        self.idle = idle
        self.now = 100.0
        self.used = 0.0
        self.reports: list[float] = []
        monkeypatch.setattr(evenness, "time", self)
        self.evenness = Evenness(cast(Load, self), cast(Frontend, self))

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.used

    def surplus(self) -> int:
        return self.too_many

    def report(self, used: float) -> None:
        self.reports.append(used)

    def shed(self, most: int) -> int:
        shed = min(most, self.too_many - self.idle)
        self.too_many -= shed
        return shed

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.now += 0.1
            self.used += 0.02
            self.evenness.look()


def test_a_surplus_that_stays_is_given_up_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(8, 0, monkeypatch)
    left = []
    for _ in range(6):
        world.looks(6)
        left.append(world.too_many)
    assert left == [8, 4, 2, 1, 0, 0]


def test_one_that_passes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(8, 0, monkeypatch)
    for surplus in (8, 0, 8, 0):
        world.too_many = surplus
        world.looks(6)
        assert world.too_many == surplus


def test_idle_connections_are_left_until_they_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(4, 4, monkeypatch)
    world.looks(18)
    assert world.too_many == 4
    world.idle = 0
    world.looks(1)
    assert world.too_many == 2


def test_others_see_how_busy_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0, 0, monkeypatch)
    world.looks(12)
    assert len(world.reports) == 12
    assert world.reports[-1] == pytest.approx(0.2)
