"""The cache's store while Redis is away, hangs, is slow, refuses, or is another one.

No look-up waits longer than the timeout, most do not wait at all; then there are hits again; one event at each end.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from portico.proxy.cache.redis_place import PREFIXES, SHARDS, Place
from portico.proxy.cache.redis_store import RedisStore
from portico.proxy.cache.stored import PIECE, BodyLostError
from support.cache_store import MIB, content, find, look, put, run, settled, store_at, usage
from support.redis_process import SlowWay
from support.redis_servers import RedisServer, cluster, fail_over, master_and_replica, watched_pair
from support.stored import key_of, resource, response

DOWN = "Redis does not serve the cache: every look-up there is a miss"
UP = "Redis serves the cache again"
BACK_WITHIN = 2.0
TIMEOUT = 0.05
"""Seconds for which a look-up may wait here: on a busy machine ten milliseconds pass without any reason."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as own:
        yield own


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "portico.cache"]


@pytest.fixture(autouse=True)
def _all_events(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "portico.cache")


async def outage(store: RedisStore) -> None:
    """Look up until it is known that Redis does not serve, and then on: nobody waits, nobody is failed."""
    async with asyncio.timeout(20):
        while store.is_up:
            assert await find(store, "a") is None
    before = store.failures
    for _ in range(1000):
        assert await find(store, "a") is None
    assert store.failures == before + 1000


async def recovery(store: RedisStore, name: str = "a") -> float:
    """Seconds until it is found again; it is stored anew where it is lost."""
    began = time.monotonic()
    async with asyncio.timeout(20):
        while await find(store, name) is None:
            await asyncio.sleep(0.01)
            if store.is_up:
                await put(store, name)
    return time.monotonic() - began


