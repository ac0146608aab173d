"""An instance with a name, before real sockets on several loopback addresses."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

import pytest

from portico.core.errors import UpstreamError
from portico.core.hosts import is_address
from portico.upstreams.host_name import HostName
from portico.upstreams.instance import Address
from portico.upstreams.named_instance import NamedInstance
from portico.wire.deadlines import Deadlines
from portico.wire.http1.client import UpstreamConnection
from portico.wire.turn import Turn

ALL = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Town:
    """Listeners on one port of several addresses, and what is known of them. Nobody need accept: the kernel does."""

    def __init__(self, instance: NamedInstance, known: Sequence[str]) -> None:
        self.instance = instance
        self.known = known
        self.opened: list[UpstreamConnection] = []
        instance.host_name = HostName("svc.test", self.look_up)

    async def look_up(self, host: str) -> Sequence[str]:
        return self.known

    async def learn(self, *known: str) -> None:
        """Other addresses, as after a refresh."""
        self.known = known
        self.instance.host_name.refresh = 0.0
        self.instance.host_name.keep_fresh()
        self.instance.host_name.refresh = 10.0
        await asyncio.sleep(0)

    async def connect(self) -> UpstreamConnection:
        """A new connection."""
        connection = await self.instance.connect(5.0)
        self.opened.append(connection)
        return connection

    async def request(self) -> UpstreamConnection:
        """A connection as an exchange gets it: an idle one, or a new one."""
        return self.instance.take(only_once=False) or await self.connect()

    async def visit(self, times: int) -> Counter[str]:
        """So many exchanges, one after the other; which addresses got them."""
        seen: Counter[str] = Counter()
        for _ in range(times):
            connection = await self.request()
            seen[connection.remote] += 1
            self.instance.give_back(connection)
        return seen


@asynccontextmanager
async def town(*listening: str, known: Sequence[str] = ALL) -> AsyncIterator[Town]:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    with ExitStack() as stack:
        port = 0
        for address in listening:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(socket.create_server((address, port), family=family))
            port = listener.getsockname()[1]
        own = Town(NamedInstance(Address(f"svc.test:{port}", "svc.test", port), deadlines, Turn(loop)), known)
        try:
            yield own
        finally:
            for connection in own.opened:
                connection.close()
            deadlines.close()
            await asyncio.sleep(0)


def test_requests_use_the_addresses_round_robin() -> None:
    async def run() -> None:
        async with town(*ALL) as own:
            assert await own.visit(30) == dict.fromkeys(ALL, 10)
            assert len(own.opened) <= 6, "connections are kept"

    asyncio.run(run())


def test_addresses_of_both_kinds_are_used_alike() -> None:
    async def run() -> None:
        both = ("127.0.0.2", "::1")
        async with town(*both, known=both) as own:
            assert await own.visit(30) == dict.fromkeys(both, 15)
            assert len(own.opened) <= 4, "connections are kept"

    asyncio.run(run())


def test_connections_at_once_are_spread_too() -> None:
    async def run() -> None:
        async with town(*ALL) as own:
            opened = await asyncio.gather(*(own.request() for _ in range(30)))
            assert Counter(connection.remote for connection in opened) == dict.fromkeys(ALL, 10)

    asyncio.run(run())


def test_an_address_that_refuses_is_passed_over() -> None:
    async def run() -> None:
        async with town("127.0.0.2", "127.0.0.4") as own:
            seen = await own.visit(31)
            assert set(seen) == {"127.0.0.2", "127.0.0.4"}
            assert max(seen.values()) <= 17

    asyncio.run(run())


def test_where_all_refuse_it_says_so_and_comes_back() -> None:
    async def run() -> None:
        async with town("127.0.0.9") as own:
            for _ in range(2):
                with pytest.raises(UpstreamError, match="refused"):
                    await own.connect()
            await own.learn("127.0.0.9")
            assert await own.visit(3) == {"127.0.0.9": 3}
            assert len(own.opened) == 1

    asyncio.run(run())


def test_an_only_address_that_refused_once_is_kept_open_again() -> None:
    async def run() -> None:
        async with town("127.0.0.2", known=["127.0.0.2"]) as own:
            await own.visit(1)
            own.instance.host_name.refused("127.0.0.2")
            assert await own.visit(5) == {"127.0.0.2": 5}
            assert len(own.opened) == 1

    asyncio.run(run())


def test_an_address_that_vanished_loses_its_idle_connections() -> None:
    async def run() -> None:
        async with town(*ALL) as own:
            await own.visit(6)
            busy = await own.request()
            gone = busy.remote
            await own.learn(*(address for address in ALL if address != gone))
            own.instance.prune()
            assert all(connection.remote != gone for connection in own.instance._idle)
            assert not busy.transport.is_closing(), "what is under way ends in its own time"
            own.instance.give_back(busy)
            assert busy.transport.is_closing()
            assert gone not in await own.visit(10)

    asyncio.run(run())


def test_a_name_without_addresses_is_a_failed_connection() -> None:
    async def run() -> None:
        async with town("127.0.0.2", known=[]) as own:
            with pytest.raises(UpstreamError, match="no address") as caught:
                await own.connect()
            assert caught.value.phase == "connect"

    asyncio.run(run())


def test_a_resolver_that_does_not_answer_costs_no_more_than_the_timeout() -> None:
    async def run() -> None:
        async with town("127.0.0.2") as own:

            async def never(host: str) -> Sequence[str]:
                await asyncio.Event().wait()
                return []

            own.instance.host_name = HostName("svc.test", never)
            with pytest.raises(UpstreamError, match="looked up") as caught:
                await own.instance.connect(0.01)
            assert caught.value.phase == "connect_timeout"

    asyncio.run(run())


def test_one_that_is_full_closes_an_idle_connection_for_a_new_one() -> None:
    async def run() -> None:
        async with town(*ALL) as own:
            own.instance.max_connections = 2
            await own.visit(2)
            own.instance.in_flight = 1
            idle = list(own.instance._idle)
            await own.connect()
            assert [connection.transport.is_closing() for connection in idle] == [True, False]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "literal"), [("127.0.0.1", True), ("::1", True), ("localhost", False), ("10.0.0.1.nip.io", False)]
)
def test_only_names_are_looked_up(host: str, literal: bool) -> None:
    assert is_address(host) == literal
