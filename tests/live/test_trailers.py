"""Trailer fields: dropped, but for those that a route names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.backend import Backend, Connection
from support.client import Wire
from support.world import Gateway

UPLOAD = (
    b"POST %b HTTP/1.1\r\nHost: a\r\nTE: %b\r\nTrailer: X-Sum, X-Other, Host\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\nHost: evil\r\nContent-Length: 9\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Other\r\n\r\n"
    b"2\r\nok\r\n0\r\nx-sum: 3\r\nX-Other: 4\r\nSet-Cookie: a=b\r\n\r\n"
)


def summing(connection: Connection) -> None:
    while connection.next_request() is not None:
        connection.send(ANSWER)


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend(summing) as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    plain = {"url": service.url, "health_check": False}
    named = {**plain, "trailers": ["X-Sum"], "versions": {"v1": {"trailers": []}}}
    with Gateway({"services": {"named": named, "plain": plain}}) as gateway:
        yield gateway


def exchange(gateway: Gateway, service: Backend, path: bytes, te: bytes = b"trailers") -> tuple[bytes, bytes]:
    """What the service saw of one upload, and what the client saw of its answer."""
    before = len(service.connections)
    with Wire(gateway.port) as wire:
        wire.send(UPLOAD % (path, te) + b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        seen = wire.rest()
    sent = bytes(service.connections[-1].received)
    assert len(service.connections) <= before + 1
    return sent[sent.rindex(b"POST") :], seen[: seen.rindex(b"HTTP/1.1 200")]


def test_named_fields_pass_both_ways_and_no_others(gateway: Gateway, service: Backend) -> None:
    sent, seen = exchange(gateway, service, b"/api/named/x")
    assert sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert b"\r\nTrailer: x-sum\r\n" in sent
    assert b"\r\nTE: trailers\r\n" in sent
    assert seen.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nx-sum: 3\r\n\r\n")
    assert b"\r\nTrailer: x-sum\r\n" in seen


def test_a_client_that_does_not_ask_gets_none(gateway: Gateway, service: Backend) -> None:
    sent, seen = exchange(gateway, service, b"/api/named/x", te=b"gzip")
    assert b"TE:" not in sent
    assert seen.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert b"Trailer:" not in seen


@pytest.mark.parametrize("path", [b"/api/plain/x", b"/v1/named/x"])
def test_without_names_none_pass(gateway: Gateway, service: Backend, path: bytes) -> None:
    sent, seen = exchange(gateway, service, path)
    assert sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert b"Trailer:" not in sent
    assert b"TE:" not in sent
    assert seen.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert b"Trailer:" not in seen
