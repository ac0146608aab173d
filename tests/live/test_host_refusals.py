"""Services that refuse the public Host: one event names the ways out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.world import Gateway, until

DJANGO = (
    b'\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Bad Request (400)</title>\n</head>\n<body></body></html>'
)
REFUSALS: list[tuple[str, bytes]] = [
    ("421 Misdirected Request", b""),
    ("421 Misdirected Request", b"Invalid Host header"),
    ("400 Bad Request", b"Invalid host header"),
    ("400 Bad Request", DJANGO),
    ("400 Bad Request", b'{"status_code":400,"detail":"invalid host header"}'),
    ("400 Bad Request", b"<p>Host &#39;a.test&#39; is not trusted.</p>"),
    ("403 Forbidden", b"Invalid Host header - possible DNS rebinding attack detected"),
    ("403 Forbidden", b"Invalid Origin header"),
    ("403 Forbidden", b"Cross origin websockets not allowed"),
    ("403 Forbidden", b"<head>\n<title>Jupyter Server</title>\n</head>\n<body>\n<h1>403 : Forbidden</h1>\n</body>"),
    ("403 Forbidden", b"Cross-origin request blocked"),
    ("403 Forbidden", b"Blocked request. This host (a.test) is not allowed."),
    ("403 Forbidden", b"<p>Origin checking failed - http://a.test does not match any trusted origins.</p>"),
]
OTHERS: list[tuple[str, bytes]] = [
    ("400 Bad Request", b'{"detail":"host is required"}'),
    ("400 Bad Request", b'{"detail":[{"loc":["query","origin"],"msg":"Field required"}]}'),
    ("403 Forbidden", b"not allowed"),
    ("403 Forbidden", b'{"message": "Forbidden", "reason": null}'),
    ("403 Forbidden", b"the ghost is not allowed"),
    ("403 Forbidden", b"x" * 9000 + b"invalid host header"),
    ("404 Not Found", b"invalid host header"),
    ("200 OK", b"invalid host header"),
]


HEAD_SEEN = threading.Event()


def refusing(connection: Connection) -> None:
    """A service that answers with the case that the request names, at once or its body behind its head."""
    while (asked := connection.next_request()) is not None:
        fields = {name.lower(): value for name, value in asked.fields}
        status, body = (*REFUSALS, *OTHERS)[int(fields["x-case"])]
        if "x-apart" in fields:
            connection.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            assert HEAD_SEEN.wait(10)
            connection.send(body)
        else:
            connection.answer(body, status)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(refusing) as own:
        yield own
        assert not own.errors


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Gateway]:
    """Each case has a service, since each service has one event."""
    service = {"url": backend.url, "health_check": False}
    names = [*map(str, range(len(REFUSALS) + len(OTHERS))), "apart", "misdirected", "same"]
    services: dict[str, Any] = {f"s{name}": service for name in names}
    for name, preserve_host in (("own", False), ("kept", True)):
        services[name] = {**service, "preserve_host": preserve_host}
    with Gateway({"services": services}) as own:
        yield own


def reported(gateway: Gateway) -> list[dict[str, Any]]:
    return [event for event in gateway.events() if event["event"].startswith("a service seems to refuse")]


def test_a_refusal_that_names_the_host_is_one_event_for_each_service(gateway: Gateway, backend: Backend) -> None:
    with gateway.wire() as wire:
        for case, (status, body) in enumerate((*REFUSALS, *OTHERS)):
            for _ in range(2):
                answer = wire.ask("GET", f"/api/s{case}/x", f"X-Case: {case}", "Host: a.test")
                assert (answer.status, answer.body) == (int(status[:3]), body)
        for name in ("own", "kept"):  # by decision
            wire.ask("GET", f"/api/{name}/x", "X-Case: 1", "Host: a.test")
        wire.ask("GET", "/api/ssame/x", "X-Case: 1", f"Host: 127.0.0.1:{backend.port}")  # it is its own name
    until(lambda: len(reported(gateway)) >= len(REFUSALS))
    events = reported(gateway)
    assert [event["service"] for event in events] == [f"s{case}" for case in range(len(REFUSALS))]
    assert {event["host"] for event in events} == {"a.test"}
    first = events[0]
    assert (first["level"], first["status"], first["instance"]) == ("WARNING", "421", f"127.0.0.1:{backend.port}")
    assert "preserve_host: false in services.s0" in first["ways_out"]
    assert "own list of allowed hosts" in first["ways_out"]


def test_a_body_that_comes_behind_its_head_is_looked_at_too(gateway: Gateway) -> None:
    status, body = REFUSALS[6]
    with gateway.wire() as wire:
        wire.send(b"GET /api/sapart/x HTTP/1.1\r\nHost: a.test\r\nX-Case: 6\r\nX-Apart: 1\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += wire.socket.recv(65536)
        HEAD_SEEN.set()
        assert head.startswith(f"HTTP/1.1 {status}".encode())
        rest = head.partition(b"\r\n\r\n")[2]
        while len(rest) < len(body):
            rest += wire.socket.recv(65536)
        assert rest == body
        until(lambda: "sapart" in {event["service"] for event in reported(gateway)})
        assert wire.ask("HEAD", "/api/smisdirected/x", "X-Case: 0", "Host: a.test").status == 421
        until(lambda: "smisdirected" in {event["service"] for event in reported(gateway)})
