"""Behind a balancer of connections that says whose they are."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from support.authority import Authority
from support.backend import Backend
from support.client import TIMEOUT, Wire, request
from support.world import Gateway, until

BALANCER = "127.0.0.9"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 4433\r\n"
BINARY = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f"
    + socket.inet_aton("192.0.2.8")
    + socket.inet_aton("198.51.100.1")
    + struct.pack(">HH", 40000, 4434)
    + b"\x04\x00\x00"
)
SETTINGS = {"proxy_protocol": True, "trusted_proxies": [f"{BALANCER}/32"]}


def balanced(gateway: Gateway, port: int = 0) -> socket.socket:
    """A connection from the balancer's address."""
    return socket.create_connection(("127.0.0.1", port or gateway.port), TIMEOUT, source_address=(BALANCER, 0))


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    limits = {"header_timeout": "2s"}
    settings = {**SETTINGS, "limits": limits, "workers": request.param}
    with Backend() as backend, Gateway({"gateway": settings, "services": {"echo": backend}}) as own:
        yield own


def sent_fields(wire: Wire, *lines: str) -> dict[str, str]:
    """What the service receives about the client."""
    answer = wire.ask("GET", "/api/echo/x", *lines)
    assert answer.status == 200
    return dict(answer.json()["fields"])


@pytest.mark.parametrize(("header", "address", "port"), [(LINE, "192.0.2.7", "4433"), (BINARY, "192.0.2.8", "4434")])
def test_the_client_is_whom_the_balancer_names(gateway: Gateway, header: bytes, address: str, port: str) -> None:
    with Wire(0, balanced(gateway)) as wire:
        wire.send(header)
        for _ in range(2):
            answer = wire.ask("GET", "/api/echo/x", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Port: 1")
            fields = dict(answer.json()["fields"])
            assert (fields["X-Forwarded-For"], fields["X-Real-IP"], fields["X-Forwarded-Port"]) == (
                address,
                address,
                port,
            )
            assert gateway.logged(answer.get("x-request-id"))["client_ip"] == address


def test_a_header_in_pieces_with_the_request_behind_it(gateway: Gateway) -> None:
    for header in (LINE, BINARY):
        data = header + request("GET", "/api/echo/x")
        for cut in (1, 5, 12, 16, len(header) - 1, len(header), len(header) + 3):
            with Wire(0, balanced(gateway)) as wire:
                wire.send(data[:cut])
                until(lambda wire=wire: unread(wire.socket) == 0)  # type: ignore[misc]
                wire.send(data[cut:])
                assert wire.receive().status == 200


def unread(sock: socket.socket) -> int:
    """Bytes that the kernel has yet to send: none once the gateway's side has them."""
    import fcntl
    import termios

    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"])
def test_a_balancer_that_speaks_for_itself(gateway: Gateway, header: bytes) -> None:
    with Wire(0, balanced(gateway)) as wire:
        wire.send(header)
        assert sent_fields(wire)["X-Forwarded-For"] == BALANCER
        assert sent_fields(wire, "X-Forwarded-For: 192.0.2.99")["X-Real-IP"] == "192.0.2.99", "it is a trusted proxy"


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/api/echo/x"),
        b"PROXY TCP4 nonsense\r\n" + request("GET", "/api/echo/x"),
        b"PROXY TCP4 " + b"1" * 500,
        BINARY[:14] + b"\xff\xff" + b"\0" * 4000,
        b"\x16\x03\x01\x02\x00",
        b"\0" * 300,
    ],
)
def test_a_balancer_without_a_header_is_closed(gateway: Gateway, data: bytes) -> None:
    with Wire(0, balanced(gateway)) as wire:
        wire.send(data)
        assert wire.rest() == b""
    until(lambda: [event for event in gateway.events() if "PROXY header" in event["event"]], "an event says why")
    events = [event for event in gateway.events() if "PROXY header" in event["event"]]
    assert len(events) <= 2, "one a minute from each worker"
    assert events[0]["peer"] == BALANCER
    assert events[0]["reason"]


def test_a_header_has_its_time(gateway: Gateway) -> None:
    for data in (b"", LINE[:10], BINARY[:20]):
        with Wire(0, balanced(gateway)) as wire:
            wire.send(data)
            assert wire.rest() == b""
    with Wire(0, balanced(gateway)) as wire:
        wire.send(LINE)
        assert sent_fields(wire)["X-Real-IP"] == "192.0.2.7"


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_nobody_else_may_say_whose_connection_it_is(gateway: Gateway, header: bytes) -> None:
    with gateway.wire() as wire:
        wire.send(header + request("GET", "/api/echo/x"))
        answer = wire.receive()
        assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")
        assert wire.rest() == b""
    with gateway.wire() as wire:
        assert sent_fields(wire)["X-Forwarded-For"] == "127.0.0.1"


def test_the_header_comes_before_tls(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    leaf = authority.leaf("own", "localhost")
    settings = {**SETTINGS, "tls": {**leaf.written, "redirect_from": 0}}
    with Gateway({"gateway": settings, "services": {"echo": backend}}) as gateway:
        for header, address in ((LINE, "192.0.2.7"), (BINARY, "192.0.2.8")):
            plain = balanced(gateway)
            plain.sendall(header)
            context = authority.client_context()
            with Wire(0, context.wrap_socket(plain, server_hostname="localhost")) as wire:
                fields = sent_fields(wire)
                assert (fields["X-Forwarded-For"], fields["X-Forwarded-Proto"]) == (address, "https")
        with Wire(0, balanced(gateway)) as wire:  # TLS where the header should be
            wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01")
            assert wire.rest() == b""
        with Wire(0, balanced(gateway)) as wire:
            wire.send(LINE + request("GET", "/"))
            answer = wire.receive()
            assert answer.status == 400
            assert gateway.logged(answer.get("x-request-id"))["client_ip"] == "192.0.2.7"
        with Wire(0, balanced(gateway, gateway.redirecting_port)) as wire:
            wire.send(BINARY)
            answer = wire.ask("GET", "/x")
            assert answer.status == 308
            assert gateway.logged(answer.get("x-request-id"))["client_ip"] == "192.0.2.8"
