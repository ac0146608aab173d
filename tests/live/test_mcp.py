"""A client's first request to an MCP server passes queues and an overloaded worker; what only says so does not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.messages import Message
from support.world import Gateway, until

DISCOVER = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}).encode()
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a"}}).encode()
FIRST = "Mcp-Method: server/discover"


def server(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        if asked.target == "/hang":
            connection.wait_for_end()
        else:
            connection.answer(b"{}", "200 OK", "Content-Type: application/json")


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(server) as own:
        yield own


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Gateway]:
    config = {
        "gateway": {"limits": {"requests": 4}},
        "services": {
            "full": {"url": backend.url, "max_requests": 1, "health_check": False, "policies": {"mcp": True}},
            "free": {"url": backend.url, "health_check": False, "policies": {"mcp": True}},
        },
    }
    with Gateway(config) as own:
        yield own


@contextlib.contextmanager
def hanging(gateway: Gateway, backend: Backend, path: str, count: int) -> Iterator[None]:
    """So many requests are under way."""
    before = backend.targets().count("/hang")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Wire(gateway.port)).send(request("GET", path))
        until(lambda: backend.targets().count("/hang") == before + count, "they are with the service")
        yield


def ask(gateway: Gateway, path: str, *lines: str, body: bytes) -> Message:
    return gateway.ask("POST", path, *lines, body=body)


def test_every_permit_is_taken(gateway: Gateway, backend: Backend) -> None:
    with hanging(gateway, backend, "/api/full/hang", 1):
        assert ask(gateway, "/api/full/mcp", body=CALL).status == 503
        assert ask(gateway, "/api/full/mcp", FIRST, body=DISCOVER).status == 200
        assert ask(gateway, "/api/full/mcp", FIRST, body=CALL).status == 400
        assert ask(gateway, "/api/full/mcp", body=DISCOVER).status == 503, "it does not say what it is"
    until(lambda: ask(gateway, "/api/full/mcp", body=CALL).status == 200, "clients that leave free their permits")


def test_an_overloaded_worker(gateway: Gateway, backend: Backend) -> None:
    with hanging(gateway, backend, "/api/free/hang", 4):
        assert ask(gateway, "/api/free/mcp", body=CALL).status == 503
        assert ask(gateway, "/api/free/mcp", FIRST, body=DISCOVER).status == 200
        assert ask(gateway, "/api/free/mcp", FIRST, body=CALL).status == 400
        with Wire(gateway.port) as wire:  # as most clients send it: the head, then the body
            wire.send(
                f"POST /api/free/mcp HTTP/1.1\r\nHost: x\r\n{FIRST}\r\nContent-Length: {len(DISCOVER)}\r\n\r\n".encode()
            )
            wire.send(DISCOVER)
            assert wire.receive().status == 200
