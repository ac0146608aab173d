"""What becomes of a request to switch protocols: which ones are passed on, and which answers open a tunnel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.backend import Backend, Connection, Script, content
from support.client import request
from support.frames import BINARY, CLOSE, KEY, PING, PONG, TEXT, Frame, encode
from support.portico import run_portico
from support.websocket import OFFER, SWITCHING, UPGRADE, WebSocket, accept, echo, handshake, next_frame, read_frame, say
from support.world import Gateway


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend]]:
    """One service for each answer, and one for a test to script."""
    answers = {f"refusal-{name}": data for name, data in REFUSALS.items()}
    answers |= {f"lie-{name}": data + HIDDEN for name, data in LIES.items()}
    with ExitStack() as stack:
        made = {name: stack.enter_context(Backend(saying(data))) for name, data in answers.items()}
        yield {**made, "echo": stack.enter_context(Backend()), "own": stack.enter_context(Backend())}


@pytest.fixture(scope="module")
def gateway(backends: dict[str, Backend]) -> Iterator[Gateway]:
    plain = {"url": backends["echo"].url, "health_check": False}
    special = {"closed": {**plain, "upgrades": False}, "raw": {**plain, "upgrades": ["Foo/2", "bar"]}}
    with Gateway({"services": {**backends, **special}}) as own:
        yield own


@pytest.fixture
def backend(backends: dict[str, Backend]) -> Backend:
    """The service `own`."""
    return backends["own"]


def saying(answer: bytes) -> Script:
    def say_it(connection: Connection) -> None:
        while connection.next_request() is not None:
            connection.send(answer)

    return say_it


# ---- which are passed on

ORDINARY = {
    "POST": request("POST", "/api/echo/x", *OFFER),
    "HTTP/1.0": handshake("/api/echo/x").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "with a body": request("GET", "/api/echo/x", *OFFER, body=b"hello"),
    "with a chunked body": handshake("/api/echo/x", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "Upgrade without Connection": request("GET", "/api/echo/x", "Upgrade: websocket", *OFFER[2:]),
    "Connection without Upgrade": request("GET", "/api/echo/x", "Connection: upgrade", *OFFER[2:]),
    "h2c": request(
        "GET", "/api/echo/x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAA"
    ),
    "TLS": request("GET", "/api/echo/x", "Connection: Upgrade", "Upgrade: TLS/1.3, HTTP/2.0"),
    "not allowed": handshake("/api/closed/x"),
    "another than those allowed": handshake("/api/raw/x"),
    "a longer name": request("GET", "/api/echo/x", "Connection: Upgrade", "Upgrade: websocket2", *OFFER[2:]),
    "a version": request("GET", "/api/echo/x", "Connection: Upgrade", "Upgrade: websocket/13", *OFFER[2:]),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_offers_no_websocket_goes_on_as_an_ordinary_request(gateway: Gateway, name: str) -> None:
    with gateway.wire() as wire:
        wire.send(ORDINARY[name])
        answer = wire.receive()
        assert answer.status == 200
        names = {field.lower() for field, _ in answer.json()["fields"]}
        assert not names & {"upgrade", "connection", "http2-settings"}
        if name != "HTTP/1.0":
            assert wire.ask("GET", "/livez").status == 200, "the connection goes on"


@pytest.mark.parametrize(
    ("target", "lines", "offered"),
    [
        ("/api/echo/x", (*UPGRADE, *OFFER[2:]), "websocket"),
        ("/api/echo/x", ("Connection: Upgrade", "Upgrade: websocket, h2c", *OFFER[2:]), "websocket"),
        ("/api/echo/x", ("Connection: Upgrade", "Upgrade: h2c", "Upgrade: WebSocket", *OFFER[2:]), "websocket"),
        ("/api/raw/x", ("Connection: Upgrade", "Upgrade: websocket, BAR, foo/2", *OFFER[2:]), "bar"),
    ],
)
def test_a_service_is_offered_the_one_protocol_that_it_may_take(
    gateway: Gateway, target: str, lines: tuple[str, ...], offered: str
) -> None:
    """It may ignore the offer; here it answers 200."""
    answer = gateway.get(target, *lines)
    assert answer.status == 200
    sent = [(name.lower(), value) for name, value in answer.json()["fields"]]
    assert [value for name, value in sent if name in ("connection", "upgrade")] == ["Upgrade", offered]
    assert dict(sent)["sec-websocket-key"] == KEY
    assert dict(sent)["x-forwarded-for"] == "127.0.0.1"


KEYS: dict[str, tuple[str, ...]] = {
    "none": (),
    "empty": ("Sec-WebSocket-Key:",),
    "short": ("Sec-WebSocket-Key: c2hvcnQ=",),
    "two": (f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    "twice the same": (f"Sec-WebSocket-Key: {KEY}", f"Sec-WebSocket-Key: {KEY}"),
    "two in one": (f"Sec-WebSocket-Key: {KEY}, {KEY}",),
}


def test_a_handshake_without_one_key_is_the_clients_fault(backend: Backend) -> None:
    """A service that takes it all the same would be found to lie, and be ejected for it."""
    backend.script = saying(SWITCHING)
    settings = {"url": backend.url, "health_check": False, "circuit_breaker": {"failures": 1, "open_for": "1h"}}
    with Gateway({"services": {"s": settings}}) as gateway:
        before = len(backend.requests)
        for name, lines in KEYS.items():
            refused = gateway.get("/api/s/x", *OFFER[:3], *lines)
            assert (name, refused.status, refused.json()["reason"]) == (name, 400, "malformed_request")
        assert len(backend.requests) == before
        with WebSocket(gateway.port, "/api/s/x") as ws:
            assert ws.answer.status == 101


def test_requests_inside_a_request_cannot_be_allowed(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("services: {a: {url: 'http://127.0.0.1:1', upgrades: [h2c]}}\n")
    done = run_portico("check", "--config", str(file))
    assert done.returncode == 1
    assert f"{file}:1:" in done.stderr
    assert "would bypass every policy" in done.stderr


# ---- which answers open a tunnel

BODY = b"Content-Length: 2\r\n\r\nno"
REFUSALS = {
    "200": b"HTTP/1.1 200 OK\r\n" + BODY,
    "301": b"HTTP/1.1 301 Moved Permanently\r\nLocation: /there\r\n" + BODY,
    "400": b"HTTP/1.1 400 Bad Request\r\n" + BODY,
    "403": b"HTTP/1.1 403 Forbidden\r\n" + BODY,
    "426": b"HTTP/1.1 426 Other\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n" + BODY,
    "503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\n" + BODY,
    "103-403": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 403 Forbidden\r\n" + BODY,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_service_may_refuse(gateway: Gateway, backends: dict[str, Backend], name: str) -> None:
    service = f"refusal-{name}"
    with gateway.wire() as wire:
        for _ in range(2):
            wire.send(handshake(f"/api/{service}/x"))
            while (answer := wire.receive()).status == 103:
                pass
            assert (answer.status, answer.body) == (int(name[-3:]), b"no")
            assert answer.get("upgrade") == ("websocket" if name == "426" else None)
            assert answer.get("sec-websocket-version") == ("13" if name == "426" else None)
            assert answer.get("connection") == ("Upgrade" if name == "426" else None)
            assert answer.get("location") == (f"/api/{service}/there" if name == "301" else None)
    assert len(backends[service].connections) == 1, "both were ordinary requests on one connection"


_HONEST = SWITCHING[:-2]
HIDDEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden"
LIES = {
    "no-accept": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a-wrong-accept": SWITCHING.replace(b"s3pPL", b"S3pPL"),
    "the-key-for-an-accept": SWITCHING.replace(SWITCHING[-32:-4], KEY.encode()),
    "another-protocol": SWITCHING.replace(b"websocket", b"h2c"),
    "two-protocols": SWITCHING.replace(b"websocket", b"websocket, h2c"),
    "two-Upgrade-fields": _HONEST + b"Upgrade: h2c\r\n\r\n",
    "no-Upgrade": SWITCHING.replace(b"Upgrade: websocket\r\n", b""),
    "no-Connection": SWITCHING.replace(b"Connection: Upgrade\r\n", b""),
    "nothing-at-all": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "unasked": SWITCHING,
}


@pytest.mark.parametrize("name", LIES)
def test_a_101_that_answers_another_question_opens_nothing(
    gateway: Gateway, backends: dict[str, Backend], name: str
) -> None:
    """The class of attacks in which a proxy takes a connection for a tunnel that is none, or the other way round."""
    target = f"/api/lie-{name}/x"
    with gateway.wire() as wire:
        wire.send(request("GET", target) if name == "unasked" else handshake(target))
        answer = wire.receive()
        assert (answer.status, answer.json()["reason"]) == (502, "upstream_malformed")
        wire.send(request("GET", target))
        assert wire.receive().status == 502, "what follows is read as a request"
    assert [len(each.requests) for each in backends[f"lie-{name}"].connections] == [1, 1]
    assert "hidden" not in gateway.out()


def test_a_101_has_no_length(gateway: Gateway, backend: Backend) -> None:
    def wordy(connection: Connection) -> None:
        connection.next_request()
        connection.send(_HONEST + b"Content-Length: 4\r\n\r\n")
        while (frame := next_frame(connection)) is not None:
            say(connection, frame.opcode, frame.payload)

    backend.script = wordy
    with WebSocket(gateway.port, "/api/own/x") as ws:
        assert ws.answer.get("content-length") is None
        ws.say(TEXT, b"hello")
        assert ws.next_frame() == Frame(TEXT, b"hello")


# ---- what comes early


@pytest.mark.parametrize("size", [5, 60_000, 3_000_000])
def test_what_a_client_sends_with_its_handshake(gateway: Gateway, backend: Backend, size: int) -> None:
    late = threading.Event()

    def slow(connection: Connection) -> None:
        late.wait(0.2)  # so that much of it has to wait in the gateway
        echo(connection)

    backend.script = slow
    payload = content(size)
    with gateway.wire() as wire:
        sending = threading.Thread(target=wire.send, args=(handshake("/api/own/x") + encode(BINARY, payload),))
        sending.start()
        assert wire.receive().status == 101
        frame = read_frame(wire.file)
        sending.join(20)
        assert frame == Frame(BINARY, payload)


def test_what_a_service_sends_with_its_101(gateway: Gateway, backend: Backend) -> None:
    def eager(connection: Connection) -> None:
        connection.next_request()
        connection.send(SWITCHING + encode(TEXT, b"welcome", mask=b"") + encode(PING, b"?", mask=b""))
        while (frame := next_frame(connection)) is not None and frame.opcode != CLOSE:
            say(connection, TEXT, b"%d" % frame.opcode)
        say(connection, CLOSE, b"\x03\xe8")

    backend.script = eager
    with WebSocket(gateway.port, "/api/own/x") as ws:
        assert [frame.payload for frame in (ws.next_frame(), ws.next_frame()) if frame] == [b"welcome", b"?"]
        ws.say(PONG, b"?")
        ws.say(CLOSE, b"\x03\xe8")
        assert [frame.payload for frame in (ws.next_frame(), ws.next_frame()) if frame] == [b"%d" % PONG, b"\x03\xe8"]
        assert ws.next_frame() is None


# ---- who dies


def test_a_service_that_dies_before_its_101(gateway: Gateway, backend: Backend) -> None:
    def dying(connection: Connection) -> None:
        if connection.next_request() is not None:
            connection.reset()

    backend.script = dying
    answer = gateway.get("/api/own/x", *OFFER)
    assert (answer.status, answer.json()["reason"]) == (502, "upstream_reset")


@pytest.mark.parametrize("hard", [False, True])
def test_a_service_that_dies_after_its_101(gateway: Gateway, backend: Backend, hard: bool) -> None:
    def dying(connection: Connection) -> None:
        accept(connection)
        next_frame(connection)
        say(connection, TEXT, b"last words")
        if hard:
            connection.reset()

    backend.script = dying
    path = f"/api/own/dies/{hard}"
    with WebSocket(gateway.port, path) as ws:
        ws.say(TEXT, b"hello")
        assert ws.next_frame() == Frame(TEXT, b"last words")
        assert ws.next_frame() is None
    line = gateway.logged_path(path)
    assert (line["status_code"], line["reason"]) == (101, "upstream_reset" if hard else None)
