"""Clients that are slow, many, silent for long, or gone: nobody else notices, and nothing of them is left.

`make stress` shows the same at full size, with numbers.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from support.backend import Backend, Connection, content
from support.client import Wire, request
from support.messages import read_chunks, read_exactly, read_head
from support.metrics import in_flight
from support.world import Gateway, socket_inodes, until

EACH = 300
PIECE = content(1 << 20)
POURED = 64 << 20
LIMITS = {"header_timeout": "2s", "body_timeout": "2s", "idle_timeout": "2s"}


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process holds both ends of the gateway's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pours(connection: Connection) -> None:
    """`/pour` is answered with more than the buffers on the way hold; all else as usual."""
    while (head := read_head(connection.reader)) is not None:
        if head.target == "/pour":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % POURED)
            for _ in range(POURED // len(PIECE)):
                connection.send(PIECE)
        else:
            read_exactly(connection.reader, int(head.get("content-length") or 0))
            connection.answer(b"fine")


def test_hundreds_of_slow_clients_of_every_kind(many_files: None) -> None:
    """Normal requests are answered beside them; each ends as the limits say, once it no longer moves."""
    with (
        Backend(pours) as backend,
        Gateway({"gateway": {"limits": LIMITS}, "services": {"s": backend}}) as gateway,
        contextlib.ExitStack() as held,
    ):
        heads, bodies, readers, idle = [], [], [], []
        for _ in range(EACH):
            heads.append(held.enter_context(gateway.wire()))
            heads[-1].send(request("GET", "/api/s/x", "X-Slow: ")[:-4])
            bodies.append(held.enter_context(gateway.wire()))
            bodies[-1].send(request("POST", "/api/s/x", "Content-Length: 1000000"))
            readers.append(held.enter_context(Wire(gateway.port, receive_buffer=4096)))
            readers[-1].send(request("GET", "/api/s/pour"))
            idle.append(held.enter_context(gateway.wire()))
            assert idle[-1].ask("GET", "/api/s/x").body == b"fine"
        with gateway.wire() as normal:
            for wires in zip(heads, bodies, strict=True):
                assert normal.ask("GET", "/api/s/x").body == b"fine"
                for wire in wires:
                    with contextlib.suppress(OSError):  # it may have had its time
                        wire.send(b"y")
        for wire in heads + bodies:
            answer = wire.receive()
            assert (answer.status, answer.json()["reason"]) == (408, "request_timeout")
            assert wire.rest() == b""
        for wire in idle:
            assert wire.rest() == b""
        until(lambda: in_flight(gateway) == 0, "the readers are let go")
        assert all(len(wire.rest()) < POURED for wire in readers[:10]), "and can tell that there was more"
        stalled = [line for line in gateway.log() if line["reason"] == "client_stalled"]
        assert len(stalled) == EACH


def test_both_directions_at_once_change_no_byte(backend: Backend) -> None:
    """64 MiB come back while they are sent, in whatever pieces."""

    def echo(connection: Connection) -> None:
        head = read_head(connection.reader)
        assert head is not None
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in read_chunks(connection.reader):
            connection.received.clear()
            connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.send(b"0\r\n\r\n")

    backend.script = echo
    sent = content(POURED)
    config = {"gateway": {"limits": {"body_size": POURED}}, "services": {"echo": backend}}
    with Gateway(config) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/echo/x", "Transfer-Encoding: chunked"))

        def push() -> None:
            at, size = 0, 1
            while at < len(sent):
                piece = sent[at : at + size]
                wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                at += size
                size = size * 3 % 1_000_003  # from bytes to nearly a mebibyte, in no order
            wire.send(b"0\r\n\r\n")

        pusher = threading.Thread(target=push)
        pusher.start()
        head = read_head(wire.file)
        assert head is not None
        received = b"".join(read_chunks(wire.file))
        pusher.join(30)
        assert received == sent


@pytest.mark.parametrize("leaves", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["head", "body", "response"])
def test_nothing_is_left_of_clients_that_vanish(backend: Backend, phase: str, leaves: str) -> None:
    ended = threading.Semaphore(0)
    begun = threading.Semaphore(0)

    def trickle(connection: Connection) -> None:
        try:
            asked = read_head(connection.reader)
            assert asked is not None
            begun.release()
            if asked.method == "GET":
                connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            connection.wait_for_end()
        finally:
            ended.release()

    backend.script = trickle
    requests = {
        "head": request("GET", "/api/drip/x")[:-10],
        "body": request("POST", "/api/drip/x", "Content-Length: 100") + b"half",
        "response": request("GET", "/api/drip/x"),
    }
    with Gateway({"services": {"drip": backend}}) as gateway:
        gateway.wait_for_control()
        worker = gateway.workers()[0]
        sockets = len(socket_inodes(worker))
        wires = [gateway.wire() for _ in range(20)]
        for wire in wires:
            wire.send(requests[phase])
        if phase == "response":
            assert all(wire.file.read1(1000).startswith(b"HTTP/1.1 200 ") for wire in wires)
        for _ in wires if phase != "head" else ():
            assert begun.acquire(timeout=20)
        for wire in wires:
            if leaves == "rst":
                wire.reset()
            else:
                wire.close()
        for _ in wires if phase != "head" else ():
            assert ended.acquire(timeout=20), "the service's connection is closed"
        until(lambda: in_flight(gateway) == 0, "nothing is under way")
        until(lambda: len(socket_inodes(worker)) <= sockets, "every socket is closed")


def test_a_client_that_closed_its_half_gets_a_large_response_whole() -> None:
    with (
        Backend(pours) as backend,
        Gateway({"services": {"s": backend}}) as gateway,
        Wire(gateway.port, receive_buffer=4096) as wire,
    ):
        wire.send(request("GET", "/api/s/pour"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert len(wire.receive().body) == POURED


def test_a_long_poll_is_no_slow_client(backend: Backend) -> None:
    """The limits for clients pass while the service has the word, and end nothing."""
    limits = {"header_timeout": "700ms", "body_timeout": "700ms", "idle_timeout": "700ms"}
    asked = threading.Event()
    go_on = threading.Event()

    def polled(connection: Connection) -> None:
        while connection.next_request() is not None:
            asked.set()
            assert go_on.wait(30)
            connection.answer(b"news")

    backend.script = polled
    with Gateway({"gateway": {"limits": limits}, "services": {"poll": backend}}) as gateway, gateway.wire() as wire:
        for method, body in (("GET", None), ("POST", b"since=7")):
            asked.clear()
            go_on.clear()
            wire.send(request(method, "/api/poll/x", body=body))
            assert asked.wait(20)
            time.sleep(1.5)
            go_on.set()
            assert wire.receive(method).body == b"news"


def test_a_client_that_closed_its_half_may_wait_long_for_its_answer(backend: Backend) -> None:
    """An interim response finds out that it is still there."""

    def late(connection: Connection) -> None:
        while connection.next_request() is not None:
            time.sleep(2)
            connection.answer(b"at last")

    backend.script = late
    with Gateway({"services": {"late": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/late/x"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert read_head(wire.file).start == "HTTP/1.1 100 Continue"  # type: ignore[union-attr]
        assert wire.receive().body == b"at last"
        assert wire.rest() == b""


def test_a_client_that_reads_slowly_but_steadily_is_not_let_go() -> None:
    """The kernel has room for megabytes: while it empties that, the gateway sees nothing of the client's reading."""
    with Backend(pours) as backend:
        config = {"gateway": {"limits": {"body_timeout": "1500ms"}}, "services": {"slow": backend}}
        with Gateway(config) as gateway, gateway.wire() as wire:
            wire.send(request("GET", "/api/slow/pour"))
            head = read_head(wire.file)
            assert head is not None
            assert head.status == 200
            received = bytearray()
            for _ in range(30):
                received += read_exactly(wire.file, 20_000)
                time.sleep(0.1)
            received += read_exactly(wire.file, POURED - len(received))
            assert bytes(received) == PIECE * (POURED // len(PIECE))
