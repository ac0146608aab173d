"""The cache's store in Redis, as tests use it: alone, or two of them as of two gateways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from portico.net.redis.connection import connect_sync
from portico.net.redis.links import link_to
from portico.proxy.cache.redis_store import RedisStore
from portico.proxy.cache.stored import PIECE, Resource, Stored
from support.redis_servers import RedisServer
from support.stored import asked, key_of, resource, response
from support.waiting import others_end

MIB = 1 << 20


@asynccontextmanager
async def store_at(url: str, timeout: float = 5.0, most: int = 64 * MIB) -> AsyncIterator[RedisStore]:
    store = RedisStore(link_to(url), timeout, most, asyncio.get_running_loop())
    try:
        await store.start()
        yield store
    finally:
        store.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def to_the_end() -> None:
        await scenario
        await others_end()

    uvloop.run(to_the_end())


async def look(
    store: RedisStore, name: str, *lines: bytes, asker: bytes | None = None
) -> tuple[Resource | None, Stored | None]:
    found: asyncio.Future[tuple[Resource | None, Stored | None]] = asyncio.get_running_loop().create_future()
    store.look_up(key_of(name), asked(*lines), asker, lambda *outcome: found.set_result(outcome))
    return await asyncio.wait_for(found, 10)


async def find(store: RedisStore, name: str, *lines: bytes, asker: bytes | None = None) -> Stored | None:
    return (await look(store, name, *lines, asker=asker))[1]


async def content(stored: Stored | None) -> bytes | None:
    return None if stored is None else b"".join([await stored.body.piece(n) for n in range(stored.body.count)])


async def put(store: RedisStore, name: str, body: bytes = b"hello", *lines: bytes, **parts: Any) -> Stored:
    """Store a response, its body in parts of all sizes, and wait for Redis to have it."""
    stored = response(b"", *lines, **parts)
    writer = store.writer((await look(store, name))[0] or resource(name), stored)
    start, dice = 0, random.Random(len(body))
    while start < len(body):
        end = start + dice.choice((1, 1000, PIECE, 3 * PIECE))
        writer.feed(body[start:end])
        start = end
        while store.pending > MIB:
            await asyncio.sleep(0)
    writer.commit()
    await settled(store)
    return stored


async def settled(store: RedisStore) -> None:
    """Redis has done all that it was asked to."""
    while store.pending or store._running:
        await asyncio.sleep(0.001)


async def usage(store: RedisStore) -> tuple[int, int, int]:
    """Bytes, variants, and how many were evicted."""
    found = await store.usage()
    assert found is not None
    return found


def all_expire(server: RedisServer) -> bool:
    client = connect_sync(server.url, timeout=5)
    try:
        return all(client.pttl(name) > 0 for name in names_in(server))
    finally:
        client.close()


def names_in(server: RedisServer) -> list[bytes]:
    client = connect_sync(server.url, timeout=5)
    try:
        return sorted(client.keys("portico:cache:*"))  # type: ignore[arg-type]
    finally:
        client.close()


def entries_in(server: RedisServer) -> list[bytes]:
    """Names of what is stored; those of what is known about it, and of probes, left out."""
    ends = (b":sizes", b":new", b":old", b":due", b":probe")
    return [name for name in names_in(server) if not name.endswith(ends)]
