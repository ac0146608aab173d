from __future__ import annotations

from functools import partial

import pytest

from portico.wire import paced
from portico.wire.paced import Paced

from .world import FakeLoop


class World:
    """Steps that take some time each, and how many were done in each turn of the loop."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.done: list[int] = []
        monkeypatch.setattr(paced, "monotonic", lambda: self.now)
        self.loop = FakeLoop()
        self.paced = Paced(self.loop.as_loop())

    def plan(self, *numbers: int) -> None:
        for number in numbers:
            self.paced.plan(partial(self._do, number))

    def _do(self, number: int) -> None:
        self.now += self.seconds
        self.done.append(number)

    def turn(self) -> list[int]:
        """What is done in it."""
        ready, self.loop.ready, self.done = self.loop.ready, [], []
        for callback, args in ready:
            callback(*args)
        return self.done


def test_short_steps_are_done_together_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0.0, monkeypatch)
    world.plan(*range(40))
    assert [world.turn() for _ in range(4)] == [[*range(16)], [*range(16, 32)], [*range(32, 40)], []]


def test_long_ones_one_by_one_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1.0, monkeypatch)
    world.plan(1, 2, 3)
    assert world.turn() == [1]
    world.plan(1)
    assert [world.turn() for _ in range(4)] == [[2], [3], [1], []]


def test_one_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0.0, monkeypatch)
    world.plan(0, 1)
    monkeypatch.setattr(world, "seconds", "long")
    with pytest.raises(TypeError):
        world.turn()
    monkeypatch.setattr(world, "seconds", 0.0)
    assert world.turn() == [1]
