"""Purges in a worker, between its cache and a control process that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from portico.observe.metrics import Metrics
from portico.processes.ipc import channel
from portico.processes.worker import purging as purging_module
from portico.processes.worker.purging import Purging
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.purges import Outcome, Purge
from support.stored import resource, response
from support.waiting import others_end

TIMEOUT = 20.0


class Control:
    """What a worker sends."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.news = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.news.set()

    async def next(self) -> channel.Message:
        """The next message."""
        while not self.pieces:
            self.news.clear()
            await self.news.wait()
        reader = asyncio.StreamReader()
        reader.feed_data(self.pieces.pop(0))
        message = await channel.receive(reader)
        assert message is not None
        return message


class World:
    def __init__(self) -> None:
        self.caches = Caches(1 << 20, Metrics())
        self.purging = Purging(self.caches, asyncio.get_running_loop())
        self.control = Control()
        self.writer = cast(asyncio.StreamWriter, self.control)

    def connect(self) -> None:
        self.purging.connected(self.writer)

    def put(self, *names: str, **parts: Any) -> None:
        for name in names:
            stored = response(checked=self.caches.purges.number, **parts)
            assert self.caches.memory.put(resource(name), stored)

    def receive(self, *purges: Purge, number: int = 0) -> None:
        self.purging.receive(channel.NewPurges([*purges], number), self.writer)


def play(scene: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(TIMEOUT):
            await scene(World())
        await others_end()

    asyncio.run(run())


def test_control_is_told_how_many_went() -> None:
    async def scene(world: World) -> None:
        world.connect()
        world.put("x", "y", "y?z")
        world.receive(Purge.of("url", "/x"), Purge.of("url", "/y"), number=5)
        assert await world.control.next() == channel.Purged(5, 2)
        assert world.caches.memory.entries == 1

    play(scene)


def test_what_a_soft_purge_turns_stale_is_counted_and_stays() -> None:
    async def scene(world: World) -> None:
        world.connect()
        world.put("x")
        world.receive(Purge.of("all", soft=True), number=5)
        assert await world.control.next() == channel.Purged(5, 1)
        assert world.caches.memory.entries == 1
        world.receive(Purge.of("all", soft=True), number=6)
        assert await world.control.next() == channel.Purged(6, 1)

    play(scene)


def test_what_requests_change_goes_to_control_together() -> None:
    async def scene(world: World) -> None:
        world.connect()
        purges = world.caches.purges
        for number in range(100):
            purges.invalidate([b"https://h/x", b"https://h/%d" % number], b"https://h", [b"g"])
        message = await world.control.next()
        assert isinstance(message, channel.NewPurges)
        assert message.number == 0
        said = {(purge.kind, purge.value, purge.origin) for purge in message.purges}
        assert len(said) == len(message.purges) == 102, "the same is said once"
        assert {("url", "https://h/x", ""), ("group", "g", "https://h")} < said

    play(scene)


def test_it_applies_here_at_once() -> None:
    async def scene(world: World) -> None:
        world.put("x")
        own = resource("x")
        (stored,) = world.caches.memory.get(own.key).variants  # type: ignore[union-attr]
        world.caches.purges.invalidate([own.url])
        assert world.caches.purges.passed(stored, own) is None
        world.connect()
        assert isinstance(await world.control.next(), channel.NewPurges), "and waits for control"

    play(scene)


def test_a_client_s_purge_is_over_once_control_says_so() -> None:
    async def scene(world: World) -> None:
        world.connect()
        world.put("x")
        purge = Purge.of("url", "/x")
        purging = asyncio.ensure_future(world.caches.purge([purge]))
        message = await world.control.next()
        assert message == channel.NewPurges([purge], 1)
        world.purging.answered(channel.Purged(1, 3, 1))
        assert await purging == Outcome(entries=4, late=1)

    play(scene)


def test_without_control_it_applies_here_and_elsewhere_later() -> None:
    async def scene(world: World) -> None:
        world.put("x")
        purge = Purge.of("url", "/x")
        assert await world.caches.purge([purge]) is None
        assert world.caches.memory.entries == 0
        world.connect()
        assert await world.control.next() == channel.NewPurges([purge])

    play(scene)


def test_control_that_dies_or_is_silent_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        world.connect()
        purging = asyncio.ensure_future(world.caches.purge([Purge.of("all")]))
        await world.control.next()
        world.purging.disconnected()
        assert await purging is None
        world.connect()
        message = await world.control.next()
        assert isinstance(message, channel.NewPurges), "whoever comes next is told"
        assert (message.number, [purge.kind for purge in message.purges]) == (0, ["all"])

        monkeypatch.setattr(purging_module, "_ANSWERED", 0.01)
        world.connect()
        assert await world.caches.purge([Purge.of("all")]) is None

    play(scene)


def test_what_control_took_with_it_is_sent_again() -> None:
    async def scene(world: World) -> None:
        world.connect()
        world.caches.purges.invalidate([b"https://h/x"])
        sent = await world.control.next()
        world.purging.disconnected()
        world.connect()
        assert await world.control.next() == sent

    play(scene)


def test_very_many_purges_are_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging_module, "_ROUND", 0.01)
    monkeypatch.setattr(purging_module, "_MANY", 10)
    monkeypatch.setattr(purging_module, "_MOST", 15)

    async def scene(world: World) -> None:
        world.put(*map(str, range(40)))
        keeping = asyncio.create_task(world.purging.keep_up())
        world.receive(*(Purge.of("url", f"/{number}") for number in range(20)))
        while len(world.caches.purges):
            await asyncio.sleep(0.01)
        assert world.caches.memory.entries == 20
        keeping.cancel()

    play(scene)


def test_purges_are_forgotten_once_everything_was_compared_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were made a moment ago, or that another store needs, are not."""
    monkeypatch.setattr(purging_module, "_ROUND", 0.01)
    monkeypatch.setattr(purging_module, "_KEPT", 0.0)
    monkeypatch.setattr(purging_module, "_MANY", 10)

    async def scene(world: World) -> None:
        purges, memory = world.caches.purges, world.caches.memory
        world.put(*map(str, range(40)))
        keeping = asyncio.create_task(world.purging.keep_up())
        world.receive(*(Purge.of("url", f"/{number}") for number in range(20)))
        while len(purges) > 10:
            await asyncio.sleep(0.01)
        assert memory.entries == 20
        assert purges.forgotten > 0
        world.purging.swept_before = 0.0
        world.put("x")
        born_before = response(born=1.0, checked=-1)
        world.receive(*(Purge.of("url", f"/{number}") for number in range(20)))
        while len(purges) > 10:
            await asyncio.sleep(0.01)
        assert purges.passed(born_before, resource("3")) is None, "the other store may still have it"
        keeping.cancel()

    play(scene)
