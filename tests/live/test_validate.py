"""Requests checked in a running gateway: what does not fit never reaches the service, and what does arrives as sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from support.backend import Backend
from support.world import Gateway

ITEM = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string", "maxLength": 20}},
}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
DOCUMENT = {
    "openapi": "3.0.3",
    "info": {"title": "items", "version": "1"},
    "paths": {
        "/items": {
            "get": {
                "parameters": [{"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}}],
                "responses": {},
            },
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": ITEM}}},
                "responses": {},
            },
        },
        "/items/{id}": {"parameters": [ID], "get": {"responses": {}}, "delete": {"responses": {}}},
    },
}
JSON = "Content-Type: application/json"
GOOD, BAD = b'{"name": "a"}', b'{"name": 5}'


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    file = tmp_path_factory.mktemp("documents") / "items.json"
    file.write_text(json.dumps(DOCUMENT))
    items = {"url": service.url, "health_check": False, "openapi": {"file": str(file)}, "default_routes": False}
    renaming = {"request": [{"json": {"rename": {"/title": "/name"}}}]}
    config = {
        "services": {"items": items},
        "routes": [
            {"path": "/shop", "service": "items", "policies": {"validate": {"request": True, "max_body": "4KiB"}}},
            {"path": "/strict", "service": "items", "policies": {"validate": {"otherwise": "refuse"}}},
            {"path": "/renamed", "service": "items", "policies": {"validate": True, "transform": renaming}},
            {"path": "/open", "service": "items"},
        ],
    }
    with Gateway(config) as own:
        yield own


@pytest.mark.parametrize(
    ("method", "target", "lines", "body", "expected"),
    [
        ("GET", "/shop/items", (), None, 200),
        ("GET", "/shop/items?page=2", (), None, 200),
        ("GET", "/shop/items?page=0", (), None, "request_invalid"),
        ("GET", "/shop/items?page=x", (), None, "request_invalid"),
        ("GET", "/shop/items/7", (), None, 200),
        ("DELETE", "/shop/items/x", (), None, "request_invalid"),
        ("POST", "/shop/items", (JSON,), GOOD, 200),
        ("POST", "/shop/items", ("Content-Type: Application/JSON; charset=UTF-8",), GOOD, 200),
        ("POST", "/shop/items", ("Content-Type: application/merge-patch+json",), GOOD, 200),
        ("POST", "/shop/items", (), GOOD, 200),
        ("POST", "/shop/items", (JSON,), BAD, "request_invalid"),
        ("POST", "/shop/items", (JSON,), b'{"name": "' + b"a" * 21 + b'"}', "request_invalid"),
        ("POST", "/shop/items", (JSON,), b"{", "request_invalid"),
        ("POST", "/shop/items", (JSON,), b"", "request_invalid"),
        ("POST", "/shop/items", ("Content-Type: text/plain",), GOOD, "type_unsupported"),
        ("POST", "/shop/items", (JSON, "Content-Encoding: gzip"), gzip.compress(GOOD, mtime=0), 200),
        ("POST", "/shop/items", (JSON, "Content-Encoding: gzip"), gzip.compress(BAD, mtime=0), "request_invalid"),
        ("POST", "/shop/items", (JSON,), BAD + b" " * 8192, 200),
        ("POST", "/strict/items", (JSON,), GOOD, 200),
        ("POST", "/strict/items", (JSON, "Content-Encoding: zip"), GOOD, "coding_unsupported"),
        ("GET", "/strict/nothing", (), None, "operation_unknown"),
        ("POST", "/renamed/items", (JSON,), b'{"title": "a"}', 200),
        ("POST", "/renamed/items", (JSON,), b'{"title": 5}', "request_invalid"),
        ("POST", "/open/items", (JSON,), BAD, 200),
    ],
)
def test_what_fits_reaches_the_service(
    gateway: Gateway,
    service: Backend,
    method: str,
    target: str,
    lines: tuple[str, ...],
    body: bytes | None,
    expected: int | str,
) -> None:
    service.requests.clear()
    answer = gateway.ask(method, target, *lines, body=body)
    assert (answer.status if answer.status == 200 else answer.json()["reason"]) == expected
    assert len(service.requests) == (expected == 200)
    if expected == 200 and body and not target.startswith("/renamed"):
        assert service.requests[0].body == body


def test_bodies_that_come_in_pieces_are_judged_whole(gateway: Gateway, service: Backend) -> None:
    for body, expected in ((GOOD, 200), (BAD, 400)):
        service.requests.clear()
        with gateway.wire() as wire:
            wire.send(f"POST /shop/items HTTP/1.1\r\nHost: h\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for byte in body:
                wire.send(b"1\r\n%c\r\n" % byte)
            wire.send(b"0\r\n\r\n")
            assert wire.receive().status == expected
        assert [each.body for each in service.requests] == ([body] if expected == 200 else [])


def test_who_waits_for_100_gets_it_and_is_judged(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        head = f"POST /shop/items HTTP/1.1\r\nHost: h\r\n{JSON}\r\nContent-Length: 11\r\nExpect: 100-continue"
        wire.send(head.encode() + b"\r\n\r\n")
        assert wire.receive().status == 100
        wire.send(BAD)
        answer = wire.receive()
        assert answer.status == 400
        assert answer.json()["errors"] == [{"pointer": "#/name", "detail": 'it is not of type "string"'}]
