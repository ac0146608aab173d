"""Bodies stream: memory stays flat, and who is slow slows the other side down."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from support.backend import Backend, Connection, content
from support.beside import repeated
from support.client import Wire, request
from support.messages import read_chunks, read_head, read_request_body
from support.world import Gateway, until

SIZE = 256 << 20
"""`make stress` moves forty times as much."""
PIECE = content(1 << 20)
GROWTH = 64 << 20
"""Bytes by which a worker may grow while a body of SIZE passes."""

BIG = {"gateway": {"limits": {"body_size": "2GiB"}}}


def sink_and_source(connection: Connection) -> None:
    """`GET`: SIZE bytes, chunked where the target says so. `POST`: says how long the body was. Keeps nothing."""
    while (head := read_head(connection.reader)) is not None:
        connection.received.clear()
        if head.method == "GET":
            _send(connection, chunked="chunked" in head.target)
        elif head.get("transfer-encoding") == "chunked":
            total = 0
            for chunk in read_chunks(connection.reader):
                total += len(chunk)
                connection.received.clear()
            connection.answer(str(total).encode())
        else:
            _discard(connection.socket, connection, int(head.get("content-length") or 0))
            connection.answer((head.get("content-length") or "").encode())


def _send(connection: Connection, chunked: bool) -> None:
    if not chunked:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(PIECE)):
            connection.send(PIECE)
        return
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    coded = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    for _ in range(SIZE // len(PIECE)):
        connection.send(coded)
    connection.send(b"0\r\n\r\n")


def _discard(sock: socket.socket, connection: Connection, size: int) -> None:
    left = size
    while left:
        got = len(connection.reader.read(min(left, 1 << 20)))
        connection.received.clear()
        if not got:
            raise OSError("cut short")
        left -= got


@contextlib.contextmanager
def watched(gateway: Gateway) -> Iterator[None]:
    """The workers' memory grows by less than GROWTH meanwhile, looked at often."""
    before = peak = gateway.memory()

    def look() -> None:
        nonlocal peak
        peak = max(peak, gateway.memory())

    with repeated(look, 0.1):
        yield
    assert peak - before < GROWTH, f"grew by {(peak - before) >> 20} MiB"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend(sink_and_source) as backend, Gateway({**BIG, "services": {"big": backend}}) as own:
        own.get("/nowhere")
        yield own


def read_sized(wire: Wire, size: int) -> int:
    """Read and count `size` bytes past the file's buffer, quickly; compares the first piece and the last."""
    space = memoryview(bytearray(1 << 20))
    total = 0
    while total < size:
        got = wire.file.readinto(space[: min(len(space), size - total)])
        assert got, f"cut short after {total}"
        if total == 0 or total + got == size:
            offset = total % len(PIECE)
            part = (PIECE + PIECE)[offset : offset + got]
            assert bytes(space[:got]) == part
        total += got
    return total


@pytest.mark.parametrize("kind", ["sized", "chunked"])
def test_a_large_body_comes_down_with_memory_flat(gateway: Gateway, kind: str) -> None:
    with gateway.wire() as wire, watched(gateway):
        wire.send(request("GET", f"/api/big/{kind}"))
        head = read_head(wire.file)
        assert head is not None
        if kind == "sized":
            assert head.get("content-length") == str(SIZE)
            assert read_sized(wire, SIZE) == SIZE
        else:
            assert sum(len(chunk) for chunk in read_chunks(wire.file)) == SIZE


