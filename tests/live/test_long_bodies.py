"""Long bodies of known length, which the kernel passes from socket to socket: the same bytes, whatever happens."""

from __future__ import annotations

import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.authority import Authority
from support.backend import Backend, Connection, content
from support.client import Wire, request
from support.messages import read_exactly, read_head
from support.world import Gateway, until

SIZES = (256 << 10, (256 << 10) + 1, (272 << 10) + 7, 1 << 20, (5 << 20) + 3)
"""About where the kernel takes over, and with and without something left for the end."""
LONG = 8 << 20
WHOLE = content(LONG)


def test_they_arrive_as_they_were_sent_and_the_connections_live_on(backend: Backend) -> None:
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for size in SIZES * 3:
            answer = wire.ask("GET", f"/api/s/bytes/{size}")
            assert answer.body == content(size)
        logged = gateway.logged(answer.get("x-request-id"))
        assert (logged["status_code"], logged["bytes_out"], logged["reason"]) == (200, SIZES[-1], None)
        assert len(backend.connections) == 1, "the service's connection served all of them"


def test_a_request_that_waits_behind_one_is_answered_after_it(backend: Backend) -> None:
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", f"/api/s/bytes/{LONG}") + request("GET", "/api/s/bytes/5"))
        assert wire.receive().body == WHOLE
        assert wire.receive().body == content(5)


def test_many_at_once_do_not_mix(backend: Backend) -> None:
    def download(number: int) -> bool:
        size = (4 << 20) + number
        with gateway.wire() as wire:
            return wire.ask("GET", f"/api/s/bytes/{size}").body == content(size)

    with Gateway({"services": {"s": backend}}) as gateway, ThreadPoolExecutor(24) as pool:
        assert all(pool.map(download, range(72)))


def test_small_pieces_far_apart_arrive_when_they_are_sent(backend: Backend) -> None:
    """Nothing waits in the gateway until more of it has come."""
    seen = threading.Semaphore(0)
    start, piece = WHOLE[: 512 << 10], WHOLE[:10_000]

    def drip(connection: Connection) -> None:
        assert connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(start) + 60 * len(piece)) + start)
        for _ in range(60):
            assert seen.acquire(timeout=20)
            connection.send(piece)

    backend.script = drip
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/s/x"))
        assert read_head(wire.file)
        assert read_exactly(wire.file, len(start)) == start
        for _ in range(60):
            seen.release()
            assert read_exactly(wire.file, len(piece)) == piece


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("sent", [(1 << 20) + 5, LONG - 5])
def test_one_that_ends_early_is_cut_short(backend: Backend, end: str, sent: int) -> None:
    """The client has to see that something is missing, and the log says so."""
    read = threading.Event()

    def break_off(connection: Connection) -> None:
        assert connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG + WHOLE[:sent])
        assert read.wait(20)  # a reset would throw away what is still on its way
        connection.reset() if end == "reset" else connection.close()

    backend.script = break_off
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/s/x"))
        head = read_head(wire.file)
        assert head is not None
        assert read_exactly(wire.file, sent - 64) == WHOLE[: sent - 64]
        read.set()
        assert WHOLE[sent - 64 : sent].startswith(wire.rest())
        logged = gateway.logged(head.get("x-request-id"))
        assert logged["reason"] == "upstream_reset"
        assert gateway.get("/livez").status == 200


def test_what_a_service_sends_beyond_the_end_reaches_nobody(backend: Backend) -> None:
    def too_much(connection: Connection) -> None:
        while connection.next_request():
            # At once: what comes after the next request was sent would be its response to anybody.
            evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG + WHOLE + evil)

    backend.script = too_much
    with Gateway({"services": {"s": backend}}) as gateway, gateway.wire() as wire:
        for _ in range(3):
            assert wire.ask("GET", "/api/s/x").body == WHOLE


def test_a_client_that_leaves_ends_it_at_the_service_too(backend: Backend) -> None:
    gone = threading.Event()

    def pour(connection: Connection) -> None:
        assert connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        try:
            while True:
                connection.send(WHOLE)
        except OSError:
            gone.set()

    backend.script = pour
    with Gateway({"services": {"s": backend}}) as gateway:
        before = descriptors(gateway)
        for _ in range(3):
            gone.clear()
            with gateway.wire() as wire:
                wire.send(request("GET", "/api/s/x"))
                head = read_head(wire.file)
                assert head is not None
                read_exactly(wire.file, 32 << 20)
            assert gone.wait(20)
            logged = gateway.logged(head.get("x-request-id"))
            assert (logged["status_code"], logged["reason"]) == (200, "client_closed")
            assert logged["bytes_out"] >= 32 << 20
        until(lambda: descriptors(gateway) <= before + 2, "one pipe for all, and nothing else, is left")


def descriptors(gateway: Gateway) -> int:
    """How many the workers have open."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in gateway.workers())


def test_a_client_that_reads_slowly_gets_every_byte(backend: Backend) -> None:
    """Over and over its socket is full in the middle of what the kernel passes on."""
    size = 24 << 20
    with Gateway({"services": {"s": backend}}) as gateway, Wire(gateway.port, receive_buffer=65536) as wire:
        wire.send(request("GET", f"/api/s/bytes/{size}"))
        assert read_head(wire.file)
        digest = hashlib.sha256()
        for at in range(0, size, 100_000):
            digest.update(read_exactly(wire.file, min(100_000, size - at)))
        assert digest.digest() == hashlib.sha256(content(size)).digest()
        assert wire.ask("GET", "/api/s/bytes/5").body == content(5)


def test_encrypted_bodies_pass_as_all_others_do(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf("own", "localhost", "127.0.0.1")
    with Backend(tls=authority.server_context(leaf)) as secret, Backend() as plain:
        encrypted = {"url": secret.url, "health_check": False, "tls": {"ca": str(authority.ca)}}
        services = {"secret": encrypted, "plain": plain}
        with Gateway({"services": services}) as gateway, gateway.wire() as wire:
            assert wire.ask("GET", f"/api/secret/bytes/{LONG}").body == WHOLE
        with Gateway({"gateway": {"tls": leaf.written}, "services": services}) as gateway:
            own = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            client = authority.client_context().wrap_socket(own, server_hostname="localhost")
            with Wire(gateway.port, client) as wire:
                for name in services:
                    assert wire.ask("GET", f"/api/{name}/bytes/{LONG}").body == WHOLE
