"""WebSockets and other tunnels as the gateway keeps them: who may open one, what is seen of it, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.authority import Authority
from support.backend import Backend, Connection, content
from support.client import request
from support.frames import BINARY, CLOSE, PING, TEXT, Frame, closing, encode, fragments
from support.metrics import metric
from support.tokens import SECRET, bearer, token
from support.websocket import OFFER, WebSocket, accept, echo, next_frame, say
from support.world import Gateway, socket_inodes, until

GONE = Frame(CLOSE, b"\x03\xe9")
"""1001: going away."""
RESTART = Frame(CLOSE, b"\x03\xf4")
"""1012: service restart."""


class Service:
    """A script that echoes, and keeps how each WebSocket ended: the last frame that came, or None."""

    def __init__(self) -> None:
        self.ends: list[Frame | None] = []

    def __call__(self, connection: Connection) -> None:
        accept(connection)
        frame: Frame | None = None
        try:
            while (frame := next_frame(connection)) is not None:
                say(connection, frame.opcode, frame.payload)
                if frame.opcode == CLOSE:
                    return
        finally:
            self.ends.append(frame)


def foo(connection: Connection) -> None:
    """A service that speaks another protocol: it says `first`, and what it received when the client has sent all."""
    asked = connection.next_request()
    assert asked is not None
    assert asked.get("upgrade") == "foo"
    connection.send(b"HTTP/1.1 101 Foo\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\nfirst")
    head = len(connection.received)
    connection.wait_for_end()
    connection.send(bytes(connection.received[head:]))


def is_close_frame(frame: Frame | None, close_frame: Frame) -> bool:
    return frame is not None and (frame.opcode, frame.payload) == close_frame[:2]


def answer_close(ws: WebSocket, close_frame: Frame) -> None:
    """The client's part when the gateway closes a WebSocket."""
    assert ws.next_frame() == close_frame
    ws.say(CLOSE, close_frame.payload)
    assert ws.next_frame() is None


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend(echo) as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    plain = {"url": service.url, "health_check": False}
    jwt = {"auth": {"jwt": {"secret": SECRET}}}
    config = {
        "services": {
            "open": plain,
            "guarded": {**plain, "policies": jwt},
            "limited": {**plain, "policies": {"rate_limit": {"requests_per_minute": 1, "burst": 1}}},
            "shared": {**plain, "policies": {"cors": {"allow_origins": ["https://app.test"]}}},
            "anyone": {**plain, "policies": {"cors": {}}},
            "raw": {**plain, "upgrades": ["foo"]},
        }
    }
    with Gateway(config) as own:
        yield own


def echoes(ws: WebSocket, payload: bytes = b"hello") -> bool:
    ws.say(TEXT, payload)
    return ws.next_frame() == Frame(TEXT, payload)


# ---- who may open one


@pytest.mark.parametrize(
    ("target", "lines", "status", "reason"),
    [
        ("/api/guarded/x", (), 401, "credentials_missing"),
        ("/api/guarded/x", ("Authorization: Bearer nonsense",), 401, "credentials_invalid"),
        ("/api/shared/x", ("Origin: https://evil.test",), 403, "origin_refused"),
        ("/api/shared/x", ("Origin: null",), 403, "origin_refused"),
        ("/api/shared/x", ("Origin: http://gateway.test.evil.test",), 403, "origin_refused"),
        ("/nowhere", (), 404, "no_route"),
    ],
)
def test_a_refused_upgrade_does_not_reach_the_service(
    gateway: Gateway, service: Backend, target: str, lines: tuple[str, ...], status: int, reason: str
) -> None:
    before = len(service.connections)
    answer = gateway.get(target, *OFFER, *lines)
    assert (answer.status, answer.json()["reason"]) == (status, reason)
    assert len(service.connections) == before


def test_one_tunnel_too_many_is_refused_before_it_reaches_the_service(gateway: Gateway, service: Backend) -> None:
    with WebSocket(gateway.port, "/api/limited/x") as ws:
        before = len(service.connections)
        assert gateway.get("/api/limited/x", *OFFER).status == 429
        assert len(service.connections) == before
        assert echoes(ws), "frames are not counted"
        assert echoes(ws)


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("/api/guarded/x", (bearer(token()),)),
        ("/api/shared/x", ()),
        ("/api/shared/x", ("Origin: https://app.test",)),
        ("/api/shared/x", ("Origin: http://gateway.test",)),
        ("/api/anyone/x", ("Origin: https://evil.test",)),
        ("/api/open/x", ("Origin: https://evil.test",)),
    ],
)
def test_an_authorized_client_gets_a_tunnel(gateway: Gateway, target: str, lines: tuple[str, ...]) -> None:
    with WebSocket(gateway.port, target, *lines) as ws:
        assert echoes(ws)


