"""Breakers of instances: which instances get one, and what is logged about them."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from portico.upstreams import breaker as breaker_module
from portico.upstreams import breakers as breakers_module
from portico.upstreams.breaker import CLOSED, HALF_OPEN, OPEN, Trip
from portico.upstreams.breakers import Breakers
from portico.upstreams.instance import Address, Instance
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

from .members import Clock, FakeDeadlines

TRIP = Trip(failures=1, open_for=10)
URL = "http://a:80"


class World:
    def __init__(self) -> None:
        self.deadlines = FakeDeadlines()
        self.refreshed: list[Instance] = []
        self.openings: dict[str, dict[str, int]] = {}
        self.ejected: list[tuple[str, str, bool]] = []
        self.breakers = Breakers(
            cast(Deadlines, self.deadlines),
            self.openings,
            lambda _, instance: self.refreshed.append(instance),
            lambda *ejection: self.ejected.append(ejection),
        )
        self.instance = Instance(Address("a:80"), cast(Deadlines, self.deadlines), cast(Turn, None))

    def equip(self, trip: Trip | None) -> None:
        self.breakers.equip(self.instance, "s", URL, trip)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (breaker_module, breakers_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def world(clock: Clock) -> World:
    return World()


def test_one_keeps_its_breaker_for_as_long_as_it_is_to_have_one(world: World) -> None:
    world.equip(None)
    assert world.instance.breaker is None
    world.equip(TRIP)
    breaker = world.instance.breaker
    assert breaker is not None
    breaker.failed("x")
    world.equip(Trip(failures=7))
    assert world.instance.breaker is breaker
    assert (breaker.trip.failures, breaker.state) == (7, OPEN)
    world.equip(None)
    assert world.instance.breaker is None
    assert not world.deadlines.set_to, "it will not come back to life"


def test_every_state_change_is_logged_and_counted(world: World, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "portico")
    world.equip(TRIP)
    breaker = world.instance.breaker
    assert breaker is not None
    breaker.failed("x")
    breaker.deadline_passed()
    breaker.started("trial")
    assert breaker.state == HALF_OPEN
    breaker.failed("trial")
    breaker.deadline_passed()
    breaker.started("trial")
    clock.now += 5
    breaker.answered("trial")
    assert breaker.state == CLOSED
    assert [record.getMessage() for record in caplog.records] == [
        "breaker open",
        "breaker half-open",
        "breaker open",
        "breaker half-open",
        "breaker closed",
    ]
    assert {(vars(record)["service"], vars(record)["instance"]) for record in caplog.records} == {("s", URL)}
    assert world.openings == {"s": {URL: 2}}
    assert world.refreshed == [world.instance] * 7, "trials that begin take it out too"
    assert world.instance.returned == clock.now, "from now on it warms up"


def test_every_ejection_is_reported_and_whether_checks_are_believed(world: World) -> None:
    world.equip(TRIP)
    breaker = world.instance.breaker
    assert breaker is not None
    breaker.failed("x")
    breaker.check_passed()
    breaker.started("trial")
    breaker.failed("trial")
    assert world.ejected == [("s", URL, False), ("s", URL, True)]