def test_it_is_killed_and_started_again_empty(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with store_at(server.url, TIMEOUT) as store, store_at(server.url, TIMEOUT) as other:
            await put(store, "a", bytes(3 * PIECE))
            found = await find(store, "a")
            assert found is not None
            server.kill()
            for each in (store, other):
                await outage(each)
            with pytest.raises(BodyLostError):
                await found.body.piece(1)
            writer = store.writer(resource("b"), response(b""))
            writer.feed(bytes(3 * PIECE))
            writer.commit()
            assert store.pending == 0
            server.start()
            began = time.monotonic()
            await asyncio.gather(recovery(store), recovery(other))
            assert time.monotonic() - began < BACK_WITHIN

    run(scenario())
    assert events(caplog) == [DOWN, DOWN, UP, UP]


def test_it_is_killed_amid_many_look_ups_and_writes(server: RedisServer) -> None:
    """Each look-up ends, once; nothing is left of what was under way."""

    async def scenario() -> None:
        async with store_at(server.url, TIMEOUT) as store:
            for number in range(50):
                await put(store, f"{number}")
            looking = [asyncio.ensure_future(find(store, f"{number}")) for number in range(50)]
            writers = [store.writer(resource(f"new-{number}"), response(b"")) for number in range(10)]
            for writer in writers:
                writer.feed(bytes(3 * PIECE))
            await asyncio.sleep(0)
            server.kill()
            await asyncio.gather(*looking)
            for writer in writers:
                writer.feed(bytes(3 * PIECE))
                writer.commit()
            await outage(store)
            assert store.pending == 0
            assert not store._running

    run(scenario())


def test_it_hangs(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """As one that is stopped, or whose network takes nothing on. After a moment no look-up waits any more."""

    async def scenario() -> None:
        async with store_at(server.url, TIMEOUT) as store:
            await put(store, "a")
            with server.stopped():
                waited = []
                while store.is_up:
                    began = time.monotonic()
                    await find(store, "a")
                    waited.append(time.monotonic() - began)
                assert len(waited) < 20
                await outage(store)
                await asyncio.sleep(1.5)  # the connection is given up meanwhile
                await outage(store)
            assert await recovery(store) < BACK_WITHIN
            assert await find(store, "a") is not None

    run(scenario())
    assert events(caplog) == [DOWN, UP]


def test_it_is_slow(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(way: SlowWay) -> None:
        async with store_at(f"redis://127.0.0.1:{way.port}", TIMEOUT) as store:
            await put(store, "a")
            way.delay = 0.3
            await outage(store)
            way.delay = 0.0
            assert await recovery(store) < BACK_WITHIN

    with SlowWay(server.port) as way:
        run(scenario(way))
    assert events(caplog) == [DOWN, UP]


def test_a_single_late_answer_is_a_miss_and_no_outage(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with store_at(server.url, TIMEOUT) as store:
            await put(store, "a")
            with server.stopped():
                assert await find(store, "a") is None
            assert await find(store, "a") is not None

    run(scenario())
    assert events(caplog) == []


def test_it_is_not_there_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: RedisServer) -> None:
        async with store_at(server.url, TIMEOUT) as store:
            await outage(store)
            server.start()
            assert await recovery(store) < BACK_WITHIN

    server = RedisServer()
    try:
        run(scenario(server))
    finally:
        server.end()
    assert events(caplog) == [DOWN, UP]


def test_it_is_emptied(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Its scripts too, and while a body is under way."""

    async def scenario() -> None:
        async with store_at(server.url) as store:
            await put(store, "a", bytes(3 * PIECE))
            found = await find(store, "a")
            assert found is not None
            writer = store.writer(resource("b"), response(b""))
            writer.feed(bytes(3 * PIECE))
            await settled(store)
            server.ask("FLUSHALL")
            server.ask("SCRIPT", "FLUSH")
            writer.feed(bytes(3 * PIECE))
            writer.commit()
            await settled(store)
            assert await find(store, "b") is None
            assert await find(store, "a") is None
            with pytest.raises(BodyLostError):
                await found.body.piece(2)
            await put(store, "a", b"again")
            assert await content(await find(store, "a")) == b"again"

    run(scenario())
    assert events(caplog) == []


def test_it_may_not_be_written_to_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """It was demoted: what is at its address is asked again, until that takes something."""

    async def scenario(old: RedisServer, new: RedisServer, way: SlowWay) -> None:
        async with store_at(f"redis://127.0.0.1:{way.port}", TIMEOUT) as store:
            await put(store, "a")
            new.ask("REPLICAOF", "NO", "ONE")
            old.ask("REPLICAOF", "127.0.0.1", new.port)
            assert await find(store, "a") is not None, "it can be read"
            await put(store, "b")
            await outage(store)
            way.to = new.port
            assert await recovery(store) < BACK_WITHIN
            await put(store, "b")
            assert await find(store, "b") is not None

    with master_and_replica() as (old, new), SlowWay(old.port) as way:
        run(scenario(old, new, way))
    assert events(caplog) == [DOWN, UP]


def test_it_is_full(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """What it holds is found; for a moment nothing more is sent; then it is tried again."""

    async def scenario() -> None:
        async with store_at(server.url) as store:
            await put(store, "a")
            server.ask("CONFIG", "SET", "maxmemory", "1")
            await put(store, "b")
            assert not store.is_taking
            assert await find(store, "a") is not None
            assert await find(store, "b") is None
            server.ask("CONFIG", "SET", "maxmemory", "0")
            async with asyncio.timeout(10):
                while not store.is_taking:
                    await asyncio.sleep(0.01)
            await put(store, "b")
            assert await find(store, "b") is not None

    run(scenario())
    assert events(caplog) == ["Redis stores nothing for the cache", "Redis stores for the cache again"]


def test_a_user_that_may_do_what_the_documentation_says(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        (Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8").split("## The cache in Redis")[1]
    )
    found = re.search(r"Its ACL: `([^`]+)`", text)
    assert found is not None
    server.ask("ACL", "SETUSER", "some", "on", ">pw", *found[1].split())

    async def scenario() -> None:
        async with store_at(server.url.replace("://", "://some:pw@"), most=2 * MIB) as store:
            for number in range(100):
                await put(store, f"{number}", bytes(25_000), etag=b'"a"')
                await find(store, f"{number}")
            await put(store, "large", bytes(store.most_object))
            assert await find(store, "large") is not None
            own, one = await look(store, "99")
            assert own is not None
            assert one is not None
            store.refresh(own, response(b"", etag=b'"a"').with_body(one.body))
            store.drop(own, one)
            await store.sweep(lambda stored, own: stored)
            await settled(store)
            assert (await usage(store))[2] > 0

    run(scenario())
    assert events(caplog) == []


def test_a_user_that_may_not(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.ask("ACL", "SETUSER", "some", "on", ">pw", "~portico:limit:*", "+@all")

    async def scenario() -> None:
        async with store_at(server.url.replace("://", "://some:pw@")) as store:
            await outage(store)

    run(scenario())
    assert events(caplog) == [DOWN]
    assert "no permissions" in caplog.records[0].__dict__["reason"].lower()


def test_sentinels_name_another_master() -> None:
    async def scenario(url: str, sentinel: RedisServer, replica: RedisServer) -> None:
        async with store_at(url, 1.0) as store:
            await put(store, "a")
            await asyncio.to_thread(fail_over, sentinel, replica)
            async with asyncio.timeout(8):
                while replica.ask("INFO", "replication")["role"] != "master" or await find(store, "b") is None:
                    await put(store, "b")
                    await asyncio.sleep(0.05)
            assert await find(store, "a") is not None

    with watched_pair("pw") as (_, replica, sentinel):
        run(scenario(f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/main", sentinel, replica))


# ---- a Cluster


def test_shards_are_spread_over_the_nodes_of_a_cluster() -> None:
    parts = [key_slot(prefix + b"x") * SHARDS // 16384 for prefix in PREFIXES]
    assert parts == list(range(SHARDS))
    for name in map(str, range(100)):
        place = Place.of(key_of(name))
        slots = {key_slot(key.split(b"\r\n", 1)[1].removesuffix(b"\r\n")) for key in place.keys}
        assert len(slots) == 1, "what one script changes is of one slot"


def test_a_cluster() -> None:
    async def scenario(nodes: list[RedisServer]) -> None:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        async with store_at(url) as store, store_at(url) as other:
            names = [f"{number}" for number in range(60)]
            for name in names:
                await put(store, name, name.encode() * 2000, vary=((b"x-variant", b"1"),))
            await put(store, "large", bytes(5 * PIECE))
            assert all(node.ask("DBSIZE") > 10 for node in nodes)
            for each in (store, other, other):
                found = await asyncio.gather(*(find(each, name, b"X-Variant: 1") for name in names))
                assert [await content(one) for one in found] == [name.encode() * 2000 for name in names]
                assert await content(await find(each, "large")) == bytes(5 * PIECE)
            assert (await usage(store))[1] == 61
            own, one = await look(store, "7", b"X-Variant: 1")
            assert own is not None
            assert one is not None
            store.drop(own, one)
            assert await store.sweep(lambda stored, own: None if own.url.endswith(b"8") else stored) == 6
            await settled(store)
            gone = {name for name in names if await find(other, name, b"X-Variant: 1") is None}
            assert gone == {"7", *(name for name in names if name.endswith("8"))}

    with cluster() as nodes:
        run(scenario(nodes))


def test_a_node_of_a_cluster_is_away() -> None:
    """What it holds is a miss; the rest is found, and stored."""

    async def scenario(nodes: list[RedisServer]) -> None:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        async with store_at(url, TIMEOUT) as store:
            names = [f"{number}" for number in range(60)]
            for name in names:
                await put(store, name)
            nodes[2].kill()
            for _ in range(3):
                found = [name for name in names if await find(store, name) is not None]
                assert 20 < len(found) < 60
            for name in names:
                await put(store, name, b"new")
            assert await content(await find(store, found[0])) == b"new"
            nodes[2].start()
            async with asyncio.timeout(20):
                while any([await find(store, name) is None for name in names]):
                    for name in names:
                        await put(store, name)

    with cluster(cluster_require_full_coverage="no") as nodes:
        run(scenario(nodes))