# ---- what is seen of it


def test_the_log_has_one_line_when_it_is_over(gateway: Gateway) -> None:
    path = "/api/guarded/logged"
    with WebSocket(gateway.port, path, bearer(token(sub="alice"))) as ws:
        for _ in range(3):
            assert echoes(ws, b"12345")
        assert not [line for line in gateway.log() if line["path"] == path]
        ws.send(closing(1000))
        assert ws.next_frame() == Frame(CLOSE, b"\x03\xe8")
    line = gateway.logged_path(path)
    assert (line["method"], line["status_code"], line["user"], line["reason"]) == ("GET", 101, "alice", None)
    assert (line["bytes_in"], line["bytes_out"]) == (3 * (6 + 5) + 8, 3 * (2 + 5) + 4)
    assert 0 < line["upstream_ms"] <= line["duration_ms"]
    assert line["request_id"] == ws.answer.get("x-request-id")


def test_metrics_count_it() -> None:
    with Backend(echo) as backend, Gateway({"services": {"echo": backend}}) as gateway:
        gateway.wait_for_control()
        with WebSocket(gateway.port, "/api/echo/x") as ws, WebSocket(gateway.port, "/api/echo/x"):
            assert echoes(ws, b"12345")
            until(lambda: metric(gateway, "gateway_tunnels") == 2, "two tunnels are open")
        until(lambda: metric(gateway, "gateway_tunnels") == 0, "none is")
        until(lambda: metric(gateway, "gateway_tunnel_bytes_in_total", service="echo") == 11, "bytes from the client")
        assert metric(gateway, "gateway_tunnel_bytes_out_total", service="echo") == 7
        assert metric(gateway, "gateway_requests_total", method="GET", service="echo", status="101") == 2


# ---- other protocols


def test_another_protocol_passes_as_it_is(gateway: Gateway, service: Backend) -> None:
    """It may be anything, a client may end its direction first, and the service goes on."""
    sent = content(3_000_000)
    service.script = foo
    try:
        with gateway.wire() as wire:
            wire.send(request("GET", "/api/raw/x", "Connection: upgrade", "Upgrade: foo") + b"early")
            answer = wire.receive()
            assert (answer.status, answer.get("upgrade"), answer.get("connection")) == (101, "foo", "Upgrade")
            wire.send(sent)
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.rest() == b"firstearly" + sent
    finally:
        service.script = echo


# ---- who leaves


@pytest.mark.parametrize("way", ["fin", "reset", "close"])
def test_a_client_that_vanishes(gateway: Gateway, service: Backend, way: str) -> None:
    script = service.script = Service()
    try:
        ws = WebSocket(gateway.port, "/api/open/x")
        assert echoes(ws)
        ws.send(encode(TEXT, b"whole") + encode(TEXT, b"half")[:-2])
        if way == "fin":
            ws.socket.shutdown(socket.SHUT_WR)
            assert ws.rest()
        elif way == "reset":
            ws.reset()
        ws.__exit__(None, None, None)
        until(lambda: script.ends == [None], "the service sees the end")
        assert bytes(service.connections[-1].received).endswith(encode(TEXT, b"half")[:-2]) or way == "reset"
    finally:
        service.script = echo


@pytest.mark.parametrize("hard", [False, True])
def test_what_a_service_said_before_it_vanished_arrives(gateway: Gateway, service: Backend, hard: bool) -> None:
    """Also what is still on its way when its connection breaks, to a client that reads late."""
    payload = content(2_000_000)

    def leaving(connection: Connection) -> None:
        accept(connection)
        say(connection, BINARY, payload)
        if hard:
            next_frame(connection)
            connection.reset()

    service.script = leaving
    try:
        with WebSocket(gateway.port, "/api/open/x") as ws:
            assert ws.next_frame() == Frame(BINARY, payload)
            ws.send(encode(TEXT, b"bye"))
            assert ws.next_frame() is None
    finally:
        service.script = echo


# ---- how the gateway ends it


