"""Sweeps in a real Redis behind purges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvloop

from portico.net.redis.links import link_to
from portico.processes.control import shared_sweep
from portico.processes.control.shared_sweep import SharedSweep
from portico.proxy.cache.purges import Purge, Purges
from portico.proxy.cache.redis_store import RedisStore
from portico.proxy.cache.stored import Resource, Stored
from support.redis_servers import RedisServer
from support.stored import asked, key_of, resource, response

TIMEOUT = 20.0
PIECES = 3 * 65536 + 1


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer(unix=True) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    shared.ask("FLUSHALL")
    monkeypatch.setattr(shared_sweep, "_PAUSE", 0.02)
    monkeypatch.setattr(shared_sweep, "_SETTLED", 0.0)
    return shared


class World:
    """A store as a worker has it, and the sweep of a control process."""

    def __init__(self, store: RedisStore, sweep: SharedSweep, swept: list[float]) -> None:
        self.store = store
        self.sweep = sweep
        self.swept = swept

    async def put(self, name: str, *, born: float = 0.0, body: bytes = b"hello", **parts: Any) -> None:
        """Store it as a second old: how far clocks are apart is known only as exactly as Redis answers quickly."""
        own = resource(name)
        writer = self.store.writer(own, response(born=born or time.time() - 1, **parts))
        writer.feed(body)
        writer.commit()
        while await self.find(name) is None:
            await asyncio.sleep(0.01)

    async def find(self, name: str) -> Stored | None:
        found: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()

        def receive(own: Resource | None, stored: Stored | None) -> None:
            found.set_result(stored)

        self.store.look_up(key_of(name), asked(), None, receive)
        return await found

    async def sweeps(self) -> None:
        before = len(self.swept)
        while len(self.swept) == before:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def world(url: str) -> AsyncIterator[World]:
    loop, swept = asyncio.get_running_loop(), list[float]()
    store = RedisStore(link_to(url), 5.0, 64 << 20, loop)
    await store.start()
    sweep = SharedSweep(RedisStore(link_to(url), 5.0, 64 << 20, loop), swept.append)
    try:
        yield World(store, sweep, swept)
    finally:
        await sweep.close()
        store.close()


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        await asyncio.wait_for(scene, TIMEOUT)

    uvloop.run(in_time())


def test_what_was_stored_before_is_removed(server: RedisServer) -> None:
    async def scene() -> None:
        async with world(server.url) as own:
            await own.put("old", tags=frozenset({b"tag:t"}))
            await own.put("large", tags=frozenset({b"tag:t"}), body=bytes(PIECES))
            await own.put("other")
            own.sweep.add([Purge.of("tag", "t")], own=True)
            await own.put("new", born=time.time() + 1, tags=frozenset({b"tag:t"}))
            await own.sweeps()
            left = [name for name in ("old", "large", "other", "new") if await own.find(name) is not None]
            assert left == ["other", "new"]
            assert own.sweep.unswept == []
            assert own.swept[0] <= time.time()

    play(scene())


def test_a_soft_purge_is_written_down(server: RedisServer) -> None:
    async def scene() -> None:
        async with world(server.url) as own:
            await own.put("x", lifetime=600.0)
            own.sweep.add([Purge.of("all", soft=True)], own=True)
            await own.sweeps()
            while (stored := await own.find("x")) is not None and stored.lifetime > 500:
                await asyncio.sleep(0.01)
            assert stored is not None
            assert time.monotonic() - stored.since >= stored.lifetime
            assert await stored.body.piece(0) == b"hello"

    play(scene())


def test_whoever_finds_it_before_compares_it(server: RedisServer) -> None:
    """Its date is right by the clock here, whatever Redis's says."""

    async def scene() -> None:
        async with world(server.url) as own:
            await own.put("x")
            purges = Purges()
            purges.add([Purge.of("url", "/x")])
            await own.put("y", born=time.time() + 1)
            for name, expected in (("x", None), ("y", "y")):
                stored = await own.find(name)
                assert stored is not None
                assert abs(stored.born - time.time()) < TIMEOUT
                left = purges.passed(stored, Resource(key_of(name), resource(name).url, "s"))
                assert (left is None) == (expected is None)

    play(scene())


def test_other_gateways_purges_are_left_to_them_for_a_while(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with world(server.url) as own:
            await own.put("x")
            theirs = Purge.of("all")
            own.sweep.add([theirs], own=False)
            await own.sweep._sweep()
            assert own.swept == []
            assert own.sweep.unswept == [theirs]
            own.sweep.swept(theirs.at + 1)
            assert own.sweep.unswept == []

            given_up = msgspec.structs.replace(Purge.of("all"), at=time.time() - 1000)
            own.sweep.add([given_up], own=False)
            await own.sweeps()
            assert await own.find("x") is not None, "it came later than that"

    play(scene())


def test_nothing_is_swept_while_redis_is_away_or_others_are_not_heard(server: RedisServer) -> None:
    async def scene() -> None:
        async with world(server.url) as own:
            await own.put("x")
            own.sweep.is_current = lambda: False
            own.sweep.add([Purge.of("all")], own=True)
            await own.sweep._sweep()
            assert own.swept == []
            own.sweep.is_current = lambda: True
            await own.sweeps()
            assert await own.find("x") is None

        async with world("redis://127.0.0.1:1") as away:
            away.sweep.add([Purge.of("all")], own=True)
            await away.sweep._sweep()
            assert (away.swept, len(away.sweep.unswept)) == ([], 1)

    play(scene())


def test_too_many_become_one_of_everything(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sweep, "_MOST", 3)

    async def scene() -> None:
        async with world(server.url) as own:
            own.sweep.add([Purge.of("url", f"/{number}") for number in range(4)], own=True)
            assert [purge.kind for purge in own.sweep.unswept] == ["all"]

    play(scene())
