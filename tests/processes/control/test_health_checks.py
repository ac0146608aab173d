"""Health checks on real sockets: what `/health` reports, and how checks live on while instances come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from portico.config import Config, load_text
from portico.processes.control import health as health_module
from portico.processes.control.health import HealthChecks
from portico.processes.control.instance_states import InstanceStates

PATIENCE = 20.0


class Instance:
    """Answers each GET with a status, or not at all for as long as it hangs."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.arrived = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def asked_times(self, count: int) -> None:
        """Until it was asked so often."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.asked >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                async with self.arrived:
                    self.asked += 1
                    self.arrived.notify_all()
                await self.answers.wait()
                writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        self._writers.discard(writer)
        writer.close()


class World:
    """Health checks and what they report to the workers."""

    def __init__(self) -> None:
        self.turned: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        self.health = HealthChecks(self._changed, self._states)

    def _changed(self, states: list[tuple[str, str, bool]]) -> None:
        for state in states:
            self.turned.put_nowait(state)

    async def _states(self) -> InstanceStates:
        return InstanceStates()


Scene = Callable[[World, Instance, Instance], Awaitable[None]]


def play(scene: Scene) -> None:
    """A scene with two instances."""

    async def run() -> None:
        one, other, world = Instance(), Instance(), World()
        await one.start()
        await other.start()
        try:
            await scene(world, one, other)
        finally:
            await world.health.close()
            await one.stop()
            await other.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def configured(check: str, *instances: str, more: str = "") -> Config:
    urls = ", ".join(instances)
    return load_text(f"services: {{s: {{instances: [{urls}], health_check: {check}}}{more}}}", "portico.yaml", {})


RARELY = "{path: /health, interval: 1h, timeout: 1h}"


# ---- /health


def test_a_report_is_no_older_than_it_may_be_while_another_waits_for_an_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instance hangs, for which the first report waits; who asks later is not told what that one saw of others."""
    monkeypatch.setattr(health_module, "_REPORT_AGE", 0.0)

    async def scene(world: World, hangs: Instance, turns: Instance) -> None:
        world.health.watch(configured(RARELY, hangs.url, turns.url))
        await hangs.asked_times(1)
        await turns.asked_times(1)
        hangs.answers.clear()
        first = asyncio.create_task(world.health.report())
        await hangs.asked_times(2)
        await turns.asked_times(2)
        await looked_at(world, turns)
        turns.status = "503 No"
        second = asyncio.create_task(world.health.report())
        await turns.asked_times(3)
        hangs.answers.set()
        assert statuses(await first) == ["healthy", "healthy"]
        assert statuses(await second) == ["healthy", "unhealthy"]
        assert hangs.asked == 2, "both waited for the one look"

    play(scene)


def test_many_who_ask_for_a_report_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_REPORT_AGE", 1e6)

    async def scene(world: World, one: Instance, other: Instance) -> None:
        world.health.watch(configured(RARELY, one.url, other.url))
        await one.asked_times(1)
        await other.asked_times(1)
        reports = await asyncio.gather(*(world.health.report() for _ in range(100)))
        assert all(report is reports[0] for report in reports)
        assert await world.health.report() is reports[0]
        assert (one.asked, other.asked) == (2, 2)

    play(scene)


async def looked_at(world: World, instance: Instance) -> None:
    """Until the look at it is over."""
    look = world.health.checks["s", instance.url].look
    assert look is not None
    await asyncio.wait([look])


def statuses(report: dict[str, Any]) -> list[str]:
    """Of the instances of the service."""
    return [instance["status"] for instance in report["s"]["instances"]]