def test_silence_ends_it_with_1001() -> None:
    service = Service()
    with Backend(service) as backend:
        plain = {"url": backend.url, "health_check": False, "timeout": {"tunnel": "2s"}}
        with Gateway({"services": {"echo": plain, "raw": {**plain, "upgrades": ["foo"]}}}) as gateway:
            with WebSocket(gateway.port, "/api/echo/x") as ws:
                assert echoes(ws)
                answer_close(ws, GONE)
            line = gateway.logged_path("/api/echo/x")
            assert (line["status_code"], line["reason"]) == (101, "tunnel_idle")
            until(lambda: service.ends, "the service sees the end")
            assert is_close_frame(service.ends[0], GONE)
            with WebSocket(gateway.port, "/api/echo/mute") as ws:  # who does not answer is not waited for
                assert ws.next_frame() == GONE
                assert ws.next_frame() is None
            backend.script = foo
            with gateway.wire() as wire:
                assert wire.ask("GET", "/api/raw/x", "Connection: upgrade", "Upgrade: foo").status == 101
                assert wire.rest() == b"first", "no other protocol is spoken to"


def test_a_half_closed_tunnel_to_a_silent_service_times_out() -> None:
    """A client that has ended its direction is sent nothing it could answer; the gateway ends all."""

    def deaf(connection: Connection) -> None:
        accept(connection)
        connection.wait_for_end()
        stop.wait(20)

    stop = threading.Event()
    with Backend(deaf) as backend:
        plain = {"url": backend.url, "health_check": False, "timeout": {"tunnel": "2s"}}
        with Gateway({"services": {"echo": plain}}) as gateway, WebSocket(gateway.port, "/api/echo/x") as ws:
            ws.socket.shutdown(socket.SHUT_WR)
            assert ws.next_frame() == GONE
            assert ws.next_frame() is None
            stop.set()


def test_a_drain_closes_every_websocket() -> None:
    service = Service()
    with Backend(service) as backend, Gateway({"services": {"echo": backend}}) as gateway, ExitStack() as stack:
        sockets = [stack.enter_context(WebSocket(gateway.port, "/api/echo/x")) for _ in range(50)]
        assert all(echoes(ws) for ws in sockets)
        gateway.signal(signal.SIGTERM)
        for ws in sockets:
            answer_close(ws, RESTART)
        gateway.stop()
        until(lambda: len(service.ends) == 50, "every end is seen")
        assert all(is_close_frame(end, GONE) for end in service.ends)
        lines = [line for line in gateway.log() if line["path"] == "/api/echo/x"]
        assert [(line["status_code"], line["reason"]) for line in lines] == [(101, "going_away")] * 50


def test_a_frame_under_way_is_completed_before_the_close_frame() -> None:
    draining, close_frame_came = threading.Event(), threading.Event()
    frames: list[Frame | None] = []
    outward, inward = encode(BINARY, content(100_000), mask=b""), encode(BINARY, content(70_000))

    def service(connection: Connection) -> None:
        accept(connection)
        connection.send(outward[:50_000])
        assert draining.wait(20)
        connection.send(outward[50_000:] + encode(TEXT, b"too late", mask=b""))
        frames.extend((next_frame(connection), next_frame(connection)))
        close_frame_came.set()
        say(connection, CLOSE, GONE.payload)

    with Backend(service) as backend, Gateway({"services": {"echo": backend}}) as gateway:
        with WebSocket(gateway.port, "/api/echo/x") as ws, gateway.wire() as idle:
            assert idle.ask("GET", "/livez").status == 200
            ws.send(inward[:40_000])
            assert ws.socket.recv(50_000, socket.MSG_PEEK), "both frames are under way"
            gateway.signal(signal.SIGTERM)
            assert idle.rest() == b"", "the drain has begun"
            draining.set()
            ws.send(inward[40_000:] + encode(TEXT, b"too late"))
            assert ws.next_frame() == Frame(BINARY, content(100_000))
            answer_close(ws, RESTART)
            assert close_frame_came.wait(20)
            assert frames[0] == Frame(BINARY, content(70_000), masked=True)
            assert is_close_frame(frames[1], GONE)
        gateway.stop()


def test_a_websocket_that_is_being_closed_is_left_to_it() -> None:
    """When the drain comes between a close frame and its answer, the client gets the answer and no 1012."""
    draining = threading.Event()

    def slow(connection: Connection) -> None:
        accept(connection)
        frame = next_frame(connection)
        assert draining.wait(20)
        assert frame is not None
        say(connection, CLOSE, frame.payload)

    with Backend(slow) as backend, Gateway({"services": {"echo": backend}}) as gateway:
        with WebSocket(gateway.port, "/api/echo/x") as ws, gateway.wire() as idle:
            assert idle.ask("GET", "/livez").status == 200
            ws.send(closing(4000, b"mine"))
            gateway.signal(signal.SIGTERM)
            assert idle.rest() == b""
            draining.set()
            assert (found := ws.next_frame())
            assert (found.code, found.payload[2:]) == (4000, b"mine")
            assert ws.next_frame() is None
        gateway.stop()


