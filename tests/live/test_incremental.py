"""`Incremental: ?1` (RFC 10036): passed on piece by piece, both ways at once, or refused; never kept back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.backend import Backend, Connection
from support.client import TIMEOUT, Wire, request
from support.structured import read_list
from support.world import Gateway

HOLDING = '''
from portico.plugin import Policy, whole

class Holding(Policy):
    """Wants responses as a whole, and requests where the path says so."""

    def body(self, exchange, head):
        if head.status is not None or "request" in exchange.path:
            return whole(exchange, head, lambda body: body.upper())
'''

MARK = "Incremental: ?1"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Gateway, Backend]]:
    with Backend() as backend:
        config = {
            "services": {"s": backend, "held": {"url": backend.url, "health_check": False, "policies": {}}},
        }
        config["services"]["held"]["policies"] = {"plugins": [{"use": "./holding.py:Holding"}]}  # type: ignore[index]
        gateway = Gateway()
        (gateway.directory / "holding.py").write_text(HOLDING)
        gateway.write(config)
        with gateway:
            yield gateway, backend


World = tuple[Gateway, Backend]


def read_until(wire: Wire, ending: bytes) -> bytes:
    received = b""
    while not received.endswith(ending):
        data = wire.socket.recv(65536)
        assert data, received
        received += data
    return received


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def echoes_at_once(connection: Connection) -> None:
    """Answers the head at once, and then each piece as it comes: the request is not over by then."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.receive()
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"Incremental: ?1" in head, "it goes on to the service"
    connection.send(b"HTTP/1.1 200 OK\r\nIncremental: ?1\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not rest.endswith(b"0\r\n\r\n"):
        connection.send(rest)
        rest = connection.receive()
        assert rest
    connection.send(rest)


def test_both_directions_at_once(world: World) -> None:
    """Each piece comes back before the next one is sent: nothing waits for the end of either message."""
    gateway, backend = world
    backend.script = echoes_at_once
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/s/x", MARK, CHUNKED))
        head = read_until(wire, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nIncremental: ?1\r\n" in head, "and to the client"
        for piece in (b"a", b"bcd", b"e" * 2000, b"f"):
            wire.send(chunk(piece))
            assert read_until(wire, chunk(piece)) == chunk(piece)
        wire.send(b"0\r\n\r\n")
        assert read_until(wire, b"0\r\n\r\n") == b"0\r\n\r\n"


def test_a_response_of_known_length_comes_byte_by_byte(world: World) -> None:
    gateway, backend = world
    more = threading.Semaphore(0)

    def drips(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nIncremental: ?1\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            assert more.acquire(timeout=TIMEOUT)
            connection.send(b"x")

    backend.script = drips
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/s/x"))
        read_until(wire, b"\r\n\r\n")
        for _ in range(5):
            more.release()
            assert read_until(wire, b"x") == b"x"


@pytest.mark.parametrize("framing", [CHUNKED, "Content-Length: 4"])
def test_a_request_that_a_policy_wants_as_a_whole_is_refused(world: World, framing: str) -> None:
    """At once, although its body has not come: the service is not asked."""
    gateway, backend = world
    before = len(backend.connections)
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/held/request", MARK, framing))
        answer = wire.receive()
    assert (answer.status, answer.json()["reason"]) == (501, "incremental_refused")
    assert "needs the request as a whole" in answer.json()["detail"]
    (member,) = read_list(*answer.all("proxy-status"))
    assert (member.value, member.parameters) == ("portico", {"error": "incremental_refused"})
    assert gateway.logged(answer.get("x-request-id"))["reason"] == "incremental_refused"
    assert len(backend.connections) == before


def says_marked(mark: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (mark, len(body), body)


@pytest.mark.parametrize(
    ("mark", "body", "status"),
    [
        (b"Incremental: ?1\r\n", b"abc", 501),
        (b"Incremental: ?1; later=1\r\n", b"abc", 501),
        (b"Incremental: ?1\r\n", b"", 200),
        (b"Incremental: ?0\r\n", b"abc", 200),
        (b"Incremental: 1\r\n", b"abc", 200),
        (b"Incremental: ?1\r\nIncremental: ?1\r\n", b"abc", 200),
        (b"", b"abc", 200),
    ],
)
def test_a_response_that_a_policy_wants_as_a_whole(world: World, mark: bytes, body: bytes, status: int) -> None:
    """What is no true boolean is ignored, and one without a body has nothing that could be kept back."""
    gateway, backend = world

    def says(connection: Connection) -> None:
        connection.next_request()
        connection.send(says_marked(mark, body))

    backend.script = says
    answer = gateway.get("/api/held/x", MARK)
    assert answer.status == status
    if status == 200:
        assert answer.body == body.upper()
    else:
        assert answer.json()["reason"] == "incremental_refused"
        assert "needs the response as a whole" in answer.json()["detail"]
        assert answer.get("proxy-status") == "portico; error=incremental_refused"


def test_requests_without_a_body_are_not_refused(world: World) -> None:
    gateway, backend = world
    backend.script = lambda connection: connection.send(says_marked(b"", b"ok")) if connection.next_request() else None
    assert gateway.get("/api/held/request", MARK).body == b"OK"
