"""Attacks that need a pause or a second connection: nobody's bytes become anybody else's request or response."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from support.backend import Backend, Connection, Script, well_behaved
from support.client import TIMEOUT, Wire, request
from support.messages import read_head
from support.proc import stopped, unread
from support.world import Gateway, until

SMUGGLED = b"GET /api/good/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
ONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
NOW, GONE = threading.Event(), threading.Event()
"""When the service `waiting` sends what nobody asked for, and when it was left for that."""


def answers_own(connection: Connection, asked: str) -> None:
    connection.answer(b'{"target": "%b"}' % asked.encode())


def evil_at_once(connection: Connection) -> None:
    """Two answers where one was asked for, in the same bytes; to HEAD the second is where a body would be."""
    while asked := connection.next_request():
        if asked.target == "/evil":
            connection.send(ONE + (b"" if asked.method == "HEAD" else b"ok") + EVIL)
        else:
            answers_own(connection, asked.target)


def evil_on_request(connection: Connection) -> None:
    """A second answer behind the one to `/evil`, later."""
    while asked := connection.next_request():
        answers_own(connection, asked.target)
        if asked.target == "/evil":
            NOW.wait(TIMEOUT)
            connection.send(EVIL)
            connection.wait_for_end()
            GONE.set()


def hasty(connection: Connection) -> None:
    """Answers a POST twice before its body has come."""
    head = read_head(connection.reader)
    if head is not None and head.method == "POST":
        connection.send(ONE + b"ok" + EVIL)
        connection.wait_for_end()
    elif head is not None:
        answers_own(connection, head.target)


def switches(connection: Connection) -> None:
    """Agrees to any upgrade."""
    connection.next_request()
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    connection.wait_for_end()


SCRIPTS: dict[str, Script] = {
    "good": well_behaved,
    "doubled": evil_at_once,
    "waiting": evil_on_request,
    "hasty": hasty,
    "switches": switches,
}
World = tuple[Gateway, dict[str, Backend]]


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    backends = {name: Backend(script, name=name) for name, script in SCRIPTS.items()}
    for backend in backends.values():
        backend.__enter__()
    try:
        limits = {"body_timeout": "2s"}
        with Gateway({"gateway": {"limits": limits}, "services": backends}) as gateway:
            gateway.wait_for_control()
            yield gateway, backends
    finally:
        for backend in backends.values():
            backend.close()


@pytest.fixture
def world(shared: World) -> World:
    """The gateway, with services that remember no request."""
    NOW.clear()
    GONE.clear()
    for backend in shared[1].values():
        backend.requests.clear()
    return shared


def own_answer(wire: Wire, service: str, name: str) -> bool:
    """Whether a request is answered with what it asked for."""
    return bool(wire.ask("GET", f"/api/{service}/{name}").json()["target"] == f"/{name}")


# ---- the client's side


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_the_body_of_a_refused_request_is_no_request(world: World, pause: float) -> None:
    gateway, backends = world
    with gateway.wire() as wire:
        wire.send(request("POST", "/nowhere", f"Content-Length: {len(SMUGGLED)}"))
        time.sleep(pause)
        wire.send(SMUGGLED)
        assert wire.receive().status == 404
        assert own_answer(wire, "good", "own")
    assert backends["good"].targets() == ["/own"]


@pytest.mark.parametrize(
    "lines",
    [("Transfer-Encoding: chunked",), ("Expect: 100-continue", f"Content-Length: {len(SMUGGLED)}")],
    ids=["chunked", "expect"],
)
def test_a_body_that_may_never_come_ends_the_connection(world: World, lines: tuple[str, ...]) -> None:
    gateway, backends = world
    with gateway.wire() as wire:
        wire.send(request("POST", "/nowhere", *lines))
        answer = wire.receive()
        assert (answer.status, answer.get("connection")) == (404, "close")
        wire.send(SMUGGLED)
        assert wire.rest() == b""
    assert backends["good"].targets() == []


def test_what_comes_after_too_long_a_pause_is_not_read(world: World) -> None:
    gateway, backends = world
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/good/x", f"Content-Length: {len(SMUGGLED)}"))
        assert wire.receive().status == 408
        wire.send(SMUGGLED)
        assert wire.rest() == b""
    assert backends["good"].targets() == []


@pytest.mark.parametrize(
    ("name", "line", "body"),
    [("half-length", "Content-Length: 100", b"abc"), ("half-chunk", "Transfer-Encoding: chunked", b"64\r\nabc")],
)
def test_half_a_request_is_not_completed_by_another_client(world: World, name: str, line: str, body: bytes) -> None:
    gateway, backends = world
    good = backends["good"]

    def halves() -> list[bytes]:
        return [bytes(each.received) for each in [*good.connections] if name.encode() in each.received]

    with gateway.wire() as other:
        assert own_answer(other, "good", "first")
        with gateway.wire() as wire:
            wire.send(request("POST", f"/api/good/{name}", line) + body)
            until(lambda: halves() and b"abc" in halves()[0], "the service has half of it")
        assert own_answer(other, "good", "own")
    assert good.targets() == ["/first", "/own"]
    assert len(halves()) == 1
    assert halves()[0].rstrip().endswith(b"abc")


def test_an_upgrade_to_h2c_leads_nowhere(world: World) -> None:
    gateway, backends = world
    with gateway.wire() as wire:
        settings = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        assert wire.ask("GET", "/api/switches/x", *settings).status == 502
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert wire.receive().status == 505
        assert wire.rest() == b""
    assert not any(b"PRI" in each.received for each in backends["switches"].connections)


# ---- the service's side


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_second_answer_reaches_nobody(world: World, method: str) -> None:
    gateway, _ = world
    with gateway.wire() as one, gateway.wire() as other:
        assert one.ask(method, "/api/doubled/evil").status == 200
        assert own_answer(other, "doubled", "other")
        assert own_answer(one, "doubled", "own")


def test_a_second_answer_that_comes_late_reaches_nobody(world: World) -> None:
    gateway, _ = world
    with gateway.wire() as one, gateway.wire() as other:
        assert own_answer(one, "waiting", "evil")
        NOW.set()
        assert GONE.wait(TIMEOUT)
        assert own_answer(other, "waiting", "other")
        assert own_answer(one, "waiting", "own")


def test_a_second_answer_that_was_there_before_the_request_is_not_its_answer(world: World) -> None:
    gateway, backends = world
    with gateway.wire() as one, gateway.wire() as other:
        assert one.ask("GET", "/livez").status == 200
        assert own_answer(other, "waiting", "evil")
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGSTOP)
        until(lambda: stopped(worker), "the worker stands still")
        try:  # what comes meanwhile waits, so that the worker finds it all at once: the request first
            one.send(request("GET", "/api/waiting/own"))
            until(lambda: unread(one.socket), "the request is there")
            NOW.set()
            until(lambda: unread(backends["waiting"].connections[-1].socket), "and so is what nobody asked for")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert one.receive().json()["target"] == "/own"


def test_an_answer_before_the_request_was_whole_frees_no_connection(world: World) -> None:
    gateway, backends = world
    with gateway.wire() as one, gateway.wire() as other:
        one.send(request("POST", "/api/hasty/x", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED[:5])
        assert one.receive().body == b"ok"
        assert own_answer(other, "hasty", "own")
        one.send(SMUGGLED[5:])
        assert own_answer(one, "hasty", "mine")
    assert [bytes(each.received).count(b"\r\nHost: ") for each in backends["hasty"].connections] == [1, 1, 1]
