"""Workers count while somebody asks for figures, and are told to stop once nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from portico.config import load_text
from portico.observe.metrics import Metrics
from portico.processes.control.live import figures as figures_module
from portico.processes.control.live.live import Live
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from support.waiting import others_end

CONFIG = load_text("services: {shop: {url: http://h}}", "portico.yaml", {})
TOTALS = {**Metrics().dump(), "in_flight": 0, "services": {}}
HIT = {"routes": {"shop": 3}, "consumers": {"ann": 3}, "paths": {"/x": 3}, "clients": {"10.0.0.1": 3}}


class FakeWorkers(Workers):
    """One worker that does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.wishes: list[channel.Message] = []

    def reported(self) -> dict[str, dict[str, Any]]:
        return {}

    async def ask(
        self, question: Callable[[int], channel.Message], timeout: float, *, but: str = "", only: str | None = None
    ) -> dict[str, channel.Message | None]:
        self.wishes.append(question(7))
        return {}


class Clock:
    """A monotonic clock."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(figures_module, "time", clock)
    return clock


def page_of(live: Live) -> dict[str, Any]:
    """What is shown now."""
    live._shown_at = float("-inf")
    return cast(dict[str, Any], json.loads(asyncio.run(_asked(live))))


async def _asked(live: Live) -> bytes:
    page = await live.page(CONFIG, 100)
    await others_end()
    return page


def report(workers: Workers) -> None:
    async def reported() -> None:
        workers.reported_now("w", TOTALS, TOTALS)
        await others_end()

    asyncio.run(reported())


def test_workers_count_while_somebody_asks_and_no_longer(clock: Clock) -> None:
    workers = FakeWorkers()
    live = Live(workers)
    report(workers)
    assert not workers.wishes
    assert page_of(live)["since"] is not None
    clock.now += 10
    page_of(live)
    report(workers)
    assert workers.wishes == [channel.Watch(counts=True, number=7)]
    assert workers.watch() == channel.Watch(counts=True)
    clock.now += 20
    report(workers)
    assert workers.wishes[1:] == [channel.Watch(number=7)]
    assert not workers.watch()


def test_what_workers_count_late_is_nobodys(clock: Clock) -> None:
    workers = FakeWorkers()
    live = Live(workers)
    workers.watched(channel.Watched(counts=HIT))
    page = page_of(live)
    assert page["top"]["consumers"] == []
    workers.watched(channel.Watched(counts=HIT))
    clock.now += 1
    page = page_of(live)
    assert [named["name"] for named in page["top"]["consumers"]] == ["ann"]
    assert page["routes"][0]["last_hit"] is not None


def test_workers_that_come_and_go_are_events(clock: Clock) -> None:
    workers = FakeWorkers()
    live = Live(workers)
    workers.has_come("w")
    workers.has_left("w")
    workers.has_left("")  # a connection that said nothing
    assert [event["text"] for event in live.events.kept()] == ["a worker has connected", "a worker has gone"]
