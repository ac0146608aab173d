from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from portico.wire.acceptor import Acceptor
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.server import HttpServer
from portico.wire.loads import Load, Loads
from portico.wire.threshold import Threshold
from portico.wire.turn import Turn

from .world import RecordingHandler, say_ok

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def listener() -> socket.socket:
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.listen(16)
    return own


def server(loop: asyncio.AbstractEventLoop) -> HttpServer:
    return HttpServer(RecordingHandler(say_ok, False), Limits(), Deadlines(loop), Turn(loop), loop)


async def answer_to(client: socket.socket, data: bytes = GET) -> bytes:
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    await loop.sock_sendall(client, data)
    return await asyncio.wait_for(loop.sock_recv(client, 65536), 10)


def test_a_connection_accepted_before_the_end_is_served() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(5)]
        acceptor = Acceptor(loop, listening, http)
        acceptor.close()
        assert acceptor.is_opening()
        for client in clients:
            assert (await answer_to(client)).startswith(b"HTTP/1.1 200 ")
            client.close()
        assert not acceptor.is_opening()
        assert listening.fileno() == -1
        http.cut()
        http.deadlines.close()

    asyncio.run(run())


def test_connections_come_one_by_one_while_it_runs() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        acceptor = Acceptor(loop, listening, http)
        acceptor.start()
        for _ in range(3):
            with socket.create_connection(listening.getsockname()) as client:
                assert (await answer_to(client)).startswith(b"HTTP/1.1 200 ")
        acceptor.close()
        http.cut()
        http.deadlines.close()

    asyncio.run(run())


def rows(count: int) -> list[Load]:
    table = Loads(count)
    loads = [load for _ in range(count) if (load := table.reserve()) is not None]
    for load in loads:
        load.open()
    return loads


def test_two_workers_share_what_waits_at_one_socket() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening = listener()
        workers = []
        for load in rows(2):
            http = server(loop)
            http.load = load
            workers.append((http, Acceptor(loop, listening.dup(), http, load=load)))
        clients = [socket.create_connection(listening.getsockname()) for _ in range(10)]
        for _, acceptor in workers:
            acceptor.start()
        for client in clients:
            assert (await answer_to(client)).startswith(b"HTTP/1.1 200 ")
        assert [len(http.connections) for http, _ in workers] == [5, 5]
        for client in clients:
            client.close()
        for http, acceptor in workers:
            acceptor.close()
            http.cut()
            http.deadlines.close()
        listening.close()

    asyncio.run(run())


def test_what_another_worker_does_not_accept_in_time_is_accepted_all_the_same() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        http.load, idle = rows(2)
        acceptor = Acceptor(loop, listening, http, load=http.load)
        acceptor.start()
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        for client in clients:
            idle.report(0.0)
            assert (await answer_to(client)).startswith(b"HTTP/1.1 200 ")
            client.close()
        acceptor.close()
        http.cut()
        http.deadlines.close()

    asyncio.run(run())


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n", b""])
def test_a_worker_has_no_connections_that_did_not_get_as_far_as_http(data: bytes) -> None:
    """A failed handshake, no TLS at all, and a client that only looked whether the port is open."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        table = Loads(1)
        http.load = load = table.reserve()
        assert load is not None
        load.open()
        threshold = Threshold(loop, http, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), None)
        acceptor = Acceptor(loop, listening, http, threshold, load)
        acceptor.start()
        for _ in range(3):
            with socket.create_connection(listening.getsockname()) as client:
                client.setblocking(False)
                await loop.sock_sendall(client, data)
                client.shutdown(socket.SHUT_WR)
                while await asyncio.wait_for(loop.sock_recv(client, 65536), 10):
                    pass
        async with asyncio.timeout(10):
            while acceptor.is_opening() or http.connections:
                await asyncio.sleep(0.01)
        assert table.connections.tolist() == [0]
        acceptor.close()
        http.deadlines.close()

    asyncio.run(run())


def test_a_failed_handshake_harms_nobody_else() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        threshold = Threshold(loop, http, lambda: context, None)
        acceptor = Acceptor(loop, listening, http, threshold)
        acceptor.start()
        for _ in range(2):
            with socket.create_connection(listening.getsockname()) as client:
                assert await answer_to(client, b"\x16\x03\x01\x00\x05hello") == b""
        acceptor.close()
        assert threshold.failed_handshakes == 2
        assert http.connections == set()
        http.deadlines.close()

    asyncio.run(run())


def test_a_connection_that_fails_in_a_way_that_nobody_foresaw_is_closed_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listening, http = listener(), server(loop)
        threshold = Threshold(loop, http, None, lambda address: [][0])
        acceptor = Acceptor(loop, listening, http, threshold)
        acceptor.start()
        for count in range(1, 3):
            with socket.create_connection(listening.getsockname()) as client:
                client.setblocking(False)
                assert await asyncio.wait_for(loop.sock_recv(client, 1), 10) == b""
            assert [record.name for record in caplog.records if record.exc_info] == ["portico.wire"] * count
        acceptor.close()
        http.deadlines.close()

    asyncio.run(run())
