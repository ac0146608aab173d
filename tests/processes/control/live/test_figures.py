"""Figures of the last seconds, from what workers report."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import pytest

from portico.config import load_text
from portico.observe.metrics import Metrics
from portico.processes.control.live import figures as figures_module
from portico.processes.control.live.figures import Figures
from portico.processes.control.workers import Workers

CONFIG = load_text("services: {shop: {url: http://h}, idle: {url: http://h}}", "portico.yaml", {})


class Scene:
    """Workers that report by hand, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counted: dict[str, Metrics] = {}
        self.totals: dict[str, dict[str, Any]] = {}
        self.figures = Figures(cast(Workers, self))

    def monotonic(self) -> float:
        return self.now

    def reported(self) -> dict[str, dict[str, Any]]:
        return self.totals

    def serve(self, worker: str, number: int = 1, status: int = 200, seconds: float = 0.004, reason: str = "") -> None:
        """So many exchanges end."""
        metrics = self.counted.setdefault(worker, Metrics())
        for _ in range(number):
            metrics.observe("shop", "GET", status, seconds, None)
            if reason:
                metrics.observe_error("shop", reason)

    def report(self, *workers: str, in_flight: int = 0) -> None:
        for worker in workers:
            totals = copy.deepcopy(self.counted.setdefault(worker, Metrics()).dump())
            totals |= {"in_flight": in_flight, "services": {"shop": [in_flight, None, 0], "shop@v2": [1, None, 0]}}
            before, self.totals[worker] = self.totals.get(worker), totals
            self.figures.reported(worker, before, totals)

    def ask(self) -> None:
        self.figures._asked_at = self.now

    def shown(self) -> tuple[float, dict[str, Any], dict[str, Any]]:
        window, services, total = self.figures.services(CONFIG)
        return window, services["shop"], total


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene()
    monkeypatch.setattr(figures_module, "time", scene)
    return scene


def test_rates_are_what_all_workers_have_counted_a_second(scene: Scene) -> None:
    scene.report("a", "b")
    scene.ask()
    for _ in range(4):
        scene.now += 1
        scene.serve("a", 10)
        scene.serve("b", 5, 503, 0.2, "circuit_open")
        scene.serve("b", 1, 429, 0.001, "rate_limited")
        scene.report("a", "b", in_flight=2)
    window, shop, total = scene.shown()
    assert window == 4
    assert (shop["rate"], shop["error_rate"], shop["limited_rate"]) == (16, 5, 1)
    assert shop["statuses"] == {"2xx": 10, "4xx": 1, "5xx": 5}
    assert shop["errors"] == {"circuit_open": 5, "rate_limited": 1}
    assert (shop["in_flight"], total["in_flight"]) == (6, 4)
    assert 2.5 < shop["p50"] <= 5
    assert 100 < shop["p99"] <= 250
    assert total["rate"] == shop["rate"]


def test_what_is_older_than_the_window_does_not_count(scene: Scene) -> None:
    scene.report("a")
    scene.ask()
    scene.serve("a", 100)
    for _ in range(15):
        scene.now += 1
        scene.ask()
        scene.report("a")
    window, shop, _ = scene.shown()
    assert (window, shop["rate"], shop["p50"]) == (10, 0, None)


def test_nothing_is_compared_while_nobody_asks(scene: Scene) -> None:
    scene.report("a")
    scene.ask()
    scene.now += 1
    scene.report("a")
    scene.now += 60
    scene.serve("a", 1000)
    scene.report("a")
    scene.now += 1
    scene.ask()
    scene.serve("a", 3)
    scene.report("a")
    window, shop, _ = scene.shown()
    assert (window, shop["rate"]) == (1, 3)


def test_a_worker_that_begins_or_begins_anew_is_no_jump(scene: Scene) -> None:
    scene.ask()
    scene.serve("a", 1_000_000)
    scene.report("a")  # control begins: what was before is no rate
    scene.now += 1
    scene.serve("a", 2)
    scene.report("a")
    scene.counted["a"] = Metrics()
    scene.now += 1
    scene.serve("a", 4)
    scene.report("a")
    window, shop, _ = scene.shown()
    assert (window, shop["rate"]) == (2, 3)


def test_a_worker_that_was_hung_is_no_long_window(scene: Scene) -> None:
    scene.report("a", "b")
    scene.now += 300
    scene.ask()
    scene.report("a", "b")
    scene.now += 1
    scene.serve("a", 5)
    scene.report("a", "b")
    window, shop, _ = scene.shown()
    assert (window, shop["rate"]) == (1, 5)


def test_reports_between_the_seconds_change_nothing(scene: Scene) -> None:
    scene.report("a")
    scene.ask()
    for _ in range(100):
        scene.now += 0.0625
        scene.serve("a")
        scene.report("a")
    window, shop, _ = scene.shown()
    assert (window, shop["rate"]) == (6.25, 16)
    assert len(scene.figures._seconds) == 7


def test_who_asks_waits_until_every_worker_has_something_to_say() -> None:
    scene = Scene()

    async def play() -> None:
        scene.report("a", "b")
        asked = asyncio.get_running_loop().create_task(scene.figures.ask())
        await asyncio.sleep(0)
        for worker in ("a", "b"):
            assert not asked.done()
            scene.serve(worker)
            scene.report(worker)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asked

    asyncio.run(play())


def test_a_worker_that_leaves_is_not_waited_for() -> None:
    scene = Scene()

    async def play() -> None:
        scene.report("a", "b")
        asked = asyncio.get_running_loop().create_task(scene.figures.ask())
        await asyncio.sleep(0)
        scene.report("a")
        del scene.totals["b"]
        scene.figures.left("b")
        await asked

    asyncio.run(play())
