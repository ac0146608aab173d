"""Workers that ask to be replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portico.config import Config
from portico.processes.ipc.listeners import Listeners
from portico.processes.ipc.notices import FAILING
from portico.processes.supervisor.child import Child
from portico.processes.supervisor.main import Supervisor


class World:
    """A supervisor with two workers and control, none of which is a process."""

    def __init__(self, listeners: Listeners, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.supervisor = Supervisor(config, None, listeners)
        self.begun: list[str] = []
        monkeypatch.setattr(self.supervisor, "_start", lambda child: self.begun.append(child.name))
        names = ("worker-0", "worker-1", "control")
        self.children = [Child(name, lambda child: None, pid=4_000_000 + index) for index, name in enumerate(names)]
        self.supervisor.children = [*self.children]

    def look(self) -> None:
        """What a look around does about them."""
        supervisor = self.supervisor
        if supervisor.roll is None and supervisor.failing:
            supervisor._replace_failing()
        if supervisor.roll is not None:
            supervisor.roll.advance()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    config = Config.model_validate({"gateway": {"host": "127.0.0.1", "port": 0}})
    listeners = Listeners.open(config.gateway)
    listeners.close_admin()
    yield World(listeners, config, monkeypatch)
    listeners.close()


def test_only_those_that_ask_are_replaced(world: World) -> None:
    for child in world.children[1:]:
        world.supervisor._process(child, FAILING)
    world.look()
    assert world.begun == ["worker-1"]


def test_why_one_asks_is_in_the_events(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "portico.supervisor")
    world.supervisor._process(world.children[0], FAILING, "it stopped upkeep")
    world.look()
    said = {record.getMessage(): vars(record) for record in caplog.records}
    assert said["a worker asks to be replaced"]["reason"] == "it stopped upkeep"
    roll = said["rolling restart: workers are replaced"]
    assert (roll["workers"], roll["reason"]) == ("worker-0", "asked for: it stopped upkeep")


def test_one_that_has_ended_since_or_leaves_needs_no_other(world: World) -> None:
    ended, leaving, _ = world.children
    for child in (ended, leaving):
        world.supervisor._process(child, FAILING)
    ended.pid += 100
    leaving.is_leaving = True
    world.look()
    assert (world.begun, world.supervisor.roll, world.supervisor.failing) == ([], None, {})


def test_a_reload_requested_during_a_rolling_restart_waits_for_its_end(world: World) -> None:
    first, second, _ = world.children
    world.supervisor._process(first, FAILING)
    world.look()
    world.supervisor._process(second, FAILING)
    world.look()
    assert world.begun == ["worker-0"]
    world.supervisor.roll = None
    world.look()
    assert world.begun == ["worker-0", "worker-1"]
