"""The cache's store in Redis, with a real server: what is found is what was stored."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator

import pytest

from portico.net.redis.connection import connect_sync
from portico.proxy.cache.stored import PIECE, BodyLostError, Resource, Stored
from support.cache_store import (
    MIB,
    all_expire,
    content,
    entries_in,
    find,
    look,
    names_in,
    put,
    run,
    settled,
    store_at,
    usage,
)
from support.redis_servers import RedisServer
from support.stored import key_of, lines_of, resource, response
from support.waiting import until

TEXT = b"Content-Type: application/json"


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer(unix=True) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.ask("FLUSHALL")
    return shared


# ---- what is stored


@pytest.mark.parametrize("size", [0, 5, 20_000, PIECE, PIECE + 1, 10 * PIECE + 7])
def test_what_is_found_is_what_was_stored(server: RedisServer, size: int) -> None:
    """By the gateway that stored it, before it knows it and after; and by another one."""
    body = os.urandom(size)

    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            stored = await put(store, "a", body, b"X-A: b", etag=b'"a"', tags=frozenset({b"tag:x"}))
            for each in (store, store, other, other):
                own, found = await look(each, "a")
                assert own is not None
                assert found is not None
                assert (own.key, own.url, own.service) == (key_of("a"), b"http://localhost/a", "items")
                assert await content(found) == body
                assert lines_of(found) == [b"X-A: b", b"Content-Length: %d" % size]
                assert found.head.framing == size
                assert (found.etag, found.lifetime, sorted(found.tags)) == (b'"a"', 60.0, [b"tag:x"])
                assert abs(found.since - stored.since) < 0.1
                assert await find(each, "b") is None
            assert (other.hits, other.misses, other.failures) == (2, 2, 0)

    run(scenario())
    assert all_expire(server)


def test_text_is_compressed_and_other_content_is_not(server: RedisServer) -> None:
    text = json.dumps([{"id": number, "name": f"item {number}"} for number in range(6000)]).encode()
    assert len(text) > 3 * PIECE

    async def scenario() -> None:
        async with store_at(server.url) as store:
            sizes = []
            for name, body, lines in (
                ("plain", text, ()),
                ("text", text, (TEXT,)),
                ("coded", text, (TEXT, b"Content-Encoding: gzip")),
                ("short", text[:20_000], ()),
                ("short text", text[:20_000], (TEXT,)),
            ):
                before = (await usage(store))[0]
                await put(store, name, body, *lines)
                assert await content(await find(store, name)) == body
                sizes.append((await usage(store))[0] - before)
            plain, text_size, coded, short, short_text = sizes
            assert text_size < plain / 4
            assert short_text < short / 4
            assert coded > len(text)

    run(scenario())


def test_variants_are_found_by_what_they_vary_on(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            for language in (b"de", b"en", b"fr"):
                await put(store, "a", language * 1000, vary=((b"accept-language", language),))
            await put(store, "a", b"own", is_shared=False, asker=b"me")
            for each in (other, other, store):
                for language in (b"de", b"en", b"fr"):
                    found = await find(each, "a", b"Accept-Language: " + language)
                    assert await content(found) == language * 1000
                assert await find(each, "a", b"Accept-Language: xx") is None
                assert await content(await find(each, "a", asker=b"me")) == b"own"
                assert await find(each, "a", asker=b"you") is None
            await put(other, "a", b"new", vary=((b"accept-language", b"en"),))
            assert await content(await find(store, "a", b"Accept-Language: en")) == b"new"
            assert await content(await find(store, "a", b"Accept-Language: de")) == b"de" * 1000
            own, _ = await look(store, "a")
            assert own is not None
            assert len(own.variants) == 4

    run(scenario())


def test_many_large_variants_do_not_come_all_at_once(server: RedisServer) -> None:
    """What is needed comes with a second question, once."""

    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            bodies = {b"%d" % number: os.urandom(60_000) for number in range(10)}
            for name, body in bodies.items():
                await put(store, "a", body, vary=((b"x-variant", name),))
            for name, body in bodies.items():
                assert await content(await find(other, "a", b"X-Variant: " + name)) == body
            known = other.known.get(key_of("a"))
            assert known is not None
            assert all(each.body.pieces for each in known.resource.variants)

    run(scenario())


def test_look_ups_of_one_turn_are_one_command(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            for number in range(50):
                await put(store, f"{number}", b"%d" % number)
            for _ in range(2):
                before = commands(server)
                found = await asyncio.gather(*(find(store, f"{number}") for number in range(50)))
                assert commands(server) - before == 1
                assert [await content(each) for each in found] == [b"%d" % number for number in range(50)]

    run(scenario())


def commands(server: RedisServer) -> int:
    return int(server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"])


def test_what_is_known_is_said_to_be_the_same(server: RedisServer) -> None:
    """The objects are those of the first hit, and Redis sends none of them again."""

    async def scenario() -> None:
        async with store_at(server.url) as store:
            await put(store, "a", b"x" * 50_000)
            first = await find(store, "a")
            sent = server.ask("INFO", "stats")["total_net_output_bytes"]
            for _ in range(10):
                assert await find(store, "a") is first
            assert server.ask("INFO", "stats")["total_net_output_bytes"] - sent < 20_000

    run(scenario())


def test_a_304_changes_the_head_and_keeps_the_body(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            for size in (5, 3 * PIECE):
                body = os.urandom(size)
                await put(store, "a", body, b"X-A: old", etag=b'"a"', since=time.monotonic() - 100)
                own, found = await look(other, "a")
                assert own is not None
                assert found is not None
                new = response(b"", b"X-A: new", etag=b'"a"', lifetime=120.0)
                new.body, new.head.framing = found.body, size
                other.refresh(own, new)
                await settled(other)
                for each in (store, other):
                    found = await find(each, "a")
                    assert found is not None
                    assert b"X-A: new" in lines_of(found)
                    assert (found.lifetime, await content(found)) == (120.0, body)
                    assert time.monotonic() - found.since < 10
                await put(store, "a", b"another body", b"X-A: newest")
                other.refresh(own, new)
                await settled(other)
                assert await content(await find(other, "a")) == b"another body", "it was of the one before"

    run(scenario())


def test_what_is_removed_is_gone_for_all(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            for size in (5, 3 * PIECE):
                await put(store, "a", bytes(size), vary=((b"x-variant", b"1"),))
                await put(store, "a", bytes(size), vary=((b"x-variant", b"2"),))
                own, found = await look(other, "a", b"X-Variant: 1")
                assert own is not None
                assert found is not None
                store.drop(own, found)
                await settled(store)
                assert await find(other, "a", b"X-Variant: 1") is None
                assert await find(other, "a", b"X-Variant: 2") is not None
                store.discard(key_of("a"))
                await settled(store)
                assert await find(other, "a", b"X-Variant: 2") is None
                assert await usage(store) == (0, 0, 0)
                store.discard(key_of("a"))
                store.discard(key_of("never"))
                await settled(store)

    run(scenario())


def test_a_sweep_goes_through_all(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            for number in range(300):
                parity = b"tag:even" if number % 2 == 0 else b"tag:odd"
                await put(store, f"{number}", b"%d" % number, tags=frozenset({parity}))
            seen: set[bytes] = set()

            def judge(stored: Stored, own: Resource) -> Stored | None:
                seen.add(own.url)
                return None if b"tag:even" in stored.tags else stored

            assert await store.sweep(judge) == 150
            await settled(store)
            assert len(seen) == 300
            found = [await find(store, f"{number}") for number in range(300)]
            assert [each is None for each in found] == [number % 2 == 0 for number in range(300)]
            assert (await usage(store))[1] == 150

    run(scenario())


# ---- what is not complete, or not ours


def test_nothing_is_seen_of_a_body_that_is_not_complete(server: RedisServer) -> None:
    """Whatever of it is in Redis already; and once it was given up, nothing is left."""

    async def scenario() -> None:
        async with store_at(server.url) as store, store_at(server.url) as other:
            await put(store, "a", b"the one before")
            for size in (0, 5, 5 * PIECE):
                writer = store.writer(resource("a"), response(b""))
                writer.feed(bytes(size))
                await settled(store)
                for each in (store, other):
                    assert await content(await find(each, "a")) == b"the one before"
                assert bool(entries_in(server)[1:]) == (size > PIECE)
                assert all_expire(server)
                writer.abort()
                writer.feed(b"more")
                writer.commit()
                await settled(store)
                assert await content(await find(other, "a")) == b"the one before"
                assert len(entries_in(server)) == 1
            await put(store, "a", b"the one after")
            assert await content(await find(other, "a")) == b"the one after"
            assert (await usage(store))[1] == 1

    run(scenario())


def test_what_a_gateway_left_unfinished_is_removed_by_others(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            async with store_at(server.url) as dying:
                dying.writer(resource("a"), response(b"")).feed(bytes(5 * PIECE))
                await settled(dying)
            assert (await usage(store))[0] > 4 * PIECE
            due = next(name for name in names_in(server) if name.endswith(b"due"))
            make_due = "redis.call('ZADD', KEYS[1], 0, redis.call('ZRANGE', KEYS[1], 0, 0)[1])"
            server.ask("EVAL", make_due, 1, due.decode())
            await put(store, "a")  # of the same shard
            assert (await usage(store))[0] < PIECE
            assert len(entries_in(server)) == 1

    run(scenario())


def test_what_is_too_large_is_given_up(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url, most=16 * MIB) as store:
            assert store.most_object == MIB // 4
            for size in (store.most_object, store.most_object + 1):
                await put(store, f"{size}", bytes(size))
                assert (await find(store, f"{size}") is None) == (size > store.most_object)
            writer = store.writer(resource("endless"), response(b""))
            for _ in range(1000):
                writer.feed(bytes(PIECE))
                assert store.pending <= store.most_object
            writer.commit()
            await settled(store)
            assert await find(store, "endless") is None
            assert (await usage(store))[1] == 1

    run(scenario())


def test_writing_waits_for_nobody_and_holds_little(server: RedisServer) -> None:
    """A Redis that takes nothing: what cannot be stored is given up, and the rest is stored once it goes on."""

    async def scenario() -> None:
        async with store_at(server.url, most=1024 * MIB) as store:
            await put(store, "before")
            with server.stopped():
                for number in range(300):
                    writer = store.writer(resource(f"{number}"), response(b""))
                    for _ in range(5):
                        writer.feed(bytes(PIECE))
                    writer.commit()
                    assert store.pending < 5 * MIB
            await settled(store)
            assert store.pending == 0
            await put(store, "after")
            assert await find(store, "after") is not None

    run(scenario())


def fields_in(server: RedisServer) -> dict[bytes, bytes]:
    client = connect_sync(server.url, timeout=5)
    try:
        return dict(client.hgetall(entries_in(server)[0]))  # type: ignore[arg-type]
    finally:
        client.close()


def change(server: RedisServer, field: bytes, value: bytes) -> None:
    """Set a field of the one hash that is there, as if it had always been so."""
    client = connect_sync(server.url, timeout=5)
    try:
        client.hset(entries_in(server)[0], field, value)
    finally:
        client.close()


def test_whatever_is_damaged_is_a_miss_and_is_replaced(server: RedisServer) -> None:
    """Any byte of any field, cut short, emptied, another's; the other variant is found all the same."""
    dice = random.Random(1)

    async def scenario() -> None:
        async with store_at(server.url) as store:
            await put(store, "other", b"of another key", vary=((b"x-variant", b"1"),))
            foreign = fields_in(server)
            server.ask("FLUSHALL")
            await put(store, "a", b"good", vary=((b"x-variant", b"2"),))
            healthy = fields_in(server)
            await put(store, "a", b"x" * 500, vary=((b"x-variant", b"1"),))
            for field, value in fields_in(server).items():
                if field in healthy or field[:1] == b"u":
                    continue
                kind = next(key for key in foreign if key[:1] == field[:1])
                places = [dice.randrange(len(value)) for _ in range(20)]
                changes = [value[:n] + bytes((value[n] ^ 4,)) + value[n + 1 :] for n in places]
                for damaged in (*changes, value[: len(value) // 2], b"", b"x", value + b"x", foreign[kind]):
                    change(server, field, damaged)
                    store.known.discard(key_of("a"))
                    found = await find(store, "a", b"X-Variant: 1")
                    if found is not None:  # the field is read apart from the rest
                        assert damaged == b""
                    assert await content(await find(store, "a", b"X-Variant: 2")) == b"good"
                await put(store, "a", b"again", vary=((b"x-variant", b"1"),))
                assert await content(await find(store, "a", b"X-Variant: 1")) == b"again"
                await put(store, "a", b"x" * 500, vary=((b"x-variant", b"1"),))

    run(scenario())


def test_whatever_else_has_its_name_is_a_miss_and_is_replaced(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            await put(store, "a")
            (name,) = entries_in(server)
            client = connect_sync(server.url, timeout=5)
            try:
                for make in (
                    lambda: client.set(name, "text"),
                    lambda: client.rpush(name, "item"),
                    lambda: client.hset(name, "v", "1"),
                    lambda: client.hset(name, mapping={"v": "1", "m": "", "mx": "x", "b": "y", "": "z", "q": "1"}),
                    lambda: client.hset(name, "mx", "x"),
                ):
                    client.delete(name)
                    make()
                    for _ in range(2):
                        assert await find(store, "a") is None
                    await put(store, "a", b"again")
                    assert await content(await find(store, "a")) == b"again"
            finally:
                client.close()

    run(scenario())


def test_a_body_whose_pieces_are_lost(server: RedisServer) -> None:
    """Without the first it is a miss; without a later one that is said when it is needed, and never passed over."""

    async def scenario() -> None:
        async with store_at(server.url) as store:
            for lost in (0, 2):
                body = os.urandom(4 * PIECE)
                await put(store, "a", body)
                piece = next(name for name in entries_in(server) if name.endswith(b"%d" % lost) and len(name) > 40)
                client = connect_sync(server.url, timeout=5)
                client.setrange(piece, 1000, b"damaged")
                client.close()
                found = await find(store, "a")
                assert (found is None) == (lost == 0)
                if found is not None:
                    assert [await found.body.piece(n) for n in (0, 1)] == [body[:PIECE], body[PIECE : 2 * PIECE]]
                    with pytest.raises(BodyLostError):
                        await found.body.piece(2)
                server.ask("FLUSHALL")

    run(scenario())


def test_who_reads_a_body_that_is_replaced_reads_it_to_its_end(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            body = os.urandom(4 * PIECE)
            await put(store, "a", body)
            found = await find(store, "a")
            assert found is not None
            await put(store, "a", os.urandom(4 * PIECE))
            store.discard(key_of("a"))
            await settled(store)
            assert await content(found) == body
            assert all_expire(server)

    run(scenario())


# ---- its bound


def test_it_keeps_within_its_bytes_and_keeps_what_is_asked_for(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url, most=4 * MIB) as store:
            dice = random.Random(1)
            popular = [f"popular-{number}" for number in range(30)]
            for name in popular:
                await put(store, name, b"x" * 2000)
                await find(store, name)
            for number in range(1500):
                size = dice.choice((10, 1000, 5000, 20_000, store.most_object))
                writer = store.writer(resource(f"once-{number}"), response(b""))
                writer.feed(os.urandom(size))
                writer.commit()
                if number % 20 == 0:
                    await settled(store)
                    for name in popular:
                        await find(store, name)
                    used, _, _ = await usage(store)
                    assert used <= 4 * MIB + MIB // 8
            used, count, evicted = await usage(store)
            assert used > 2 * MIB
            assert evicted > 500
            found = [await find(store, name) for name in popular]
            assert all(each is not None for each in found)
            stored = sum(len(name) > 30 and len(name) < 40 for name in entries_in(server))
            assert abs(count - stored) <= 1
            memory = server.ask("INFO", "memory")["used_memory_dataset"]
            assert memory < 1.5 * used

    run(scenario())


def test_what_expired_takes_no_room(server: RedisServer) -> None:
    async def scenario() -> None:
        async with store_at(server.url) as store:
            for number in range(40):
                await put(store, f"{number}", bytes(50_000), lifetime=0.0)  # kept for a second
            used, count, _ = await usage(store)
            assert (used > 40 * 50_000, count) == (True, 40)
            await asyncio.to_thread(until, lambda: len(entries_in(server)) == 0, "they expire")
            for number in range(100):
                await put(store, f"new-{number}", b"x")
            used, count, _ = await usage(store)
            assert used < 50_000 * 5
            assert count < 105

    run(scenario())


def test_what_is_known_of_a_shard_may_be_lost(server: RedisServer) -> None:
    """Redis itself may evict any key: the store works on, and its counts become true again."""

    async def scenario() -> None:
        async with store_at(server.url, most=2 * MIB) as store:
            dice = random.Random(1)
            for number in range(400):
                await put(store, f"{number % 200}", os.urandom(dice.choice((10, 5000, store.most_object))))
                names = names_in(server)
                if number % 50 == 49:
                    client = connect_sync(server.url, timeout=5)
                    client.delete(*dice.sample(names, 5))
                    client.close()
            await put(store, "last", b"last")
            assert await content(await find(store, "last")) == b"last"
            memory = server.ask("INFO", "memory")["used_memory_dataset"]
            assert memory < 6 * MIB

    run(scenario())
