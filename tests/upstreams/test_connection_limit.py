"""How many connections an instance has: no more than it may, also when a reload has lowered that number."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from portico.upstreams.host_name import HostName
from portico.upstreams.instance import Address, Instance
from portico.upstreams.named_instance import NamedInstance
from portico.wire.deadlines import Deadlines
from portico.wire.http1.client import UpstreamConnection
from portico.wire.turn import Turn

ADDRESS = "127.0.0.2"


async def look_up(host: str) -> Sequence[str]:
    return [ADDRESS]


class Reached:
    """An instance before a listening socket, and every connection to it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.opened: list[UpstreamConnection] = []

    async def begin(self) -> UpstreamConnection:
        """An exchange is sent to it."""
        self.instance.in_flight += 1
        connection = self.instance.take(only_once=False)
        if connection is None:
            connection = await self.instance.connect(5.0)
            self.opened.append(connection)
        return connection

    def end(self, connection: UpstreamConnection) -> None:
        """That exchange is over."""
        self.instance.in_flight -= 1
        self.instance.give_back(connection)

    async def busy(self, count: int) -> list[UpstreamConnection]:
        """So many exchanges under way."""
        return [await self.begin() for _ in range(count)]

    async def idle(self, count: int) -> None:
        """So many idle connections."""
        for connection in await self.busy(count):
            self.end(connection)

    @property
    def open(self) -> int:
        return sum(not connection.transport.is_closing() for connection in self.opened)


@pytest.fixture(params=[Instance, NamedInstance])
def kind(request: pytest.FixtureRequest) -> type[Instance]:
    chosen: type[Instance] = request.param
    return chosen


@asynccontextmanager
async def reached(kind: type[Instance]) -> AsyncIterator[Reached]:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
        instance = kind(Address(f"svc.test:{port}", ADDRESS, port), deadlines, Turn(loop))
        if isinstance(instance, NamedInstance):
            instance.host_name = HostName("svc.test", look_up)
        own = Reached(instance)
        try:
            yield own
        finally:
            for connection in own.opened:
                connection.close()
            deadlines.close()
            await asyncio.sleep(0)


def test_one_that_has_more_exchanges_than_it_may_now_still_connects(kind: type[Instance]) -> None:
    """The exchange was sent to it just before the reload, and nothing idle can make way."""

    async def run() -> None:
        async with reached(kind) as own:
            await own.busy(3)
            own.instance.rebound(4.0, 1)
            await own.begin()
            assert own.open == 4

    asyncio.run(run())


def test_idle_connections_that_are_too_many_now_are_closed(kind: type[Instance]) -> None:
    async def run() -> None:
        async with reached(kind) as own:
            await own.idle(4)
            own.instance.rebound(4.0, 2)
            assert own.open == 2
            assert own.opened[-1].transport.is_closing() is False, "the one used last is kept"

    asyncio.run(run())


def test_connections_that_come_back_to_one_that_may_have_fewer_are_let_go(kind: type[Instance]) -> None:
    async def run() -> None:
        async with reached(kind) as own:
            busy = await own.busy(4)
            own.instance.rebound(4.0, 2)
            assert own.open == 4, "what is under way may finish"
            for connection in busy:
                own.end(connection)
            own.instance.prune()
            assert own.open == 2

    asyncio.run(run())


def test_a_new_connection_replaces_all_that_are_too_many(kind: type[Instance]) -> None:
    async def run() -> None:
        async with reached(kind) as own:
            busy = await own.busy(4)
            own.instance.rebound(4.0, 2)
            for connection in busy:
                own.end(connection)
            own.instance.in_flight += 1
            own.opened.append(await own.instance.connect(5.0))
            assert own.open == 2

    asyncio.run(run())


def test_a_shorter_idle_time_holds_for_connections_that_are_idle_already(kind: type[Instance]) -> None:
    async def run() -> None:
        async with reached(kind) as own:
            own.instance.rebound(60.0, None)
            await own.idle(1)
            (connection,) = own.opened
            own.instance.rebound(90.0, None)
            assert connection.deadline == connection.idle_since + 60.0
            own.instance.rebound(5.0, None)
            assert connection.deadline == connection.wakes == connection.idle_since + 5.0

    asyncio.run(run())
