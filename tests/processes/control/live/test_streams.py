"""Streams: how many there may be, how they end, and who is cut off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from portico.processes.control.live import streams as streams_module
from portico.processes.control.live.streams import Streams, cut_stuck
from support.waiting import others_end


async def endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield b"again"
        await asyncio.sleep(0)


class Client:
    """Plays an ASGI server with one client."""

    def __init__(self, response: Response) -> None:
        self.body = b""
        self.is_whole = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.came = asyncio.Event()
        self._leaves = asyncio.Event()
        self.running = asyncio.get_running_loop().create_task(response({}, self.receive, self.send))

    async def receive(self) -> dict[str, Any]:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.body += message.get("body", b"")
        self.is_whole = message.get("more_body") is False
        self.came.set()

    async def leave(self) -> None:
        self._leaves.set()
        self.reads.set()
        await self.running


def test_a_client_that_leaves_ends_its_stream() -> None:
    async def play() -> None:
        streams = Streams()
        client = Client(streams.response(endless()))
        await client.came.wait()
        assert len(streams) == 1
        await client.leave()
        assert len(streams) == 0
        await others_end()

    asyncio.run(play())


def test_the_end_of_the_process_is_a_whole_end_and_nothing_begins_any_more() -> None:
    async def play() -> None:
        streams = Streams()
        client = Client(streams.response(endless()))
        await client.came.wait()
        streams.close()
        await client.running
        assert client.is_whole
        with pytest.raises(HTTPException):
            streams.response(endless())

    asyncio.run(play())


def test_a_client_that_never_reads_can_leave() -> None:
    async def play() -> None:
        streams = Streams()
        client = Client(streams.response(endless()))
        await client.came.wait()
        client.reads.clear()
        await asyncio.sleep(0)
        await client.leave()
        assert len(streams) == 0
        await others_end()

    asyncio.run(play())


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "MOST", 2)

    async def play() -> None:
        streams = Streams()
        clients = [Client(streams.response(endless())) for _ in range(2)]
        for client in clients:
            await client.came.wait()
        with pytest.raises(HTTPException) as refused:
            streams.response(endless())
        assert refused.value.status_code == 503
        for client in clients:
            await client.leave()
        streams.response(endless())

    asyncio.run(play())


def test_a_stream_that_cannot_begin_raises() -> None:
    async def cannot() -> AsyncGenerator[bytes, None]:
        raise HTTPException(503)
        yield b""

    async def play() -> None:
        streams = Streams()
        client = Client(streams.response(cannot()))
        with pytest.raises(HTTPException):
            await client.running
        assert client.body == b""
        assert len(streams) == 0

    asyncio.run(play())


def test_other_access_ends_streams() -> None:
    async def play() -> None:
        streams = Streams()
        token = "old"
        streams.access = lambda: token
        client = Client(streams.response(endless()))
        await client.came.wait()
        token = "new"
        await client.running
        assert client.is_whole

    asyncio.run(play())


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such option")
def test_connections_have_the_timeout_of_their_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut_stuck(listener)
        with socket.create_connection(listener.getsockname()):
            own, _ = listener.accept()
            with own:
                assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
