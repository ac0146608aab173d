"""Purges between control and workers, over a real socket."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from portico.processes.control import cache_purges as cache_purges_module
from portico.processes.control.cache_purges import CachePurges, Confirmed
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.proxy.cache.purges import Purge

TIMEOUT = 10.0
Scene = Callable[["World"], Awaitable[None]]


class World:
    """The control process's end, and workers that a test plays."""

    def __init__(self, workers: Workers, path: str) -> None:
        self.workers = workers
        self.purges = CachePurges(workers)
        self.path = path
        self.writers: list[asyncio.StreamWriter] = []

    async def worker(self, name: str) -> Worker:
        reader, writer = await asyncio.open_unix_connection(self.path)
        self.writers.append(writer)
        channel.send(writer, channel.Hello(name))
        while name not in self.workers._writers:
            await asyncio.sleep(0)
        return Worker(reader, writer)


class Worker:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def next(self) -> channel.Message | None:
        """The next message; that nothing is shared goes without saying."""
        while isinstance(message := await channel.receive(self.reader), channel.SharedSwept):
            assert message.before == math.inf
        return message

    async def receives(self) -> channel.NewPurges:
        message = await self.next()
        assert isinstance(message, channel.NewPurges)
        return message

    def send(self, message: channel.Message) -> None:
        channel.send(self.writer, message)

    async def leave(self) -> channel.Message | None:
        """Close its own end; what control had sent that was not received yet."""
        self.writer.write_eof()
        return await self.next()


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def connected() -> None:
            path = str(tmp_path / "channel")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            world = World(Workers(), path)
            server = await world.workers.listen(listener)
            try:
                await scene(world)
            finally:
                for writer in world.writers:
                    writer.close()
                server.close()
                await server.wait_closed()

        asyncio.run(asyncio.wait_for(connected(), TIMEOUT))

    return run


Play = Callable[[Scene], None]


def test_a_purge_is_over_once_all_workers_have_said_so(play: Play) -> None:
    async def scene(world: World) -> None:
        one, other = await world.worker("1"), await world.worker("2")
        purge = Purge.of("url", "/x")
        purging = asyncio.create_task(world.purges.purge([purge]))
        message = await one.receives()
        assert message.purges == [purge]
        one.send(channel.Purged(message.number, 2))
        assert (await other.receives()).number == message.number
        await asyncio.sleep(0.01)
        assert not purging.done()
        other.send(channel.Purged(message.number, 3))
        assert await purging == Confirmed(entries=5, done=2, late=0, shared=None)

    play(scene)


def test_a_worker_that_leaves_is_not_waited_for_and_one_that_is_silent_not_for_long(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        one, other = await world.worker("1"), await world.worker("2")
        purging = asyncio.create_task(world.purges.purge([Purge.of("all")]))
        message = await one.receives()
        one.send(channel.Purged(message.number, 1))
        await other.receives()
        other.writer.close()
        assert await purging == Confirmed(entries=1, done=1, late=0, shared=None)

        monkeypatch.setattr(cache_purges_module, "_TIMEOUT", 0.05)
        assert await world.purges.purge([Purge.of("all")]) == Confirmed(entries=0, done=0, late=1, shared=None)

    play(scene)


def test_what_a_worker_invalidates_goes_to_the_others(play: Play) -> None:
    async def scene(world: World) -> None:
        one, other = await world.worker("1"), await world.worker("2")
        purges = [Purge.of("url", "/x"), Purge.of("group", "g", origin="https://h")]
        one.send(channel.NewPurges(purges))
        assert await other.receives() == channel.NewPurges(purges)
        assert await one.leave() is None, "it has applied them itself"

    play(scene)


def test_a_worker_that_asks_is_told_what_came_of_it_in_the_others(play: Play) -> None:
    async def scene(world: World) -> None:
        one, other = await world.worker("1"), await world.worker("2")
        one.send(channel.NewPurges([Purge.of("url", "/x")], 7))
        message = await other.receives()
        other.send(channel.Purged(message.number, 4))
        assert await one.next() == channel.Purged(7, 4, 0)

    play(scene)


def test_a_worker_that_connects_gets_those_of_the_last_seconds(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        purge = Purge.of("url", "/x")
        assert (await world.purges.purge([purge])).done == 0
        late = await world.worker("1")
        assert await late.receives() == channel.NewPurges([purge])
        monkeypatch.setattr(cache_purges_module, "_RECENT", 0.0)
        later = await world.worker("2")
        assert await later.leave() is None

    play(scene)
