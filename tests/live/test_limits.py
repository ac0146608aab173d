"""What the gateway refuses to read: too much, too slow, or no HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from support.backend import Backend, Connection, content
from support.client import Wire, request
from support.messages import Message
from support.world import Gateway, until

MEMBERS = {"type", "title", "status", "detail", "instance", "request_id", "reason"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    limits = {
        "header_size": "4KiB",
        "header_count": 20,
        "url_length": 512,
        "body_size": "100KiB",
        "header_timeout": "2s",
        "body_timeout": "2s",
        "idle_timeout": "2s",
    }
    with Backend() as backend:
        services = {"echo": backend, "files": {"url": backend.url, "body_size": "300KiB"}}
        routes = [
            {"service": "files", "path": "/api/files/notes", "rewrite": "/{path}", "body_size": 10},
            {"service": "files", "path": "/api/files/nothing", "rewrite": "/{path}", "body_size": 0},
        ]
        with Gateway({"gateway": {"limits": limits}, "services": services, "routes": routes}) as own:
            yield own


def problem(answer: Message, status: int, reason: str) -> None:
    assert answer.status == status, answer
    assert answer.get("content-type") == "application/problem+json"
    document = answer.json()
    assert set(document) == MEMBERS
    assert (document["status"], document["reason"]) == (status, reason)
    assert document["request_id"] == answer.get("x-request-id")
    assert document["title"]
    assert document["detail"]
    assert document["type"]


def refused(gateway: Gateway, data: bytes, status: int, reason: str) -> dict[str, Any]:
    """The bytes get this refusal, the connection closes, and the log has a line, which is returned."""
    with gateway.wire() as wire:
        wire.send(data)
        answer = wire.receive()
        problem(answer, status, reason)
        assert answer.get("connection") == "close"
        assert wire.rest() == b"", "nothing follows the refusal"
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["status_code"], line["reason"]) == (status, reason)
    return line


# ---- too much


def test_a_body_that_says_it_is_too_large(gateway: Gateway) -> None:
    refused(gateway, request("POST", "/api/echo/echo", "Content-Length: 102401"), 413, "body_too_large")
    refused(gateway, request("POST", "/api/echo/echo", "Content-Length: 999999999999999999"), 413, "body_too_large")
    refused(gateway, request("POST", "/api/echo/echo", body=content(200_000)), 413, "body_too_large")


def test_a_body_that_turns_out_too_large(gateway: Gateway) -> None:
    coded = b"10000\r\n" + content(65536) + b"\r\n"
    data = request("POST", "/api/echo/echo", "Transfer-Encoding: chunked") + coded + coded
    refused(gateway, data, 413, "body_too_large")


def test_a_body_of_just_the_limit(gateway: Gateway) -> None:
    body = content(100 * 1024)
    assert gateway.ask("POST", "/api/echo/echo", body=body).body == body
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/echo/echo", "Transfer-Encoding: chunked"))
        wire.send(b"19000\r\n" + body + b"\r\n0\r\n\r\n")
        assert wire.receive().body == body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize(
    ("path", "size"), [("/api/files/echo", 300 * 1024), ("/api/files/notes/echo", 10), ("/api/files/nothing/echo", 0)]
)
def test_a_service_or_route_with_a_size_of_its_own(gateway: Gateway, path: str, size: int) -> None:
    body = content(size)
    assert gateway.ask("POST", path, body=body).body == body
    with gateway.wire() as wire:
        wire.send(request("POST", path, "Transfer-Encoding: chunked") + (chunked(body) if body else b"") + b"0\r\n\r\n")
        assert wire.receive().body == body
    too_large = [
        request("POST", path, body=content(size + 1)),
        request("POST", path, f"Content-Length: {size + 1}", "Expect: 100-continue"),
        request("POST", path, "Transfer-Encoding: chunked") + chunked(content(size + 1)),
        request("POST", path, "Transfer-Encoding: chunked") + (chunked(body) if body else b"") + chunked(b"x"),
    ]
    for data in too_large:
        with gateway.wire() as wire:
            wire.send(data)
            answer = wire.receive()
        problem(answer, 413, "body_too_large")
        assert str(size) in answer.json()["detail"]
        assert gateway.logged(answer.get("x-request-id"))["service"] == "files"


def test_a_target_that_is_too_long(gateway: Gateway) -> None:
    refused(gateway, request("GET", "/api/echo/" + "x" * 600), 414, "url_too_long")
    refused(gateway, b"GET /" + b"x" * 5000, 414, "url_too_long")
    line = refused(gateway, request("PUT", "/api/echo/" + "x" * 3000), 414, "url_too_long")
    assert (line["method"], line["path"]) == ("PUT", "/api/echo/" + "x" * 502)
    assert gateway.get("/api/echo/" + "x" * 500).status == 200


def test_header_fields_that_are_too_large_or_too_many(gateway: Gateway) -> None:
    refused(gateway, request("GET", "/api/echo/x", f"X-Long: {'y' * 5000}"), 431, "headers_too_large")
    refused(gateway, b"GET /api/echo/x HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"y" * 9000, 431, "headers_too_large")
    refused(gateway, request("GET", "/api/echo/x", *(f"X-{n}: 1" for n in range(20))), 431, "headers_too_large")
    assert gateway.get("/api/echo/x", *(f"X-{n}: 1" for n in range(19))).status == 200
    assert gateway.get("/api/echo/x", f"X-Long: {'y' * 3900}").status == 200


# ---- too slow


def test_a_head_that_does_not_end(gateway: Gateway) -> None:
    refused(gateway, b"GET /api/echo/x HTTP/1.1\r\nHost: x\r\n", 408, "request_timeout")


def test_a_head_that_trickles(gateway: Gateway) -> None:
    """One byte now and then does not buy more time."""
    with gateway.wire() as wire:
        wire.socket.settimeout(0.1)
        wire.send(b"GET /api/echo/x HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        answer = b""
        for _ in range(200):
            try:
                answer = wire.socket.recv(100)
                break
            except TimeoutError:
                wire.send(b"y")
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_end(gateway: Gateway, framing: str) -> None:
    refused(gateway, request("POST", "/api/echo/echo", framing) + b"5\r\n", 408, "request_timeout")


def test_a_client_that_does_not_read_is_let_go(gateway: Gateway, backend: Backend) -> None:
    ended = threading.Event()

    def pour(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not backend.ended:
                connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        finally:
            ended.set()

    backend.script = pour
    config = {"gateway": {"limits": {"body_timeout": "500ms"}}, "services": {"pour": backend}}
    with Gateway(config) as own, own.wire() as wire:
        wire.send(request("GET", "/api/pour/stalled"))
        assert ended.wait(20), "the service's connection is closed"
        assert own.logged_path("/api/pour/stalled")["reason"] == "client_stalled"


def test_an_idle_connection_is_closed_without_a_word(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        assert wire.ask("GET", "/livez").status == 200
        assert wire.rest() == b""
    with gateway.wire() as wire:
        assert wire.rest() == b""


# ---- no HTTP


CHUNKED = request("POST", "/api/echo/x", "Transfer-Encoding: chunked")

MALFORMED = {
    "words": b"hello there\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /api/echo/x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bad host": b"GET /api/echo/x HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "user in host": b"GET /api/echo/x HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "bare lf": b"GET /api/echo/x HTTP/1.1\nHost: a\n\n",
    "bare lf in the head": b"GET /api/echo/x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare cr": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
    "nul": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n",
    "obs-fold": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "space before colon": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "no colon": b"GET /api/echo/x HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "space in the target": b"GET /api/echo/a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the target": b"GET /api/echo/\xe2\x82\xac HTTP/1.1\r\nHost: a\r\n\r\n",
    "both framings": request("POST", "/api/echo/x", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "two lengths": request("POST", "/api/echo/x", "Content-Length: 5", "Content-Length: 6") + b"hello",
    "same length twice": request("POST", "/api/echo/x", "Content-Length: 5", "Content-Length: 5") + b"hello",
    "list of lengths": request("POST", "/api/echo/x", "Content-Length: 5, 5") + b"hello",
    "signed length": request("POST", "/api/echo/x", "Content-Length: +5") + b"hello",
    "negative length": request("POST", "/api/echo/x", "Content-Length: -5") + b"hello",
    "hex length": request("POST", "/api/echo/x", "Content-Length: 0x5") + b"hello",
    "odd coding": request("POST", "/api/echo/x", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "hidden coding": request("POST", "/api/echo/x", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "two codings": request("POST", "/api/echo/x", *["Transfer-Encoding: chunked"] * 2) + b"0\r\n\r\n",
    "bad chunk size": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "signed chunk size": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "endless chunk size": CHUNKED + b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    "chunk with bare lf": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "strange expectation": request("POST", "/api/echo/x", "Expect: the-worst", body=b"x"),
    "dropping authorization": request("GET", "/api/echo/x", "Connection: close, Authorization"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(gateway: Gateway, name: str) -> None:
    refused(gateway, MALFORMED[name], 400, "malformed_request")


def test_a_head_without_fields_is_logged_with_its_method_and_path(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(MALFORMED["no host"])
        answer = wire.receive()
    assert answer.json()["instance"] == "/api/echo/x"
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["method"], line["path"]) == ("GET", "/api/echo/x")


def test_versions_and_methods_that_are_not_spoken(gateway: Gateway) -> None:
    refused(gateway, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_not_supported")
    refused(gateway, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported")
    refused(gateway, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "version_not_supported")
    refused(gateway, b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 501, "not_implemented")
    refused(gateway, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "not_implemented")


def test_no_byte_behind_a_malformed_request_is_taken_for_another(gateway: Gateway) -> None:
    smuggled = request("POST", "/api/echo/smuggled")
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/echo/first") + MALFORMED["both framings"] + smuggled)
        assert wire.receive().status == 200
        assert wire.receive().status == 400
        assert wire.rest() == b""
    assert "smuggled" not in gateway.out()


def test_a_refused_head_request_has_no_body(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        answer = wire.ask("HEAD", "/nowhere")
        assert answer.status == 404
        assert int(answer.get("content-length") or 0) > 0
        assert wire.ask("GET", "/livez").status == 200


def test_an_empty_line_before_a_request_is_skipped(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"\r\n" + request("GET", "/api/echo/bytes/3"))
        assert wire.receive().body == content(3)


def test_a_refused_body_that_is_still_coming_does_not_hide_the_answer(gateway: Gateway) -> None:
    """The client goes on sending; it can read the refusal all the same."""
    with gateway.wire() as wire:
        wire.send(request("POST", "/nowhere", "Content-Length: 90000") + content(45_000))
        problem(wire.receive(), 404, "no_route")
        wire.send(content(90_000)[45_000:])
        assert wire.ask("GET", "/livez").status == 200, "a small body is read to its end and the connection goes on"


def test_too_many_connections() -> None:
    limits = {"connections": 5}
    with Backend() as backend, Gateway({"gateway": {"limits": limits}, "services": {"echo": backend}}) as gateway:

        def crowd() -> bool:
            """Five get in; the sixth gets a 503. One that has just left may still count."""
            wires = [Wire(gateway.port) for _ in range(5)]
            try:
                if any(wire.ask("GET", "/livez").status != 200 for wire in wires):
                    return False
                with Wire(gateway.port) as late:
                    answer = late.receive()
                    problem(answer, 503, "overloaded")
                    assert int(answer.get("retry-after") or 0) > 0
                    assert late.rest() == b""
                return True
            except OSError:
                return False  # one of the five was turned away before it asked
            finally:
                for wire in wires:
                    wire.__exit__(None, None, None)

        until(crowd, "five connections and no more")
        until(lambda: gateway.get("/livez").status == 200, "there is room again")


def test_too_many_connections_from_one_address() -> None:
    """One client's crowd is turned away and nobody else, and those that a proxy brings count for themselves."""
    config = {"limits": {"connections_per_client": 3}, "trusted_proxies": ["127.0.0.9"]}
    with (
        Backend() as backend,
        Gateway({"gateway": config, "services": {"echo": backend}}) as gateway,
        ExitStack() as stack,
    ):

        def come(address: str) -> Wire:
            sock = socket.create_connection(("127.0.0.1", gateway.port), 20, source_address=(address, 0))
            return stack.enter_context(Wire(gateway.port, sock))

        def served(wire: Wire) -> bool:
            return wire.ask("GET", "/api/echo/bytes/3").body == content(3)

        crowd = [come("127.0.0.2") for _ in range(3)]
        assert all(map(served, crowd))
        late = come("127.0.0.2")
        problem(late.receive(), 429, "too_many_connections")
        assert late.rest() == b""
        assert all(served(come("127.0.0.3")) for _ in range(3)), "another address"
        assert all(served(come("127.0.0.9")) for _ in range(10)), "a trusted proxy"
        assert all(map(served, crowd)), "those that were in"
        late.__exit__(None, None, None)
        crowd.pop().__exit__(None, None, None)

        def has_room() -> bool:
            with come("127.0.0.2") as wire:
                return wire.ask("GET", "/livez").status == 200

        until(has_room, "there is room again")
        lines = until(lambda: [line for line in gateway.log() if line["status_code"] == 429], "the log has it")
        assert {(line["reason"], line["client_ip"]) for line in lines} == {("too_many_connections", "127.0.0.2")}


