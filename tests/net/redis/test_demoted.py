"""Servers that say they do not serve: the next connection goes to whatever is at the address by then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing
from typing import Any

import pytest
from redis.exceptions import RedisError, ResponseError

from portico.client.registry import AsyncServiceRegistry, ServiceRegistry
from portico.net.redis.connection import connect, failures, reason

REPLIES = [
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "LOADING Redis is loading the dataset in memory",
    "NOAUTH Authentication required.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Errors writing to the AOF file.",
    "CLUSTERDOWN The cluster is down",
    "MOVED 3999 127.0.0.1:6381",
]
_WELL = {b"PING": b"+PONG", b"SET": b"+OK"}


class Servers:
    """One address; the first `demoted` connections are to a server that gives `reply` to all but PING.

    Later ones are to another server.
    """

    def __init__(self, reply: str, demoted: int = 1) -> None:
        self.reply = reply
        self.demoted = demoted
        self.opened = self.open = 0
        self.url = ""
        self.refuses_ping = False
        self.serving: list[Any] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        self.opened, self.open = self.opened + 1, self.open + 1
        is_demoted = self.opened <= self.demoted
        while (head := await reader.readline()).startswith(b"*"):
            words = []
            for _ in range(int(head[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip())
            if words[0] == b"PING" and not self.refuses_ping:
                answer = b"+PONG"
            elif is_demoted:
                answer = b"-" + self.reply.encode()
            else:
                answer = _WELL.get(words[0], b":1")
            writer.write(answer + b"\r\n")
        self.open -= 1
        writer.close()


@asynccontextmanager
async def at_one_address(reply: str, demoted: int = 1) -> AsyncIterator[Servers]:
    servers = Servers(reply, demoted)
    listening = await asyncio.start_server(servers.serve, "127.0.0.1", 0)
    servers.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield servers
    finally:
        listening.close()
        await asyncio.gather(*servers.serving)


def run(scenario: Callable[[Servers], Any], reply: str, demoted: int = 1) -> None:
    async def go() -> None:
        async with asyncio.timeout(10), at_one_address(reply, demoted) as servers:
            await scenario(servers)

    asyncio.run(go())


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply.partition(" ")[0])
def test_a_command_that_the_server_refuses_to_run_is_run_by_the_one_that_took_over(reply: str) -> None:
    async def scenario(servers: Servers) -> None:
        async with aclosing(connect(servers.url, timeout=5)) as client:
            assert await client.set("key", "value")
            assert (servers.opened, servers.open) == (2, 1)

        servers.opened = 0
        with closing(ServiceRegistry(servers.url)) as registry:
            await asyncio.to_thread(registry.register, "orders", "http://127.0.0.1:8001")
            assert await asyncio.to_thread(registry.heartbeat, "orders")
            await asyncio.to_thread(registry.deregister, "orders")
            assert servers.opened == 2

    run(scenario, reply)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply.partition(" ")[0])
def test_every_attempt_is_a_new_connection_while_nobody_has_taken_over(reply: str) -> None:
    async def scenario(servers: Servers) -> None:
        registry = AsyncServiceRegistry(servers.url)
        async with aclosing(registry.redis):
            for _ in range(2):
                with pytest.raises(failures()) as raised:
                    await registry.register("orders", "http://127.0.0.1:8001")
                assert reason(raised.value).endswith(reply.partition(" ")[2])
            await registry.register("orders", "http://127.0.0.1:8001")
            assert await registry.heartbeat("orders")
            assert servers.opened == 5

    run(scenario, reply, demoted=4)


def test_a_pipeline_too() -> None:
    async def scenario(servers: Servers) -> None:
        client: Any = connect(servers.url, timeout=5)
        async with aclosing(client):
            pipeline = client.pipeline(transaction=False)
            pipeline.set("key", "value").set("other", "value")
            assert await pipeline.execute(raise_on_error=False) == [True, True]

    run(scenario, REPLIES[1])


def test_a_server_that_refuses_even_ping() -> None:
    async def scenario(servers: Servers) -> None:
        servers.refuses_ping = True
        registry = AsyncServiceRegistry(servers.url)
        async with aclosing(registry.redis):
            await registry.register("orders", "http://127.0.0.1:8001")
            assert servers.opened == 2

    run(scenario, "LOADING Redis is loading the dataset in memory")


@pytest.mark.parametrize("reply", ["NOPERM this user has no permissions", "WRONGTYPE Operation against a key", "ERR x"])
def test_what_is_wrong_with_the_command_costs_no_connection(reply: str) -> None:
    async def scenario(servers: Servers) -> None:
        async with aclosing(connect(servers.url, timeout=5)) as client:
            for _ in range(2):
                with pytest.raises((ResponseError, RedisError)):
                    await client.set("key", "value")
            assert servers.opened == 1

    run(scenario, reply)