@pytest.mark.parametrize("kind", ["sized", "chunked"])
def test_a_large_body_goes_up_with_memory_flat(gateway: Gateway, kind: str) -> None:
    with gateway.wire() as wire, watched(gateway):
        if kind == "sized":
            wire.send(request("POST", "/api/big/x", f"Content-Length: {SIZE}"))
            for _ in range(SIZE // len(PIECE)):
                wire.send(PIECE)
        else:
            wire.send(request("POST", "/api/big/x", "Transfer-Encoding: chunked"))
            coded = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
            for _ in range(SIZE // len(PIECE)):
                wire.send(coded)
            wire.send(b"0\r\n\r\n")
        assert wire.receive().body == str(SIZE).encode()


def test_a_slow_reader_stalls_the_service(backend: Backend) -> None:
    """The service sends what the buffers on the way hold; then all waits, and goes on when the client reads."""
    sent = 0
    size = 256 << 20

    def pour(connection: Connection) -> None:
        nonlocal sent
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            connection.send(PIECE)
            sent += len(PIECE)

    backend.script = pour
    with Gateway({"services": {"pour": backend}}) as gateway, gateway.wire() as wire, watched(gateway):
        wire.send(request("GET", "/api/pour/x"))
        held = until(lambda: _is_idle(lambda: sent), "the service stalls")
        assert 0 < held < 64 << 20
        assert gateway.get("/livez").status == 200, "nobody else waits"
        assert read_head(wire.file) is not None
        assert read_sized(wire, size) == size


def test_a_slow_service_stalls_the_client(backend: Backend) -> None:
    go_on = threading.Event()
    size = 256 << 20

    def dawdle(connection: Connection) -> None:
        head = read_head(connection.reader)
        assert head is not None
        assert go_on.wait(30)
        _discard(connection.socket, connection, size)
        connection.answer(b"all of it")

    backend.script = dawdle
    sent = 0
    with Gateway({**BIG, "services": {"slow": backend}}) as gateway, gateway.wire() as wire, watched(gateway):

        def push() -> None:
            nonlocal sent
            wire.send(request("POST", "/api/slow/x", f"Content-Length: {size}"))
            while sent < size:
                wire.send(PIECE)
                sent += len(PIECE)

        pusher = threading.Thread(target=push)
        pusher.start()
        held = until(lambda: _is_idle(lambda: sent), "the client stalls")
        assert held < 64 << 20
        go_on.set()
        assert wire.receive().body == b"all of it"
        pusher.join(30)
        assert sent == size


def _is_idle(number: Callable[[], int]) -> int:
    """A count that has moved, once it no longer does."""
    before = number()
    time.sleep(0.4)
    after = number()
    return after if before == after else 0


def test_events_arrive_one_by_one(backend: Backend) -> None:
    """Each event is read by the client before the service sends the next."""
    seen = threading.Semaphore(0)

    def events(connection: Connection) -> None:
        request = connection.next_request()
        assert request is not None
        chunked = "chunked" in request.target
        framing = b"Transfer-Encoding: chunked" if chunked else b"Connection: close"
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing + b"\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            connection.send(b"%x\r\n%b\r\n" % (len(event), event) if chunked else event)
            assert seen.acquire(timeout=20)
        if chunked:
            connection.send(b"0\r\n\r\n")

    backend.script = events
    with Gateway({"services": {"sse": backend}}) as gateway:
        for kind in ("chunked", "until-close"):
            with gateway.wire() as wire:
                wire.send(request("GET", f"/api/sse/{kind}"))
                head = read_head(wire.file)
                assert head is not None
                assert head.get("content-type") == "text/event-stream"
                chunks = read_chunks(wire.file)
                for number in range(5):
                    assert next(chunks) == b"data: %d\n\n" % number
                    seen.release()
                assert next(chunks, None) is None


def test_an_upload_arrives_piece_by_piece(backend: Backend) -> None:
    """The service sees the first chunk while the client has not sent the second."""
    arrived = threading.Semaphore(0)

    def watch(connection: Connection) -> None:
        head = read_head(connection.reader)
        assert head is not None
        for _ in read_chunks(connection.reader):
            arrived.release()
        connection.answer(b"whole")

    backend.script = watch
    with Gateway({"services": {"up": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/up/x", "Transfer-Encoding: chunked"))
        for _ in range(4):
            wire.send(b"5\r\nhello\r\n")
            assert arrived.acquire(timeout=20)
        wire.send(b"0\r\n\r\n")
        assert wire.receive().body == b"whole"


def test_both_directions_at_the_same_time(backend: Backend) -> None:
    """The response begins before the request ends, and the two keep step."""

    def mirror(connection: Connection) -> None:
        head = read_head(connection.reader)
        assert head is not None
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in read_chunks(connection.reader):
            connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk.upper()))
        connection.send(b"0\r\n\r\n")

    backend.script = mirror
    with Gateway({"services": {"mirror": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/mirror/x", "Transfer-Encoding: chunked"))
        wire.send(b"5\r\nfirst\r\n")
        head = read_head(wire.file)
        assert head is not None
        assert head.status == 200
        chunks = read_chunks(wire.file)
        assert next(chunks) == b"FIRST"
        for word in (b"second", b"third", b"x" * 100_000):
            wire.send(b"%x\r\n%b\r\n" % (len(word), word))
            received = b""
            while len(received) < len(word):
                received += next(chunks)
            assert received == word.upper()
        wire.send(b"0\r\n\r\n")
        assert next(chunks, None) is None


def test_a_service_may_answer_before_the_request_has_ended(backend: Backend) -> None:
    def hasty(connection: Connection) -> None:
        head = read_head(connection.reader)
        assert head is not None
        connection.answer(b"no thanks", "403 Forbidden")
        read_request_body(connection.reader, head)

    backend.script = hasty
    with Gateway({"services": {"hasty": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/hasty/x", "Content-Length: 1000000") + PIECE[:1000])
        answer = wire.receive()
        assert (answer.status, answer.body) == (403, b"no thanks")
