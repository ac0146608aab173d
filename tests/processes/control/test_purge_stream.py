"""Purges between gateways, over a real Redis that comes and goes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from portico.processes.control import purge_stream
from portico.processes.control.purge_stream import STREAM, PurgeStream
from portico.proxy.cache.purges import Purge
from support.redis_process import RedisProcess, SlowWay
from support.redis_servers import cluster

TIMEOUT = 20.0
DOCS = Path(__file__).parents[3] / "docs"


class End:
    """One gateway's end of the stream, and what it receives."""

    def __init__(self, url: str) -> None:
        self.purges: list[Purge] = []
        self.missed = 0
        self.swept: list[float] = []
        self.stream = PurgeStream(url, self.purges.extend, self._miss, self.swept.append)

    def _miss(self) -> None:
        self.missed += 1

    async def receives(self, count: int) -> list[str]:
        """The values of the purges that came, once there are so many."""
        while len({purge.id for purge in self.purges}) < count:
            await asyncio.sleep(0.01)
        return [purge.value for purge in {purge.id: purge for purge in self.purges}.values()]


def play(url: str, scene: Callable[[End, End], Awaitable[None]]) -> None:
    async def both() -> None:
        one, other = End(url), End(url)
        try:
            await scene(one, other)
        finally:
            await one.stream.close()
            await other.stream.close()

    asyncio.run(asyncio.wait_for(both(), TIMEOUT))


@pytest.fixture(scope="module")
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


@pytest.fixture(autouse=True)
def empty(store: RedisProcess) -> None:
    store.client.delete(STREAM)


def urls(*names: str) -> list[Purge]:
    return [Purge.of("url", f"/{name}") for name in names]


def test_others_get_every_purge_once_and_its_own_gateway_none(store: RedisProcess) -> None:
    async def scene(one: End, other: End) -> None:
        first, second = urls("a", "b"), [Purge.of("tag", "t", soft=True)]
        one.stream.add(first)
        assert await one.stream.all_sent(TIMEOUT)
        assert await other.receives(2) == ["/a", "/b"]
        other.stream.add(second)
        assert await one.receives(1) == ["t"]
        one.stream.add(urls("c"))
        assert await other.receives(3) == ["/a", "/b", "/c"]
        received = one.purges[0]
        assert (received.soft, received.id, len(other.purges), len(one.purges)) == (True, second[0].id, 3, 1)
        assert second[0].at <= received.at < time.time() + 1

    play(store.url, scene)
    assert store.client.ttl(STREAM) > 0


def test_hundreds_go_together(store: RedisProcess) -> None:
    async def scene(one: End, other: End) -> None:
        for number in range(500):
            one.stream.add(urls(str(number)))
        assert await other.receives(500) == [f"/{number}" for number in range(500)]

    play(store.url, scene)
    assert store.client.xlen(STREAM) <= 10


def test_a_gateway_that_comes_later_reads_what_there_is(store: RedisProcess) -> None:
    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("a"))
        assert await one.stream.all_sent(TIMEOUT)
        late = End(store.url)
        assert await late.receives(1) == ["/a"]
        await late.stream.close()

    play(store.url, scene)


def test_others_hear_of_a_sweep(store: RedisProcess) -> None:
    async def scene(one: End, other: End) -> None:
        one.stream.add_swept(1000.0)
        while not other.swept:
            await asyncio.sleep(0.01)
        assert 999 < other.swept[0] < 1000, "rather less than too much"
        assert (one.swept, other.purges, other.stream.is_current) == ([], [], True)

    play(store.url, scene)


def test_it_needs_no_more_than_its_acl_says(store: RedisProcess) -> None:
    allowed = re.search(r"Its ACL: `(.*portico:cache:\* \+xadd.*)`", (DOCS / "redis.md").read_text())
    assert allowed
    store.client.execute_command("ACL", "SETUSER", "gateway", "reset", "on", ">secret", *allowed[1].split())

    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("a"))
        assert await other.receives(1) == ["/a"]

    play(f"redis://gateway:secret@127.0.0.1:{store.port}", scene)


def test_what_a_gateway_does_not_understand_ends_nothing(store: RedisProcess) -> None:
    async def scene(one: End, other: End) -> None:
        await other.receives(0)
        for fields in ({"entry": b"\xff"}, {"x": "y"}, {"entry": msgspec.msgpack.encode({"gateway": 1})}):
            store.client.xadd(STREAM, fields)
        one.stream.add(urls("a"))
        assert await other.receives(1) == ["/a"]

    play(store.url, scene)


def test_a_purge_while_redis_is_away_comes_when_it_is_back(
    store: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection breaks at its own time; the server that is back is another one, and empty."""
    monkeypatch.setattr(purge_stream, "_RETRY", 0.02)

    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("before"))
        await other.receives(1)
        port = way.to
        way.to = 1
        store.client.client_kill_filter(_type="normal", skipme=True)
        store.client.delete(STREAM)
        while one.stream.up or other.stream.up:
            await asyncio.sleep(0.01)
        one.stream.add(urls("meanwhile"))
        assert not await one.stream.all_sent(0.05)
        way.to = port
        assert await one.stream.all_sent(TIMEOUT)
        assert await other.receives(2) == ["/before", "/meanwhile"]
        fresh = End(store.url)
        assert sorted(await fresh.receives(2)) == ["/before", "/meanwhile"], "one that was lost is repeated"
        await fresh.stream.close()
        assert (one.missed, other.missed) == (0, 0)

    with SlowWay(store.port) as way:
        play(f"redis://127.0.0.1:{way.port}", scene)


def test_a_gateway_that_was_away_for_too_long_knows(store: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_stream, "_RETRY", 0.02)

    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("a"))
        await other.receives(1)
        monkeypatch.setattr(purge_stream, "_KEPT", 0)
        store.client.client_kill_filter(_type="normal", skipme=True)
        while not (one.missed and other.missed and one.stream.up and other.stream.up):
            await asyncio.sleep(0.01)

    play(store.url, scene)


def test_too_many_that_wait_become_one_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_stream, "_MOST", 3)

    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("a", "b", "c", "d"))
        assert [purge.kind for purge in one.stream._unsent] == ["all"]

    play("redis://127.0.0.1:1", scene)


def test_in_a_cluster() -> None:
    async def scene(one: End, other: End) -> None:
        one.stream.add(urls("a"))
        assert await other.receives(1) == ["/a"]
        other.stream.add(urls("b"))
        assert await one.receives(1) == ["/b"]

    with cluster() as nodes:
        play(f"redis+cluster://127.0.0.1:{nodes[0].port}", scene)
