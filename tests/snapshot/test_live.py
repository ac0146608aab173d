"""Live state is looked after even where something about one part of it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from portico.config import Config
from portico.core.found import Found
from portico.core.slices import at_once
from portico.observe.metrics import Metrics
from portico.snapshot.builder import SnapshotBuilder
from portico.upstreams.instance import Instance
from portico.upstreams.service import Service
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn
from wire.world import FakeLoop

TWO = {"instances": [{"url": "http://192.0.2.1"}, {"url": "http://192.0.2.2"}], "health_check": False}


def config(**written: Any) -> Config:
    return Config.model_validate(written)


def builder() -> SnapshotBuilder:
    loop: asyncio.AbstractEventLoop = FakeLoop().as_loop()
    turn = Turn(loop)
    return SnapshotBuilder(Deadlines(loop, turn), turn, Path("/control"), {}, Metrics())


def test_an_instance_that_fails_to_update_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = builder()
    own.build(config(services={"a": TWO, "b": {**TWO, "instances": [{"url": "http://192.0.2.3"}]}}), 1)
    pruned: list[str] = []

    def prune(instance: Instance) -> None:
        pruned.append(instance.name)
        if len(pruned) == 1:
            raise RuntimeError

    monkeypatch.setattr(Instance, "prune", prune)
    at_once(own.live.pruning())
    assert len(pruned) == 4  # that of the control process too
    (record,) = caplog.records
    assert record.exc_info


def test_a_fault_in_one_service_does_not_keep_an_instance_from_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = builder()
    routes = [{"name": name, "path": f"/{name}", "service": "a", "version": name} for name in ("v1", "v2")]
    own.build(config(services={"a": {**TWO, "versions": {"v1": {}, "v2": {}}}}, routes=routes), 1)
    refreshed: list[Service] = []

    def refresh(service: Service, _: object) -> None:
        refreshed.append(service)
        if len(refreshed) == 1:
            raise RuntimeError

    monkeypatch.setattr(Service, "refresh", refresh)
    own.live.set_health([("a", "http://192.0.2.1", False)])
    assert len(refreshed) > 1
    assert caplog.records[0].exc_info


def test_breakers_are_reported_when_something_about_them_has_changed() -> None:
    own = builder()
    own.build(config(services={"a": TWO, "b": {"url": "http://192.0.2.3"}}), 1)

    def reported() -> Any:
        return at_once(own.live.reporting())["breakers"]

    both = [("a", "http://192.0.2.1", 0), ("a", "http://192.0.2.2", 0)]
    assert [reported(), reported()] == [both, None]
    one, _ = own.live.service("a", None).instances
    assert one.breaker is not None
    for _ in range(5):
        one.breaker.failed(object())
    assert [reported(), reported()] == [[("a", "http://192.0.2.1", 2), both[1]], None]
    own.build(config(services={"a": TWO}), 2)
    own.live.report_anew()
    assert reported() == [("a", "http://192.0.2.1", 2), both[1]]
    own.build(config(services={"a": {"url": "http://192.0.2.1"}}), 3)
    assert reported() == []


def test_a_report_is_made_while_instances_come_and_go() -> None:
    own = builder()
    own.build(config(services={"a": {"discover": "admin", "health_check": False}}), 1)
    own.live.discover("a", [Found(f"http://h{number}") for number in range(200)])
    steps = own.live.reporting()
    for number in range(5):
        next(steps)
        coming = f"http://i{number}"
        at_once(own.live.discovering("a", {coming: [Found(coming)], f"http://h{number + 100}": []}))
    assert at_once(steps)["services"] == {"a": (0, None, 0)}