def test_a_killed_worker_takes_only_its_own() -> None:
    with Backend(echo) as backend, Gateway({"gateway": {"workers": 2}, "services": {"echo": backend}}) as gateway:
        gateway.wait_for_control()
        with ExitStack() as stack:
            sockets = [stack.enter_context(WebSocket(gateway.port, "/api/echo/x")) for _ in range(40)]
            owned = held(gateway)
            assert sum(owned.values()) == 40
            victim = min(owned, key=lambda pid: owned[pid])
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in gateway.workers(), "it is dead")
            survivors = 0
            for ws in sockets:
                try:
                    survivors += echoes(ws)
                except OSError:
                    assert ws.next_frame() is None
            assert survivors == 40 - owned[victim]
            with WebSocket(gateway.port, "/api/echo/x") as ws:
                assert echoes(ws)


def held(gateway: Gateway) -> dict[int, int]:
    """How many client connections each worker has."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = {row[9] for row in rows if row[3] == "01" and int(row[1].rpartition(":")[2], 16) == gateway.port}
    return {pid: len(socket_inodes(pid) & established) for pid in gateway.workers()}


# ---- slow ends


@pytest.mark.parametrize("slow_end", ["client", "service"])
def test_64_mib_through_a_slow_end_are_not_kept_in_memory(slow_end: str) -> None:
    size, pieces = 1 << 20, 64
    payload = content(size)
    go_on = threading.Event()
    seen: list[int] = []

    def service(connection: Connection) -> None:
        accept(connection)
        if slow_end == "client":
            for _ in range(pieces):
                say(connection, BINARY, payload)
        else:
            assert go_on.wait(30)
            while (frame := next_frame(connection)) is not None and frame.payload == payload:
                seen.append(len(frame.payload))
        say(connection, CLOSE, b"\x03\xe8")

    with (
        Backend(service) as backend,
        Gateway({"services": {"echo": backend}}) as gateway,
        WebSocket(gateway.port, "/api/echo/x") as ws,
    ):
        before = gateway.memory()
        sending = threading.Thread(
            target=ws.send, args=(encode(BINARY, payload) * pieces + closing(1000),), daemon=True
        )
        if slow_end == "service":
            sending.start()
        until(lambda: is_idle(gateway), "all buffers are full")
        assert gateway.memory() - before < 16 << 20
        go_on.set()
        if slow_end == "client":
            for _ in range(pieces):
                assert ws.next_frame() == Frame(BINARY, payload)
            ws.send(closing(1000))
        assert ws.next_frame() == Frame(CLOSE, b"\x03\xe8")
        if slow_end == "service":
            sending.join(20)
            assert seen == [size] * pieces


def is_idle(gateway: Gateway) -> bool:
    """Whether the worker has had nothing to do for a moment."""

    def ticks() -> int:
        columns = Path(f"/proc/{gateway.workers()[0]}/stat").read_text().rpartition(")")[2].split()
        return int(columns[11]) + int(columns[12])

    before = ticks()
    time.sleep(0.3)
    return ticks() <= before + 1


# ---- TLS


def test_a_websocket_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.leaf("own", "localhost").written
    service = Service()
    with Backend(service) as backend, Gateway({"gateway": {"tls": tls}, "services": {"echo": backend}}) as gateway:

        def secure() -> ssl.SSLSocket:
            context = authority.client_context()
            plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            return context.wrap_socket(plain, server_hostname="localhost")

        payload = content(1 << 20)
        with WebSocket(gateway.port, "/api/echo/x", sock=secure()) as ws:
            for data in fragments(BINARY, [payload[:1000], payload[1000:]]):
                ws.send(data)
            assert (ws.next_frame(), ws.next_frame()) == (Frame(BINARY, payload[:1000]), Frame(0, payload[1000:]))
            ws.say(PING, b"?")
            assert ws.next_frame() == Frame(PING, b"?")
        until(lambda: service.ends == [None], "the service sees that the client left")
        with WebSocket(gateway.port, "/api/echo/x", sock=secure()) as ws:
            assert echoes(ws)
            gateway.signal(signal.SIGTERM)
            answer_close(ws, RESTART)
        gateway.stop()