# ---- a body's rate

RATE = {"body_rate": "10KiB", "body_timeout": "500ms"}


@pytest.mark.parametrize("framing", ["Content-Length: 90000", "Transfer-Encoding: chunked"])
def test_a_body_that_drips(backend: Backend, framing: str) -> None:
    """No pause is long; the whole is too slow."""
    with Gateway({"gateway": {"limits": RATE}, "services": {"echo": backend}}) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/echo/echo", framing))
        wire.socket.settimeout(0.05)
        answer = b""
        while not answer:
            wire.send(b"1\r\nx\r\n")
            with suppress(TimeoutError):
                answer = wire.socket.recv(100)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_slow_for_its_service_alone(backend: Backend) -> None:
    """The service lets the client wait for longer than its whole body may take; then the client takes a moment too."""
    body = content(16_000_000)
    taken = threading.Event()

    def slow(connection: Connection) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.reader.read(1)
        taken.wait(3)
        assert connection.reader.read(len(body)) == body
        connection.answer(b"done")

    backend.script = slow
    config = {
        "gateway": {"limits": {"body_size": "20MiB", "body_rate": "10MiB", "body_timeout": "1s"}},
        "services": {"slow": backend},
    }
    with Gateway(config) as gateway, gateway.wire() as wire:
        wire.send(request("POST", "/api/slow/x", f"Content-Length: {len(body)}") + body[:14_000_000])
        time.sleep(0.3)
        wire.send(body[14_000_000:])
        answer = wire.receive()
        assert (answer.status, answer.body) == (200, b"done")
