"""Policies that wait, over real sockets: a worker's gateway in this process, as plugins will be part of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from unittest import mock

import pytest
import uvloop

from portico import policies
from portico.config import Config
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.observe.access_log import AccessRecord
from portico.policies import awaited
from portico.testing.worker import Worker
from portico.wire.http1.server import HttpServer
from support.backend import Backend

HEAD: Final = b"POST /api/a/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
NO: Final = Refusal("scope_missing", "the policy said no")


class Records:
    """The access log."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str | None]] = []

    def add(self, record: AccessRecord) -> None:
        self.lines.append((record.status_code, record.reason))


class Town:
    """A worker's gateway before a service, and one policy that waits: for `gate`, then it says `verdict`."""

    def __init__(self, port: int, server: HttpServer, log: Records) -> None:
        self.port = port
        self.server = server
        self.log = log
        self.gate = asyncio.Event()
        self.verdict: Answer | Exception | None = None
        self.waiting = self.cancelled = 0
        self.wait: Callable[[], Awaitable[Any]] = self.gate.wait

    async def policy(self, exchange: Exchange) -> Answer | None:
        self.waiting += 1
        try:
            await self.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, *pieces: bytes, waiting: int = 1) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client whose request has come to the policy."""
        reader, writer = await self.connect()
        writer.write(b"".join(pieces))
        await until(lambda: self.waiting == waiting)
        return reader, writer


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def status_of(reader: asyncio.StreamReader) -> int:
    """The status of the next response, which is read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    (length,) = (int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head.split(b" ")[1])


@asynccontextmanager
async def town(backend: Backend) -> AsyncIterator[Town]:
    own: list[Town] = []
    step = policies.Step("cors", None, lambda settings, context: lambda exchange: own[0].policy(exchange))
    config = Config.model_validate(
        {"services": {"a": {"url": backend.url, "health_check": False, "policies": {"cors": {}}}}}
    )
    async with Worker() as worker:
        log = Records()
        with mock.patch.object(policies, "STEPS", (step,)):
            gateway = worker.gateway(config, log)
        server, port = await worker.listen(gateway)
        own.append(Town(port, server, log))
        yield own[0]
        await until(lambda: not awaited.RUNNING)
        assert server.in_flight == 0


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("content", [b"", b"ab", b"abcd"])
@pytest.mark.parametrize("leave", [reset, asyncio.StreamWriter.close])
def test_a_client_that_leaves_ends_its_policy_and_is_logged_once(
    content: bytes, leave: Callable[[asyncio.StreamWriter], None], backend: Backend
) -> None:
    """Closing its side alone it might still read: then it is asked."""

    async def run() -> None:
        async with town(backend) as own:
            _, writer = await own.ask(HEAD, content)
            leave(writer)
            await until(lambda: own.cancelled == 1)
            await until(lambda: own.log.lines)
            assert own.log.lines == [(499, "client_closed")]
            assert backend.requests == []

    uvloop.run(run())


def test_its_verdict_comes_while_the_request_does_and_others_follow(backend: Backend) -> None:
    async def run() -> None:
        async with town(backend) as own:
            reader, writer = await own.ask(HEAD, b"ab")
            own.gate.set()
            writer.write(b"cd" + HEAD + b"efgh")
            assert [await status_of(reader) for _ in range(2)] == [200, 200]
            own.verdict = NO
            writer.write(HEAD + b"ijkl")
            assert await status_of(reader) == 403
            assert [request.body for request in backend.requests] == [b"abcd", b"efgh"]
            writer.close()

    uvloop.run(run())


def test_one_that_fails_and_one_that_never_ends_cost_their_requests_alone(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(awaited, "TIMEOUT", 0.1)

    async def run() -> None:
        async with town(backend) as own:
            reader, writer = await own.ask(HEAD, b"abcd")
            assert await status_of(reader) == 500
            assert own.cancelled == 1
            own.verdict = RuntimeError("broken")
            own.gate.set()
            writer.write(HEAD + b"efgh")
            assert await status_of(reader) == 500
            own.verdict = None
            writer.write(HEAD + b"ijkl")
            assert await status_of(reader) == 200
            writer.close()
            assert own.log.lines == [(500, "internal_error"), (500, "internal_error"), (200, None)]

    uvloop.run(run())
    events = [record.message for record in caplog.records]
    assert events == ["a policy came to no verdict within 0.1 s", "a policy failed"]


def test_the_end_of_the_worker_ends_it(backend: Backend) -> None:
    """First the drain waits for it, then connections are cut; the loop's own end finds nothing left."""

    async def run() -> None:
        async with town(backend) as own:
            reader, writer = await own.ask(HEAD, b"abcd")
            own.server.draining = True
            own.server.close_idle()
            await asyncio.sleep(0)
            assert (own.cancelled, own.server.in_flight) == (0, 1)
            own.server.cut()
            await until(lambda: own.cancelled == 1)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            assert own.log.lines == [(503, "drain_timeout")]
            writer.close()

    uvloop.run(run())


def test_one_that_goes_on_when_it_is_cancelled_has_nothing_to_say(backend: Backend) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def run() -> None:
        async with town(backend) as own:
            own.wait, own.verdict = stubborn, NO
            _, writer = await own.ask(HEAD, b"abcd")
            reset(writer)
            await until(lambda: own.log.lines)
            assert own.log.lines == [(499, "client_closed")]

    uvloop.run(run())
