"""What a reload leaves of WebSockets and streams: all of unchanged routes, none whose route lost its right."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.frames import CLOSE, TEXT, Frame
from support.messages import read_chunks, read_head
from support.tokens import SECRET, bearer, token
from support.websocket import WebSocket, echo
from support.world import Gateway, until

VIOLATION = Frame(CLOSE, b"\x03\xf0")
"""1008: the client may not go on."""
RESTART = Frame(CLOSE, b"\x03\xf4")
"""1012: it may begin anew."""

JWT = {"jwt": {"secret": SECRET}}
WRITER, READER = (bearer(token(sub=name, scope=scope)) for name, scope in (("ada", "write"), ("bob", "read")))

PLUGIN = """
from portico.plugin import Policy

class Asked(Policy):
    def request(self, exchange):
        return None
"""


class Streams:
    """A service of streams that begin and never end; what is asked for by `/long` ends once `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, connection: Connection) -> None:
        asked = connection.next_request()
        if asked is None:
            return
        if asked.target.endswith("/long"):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
            assert self.go_on.wait(30)
            connection.send(b"-ends")
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.send(b"9\r\ndata: a\n\n\r\n")
            connection.wait_for_end()


def guarded(**policies: Any) -> dict[str, Any]:
    return {"policies": policies}


@pytest.fixture(scope="module")
def streams() -> Streams:
    return Streams()


@pytest.fixture(scope="module")
def services(streams: Streams) -> Iterator[dict[str, Any]]:
    with Backend(echo) as sockets, Backend(streams) as events:
        yield {
            f"{kind}{side}": {"url": backend.url, "health_check": False}
            for kind, backend in (("ws", sockets), ("sse", events))
            for side in ("", "-next")
        }


BEFORE: dict[str, dict[str, Any]] = {
    "same": {},
    "gone": {},
    "renamed": {},
    "closed": {},
    "scoped": guarded(auth=JWT, authorize={"any_scopes": ["read", "write"]}),
    "loosened": guarded(auth=JWT, authorize={"scopes": ["write"]}),
    "filtered": {},
    "origins": guarded(cors={"allow_origins": ["https://a.test", "https://b.test"]}),
    "methods": {},
    "plugged": {},
    "keyed": guarded(auth={"api_key": {}}),
    "limited": {},
    "split": {},
    "split-closed": {},
}
AFTER: dict[str, dict[str, Any]] = {
    "same": {},
    "renamed": {"rewrite": "keep"},
    "closed": guarded(auth=JWT),
    "scoped": guarded(auth=JWT, authorize={"scopes": ["write"]}),
    "loosened": guarded(auth=JWT),
    "filtered": guarded(ip_filter={"deny": ["127.0.0.0/8"]}),
    "origins": guarded(cors={"allow_origins": ["https://a.test"]}),
    "methods": {"methods": ["POST"]},
    "plugged": guarded(plugins=[{"use": "./asked.py:Asked"}]),
    "keyed": guarded(auth={"api_key": {}}),
    "limited": guarded(rate_limit={"requests_per_minute": 1, "burst": 1}),
    "split": {},
    "split-closed": guarded(auth=JWT),
}
ASKED: list[tuple[str, tuple[str, ...], Frame | None]] = [
    ("same", (), None),
    ("gone", (), VIOLATION),
    ("renamed", (), None),
    ("closed", (), VIOLATION),
    ("closed", (READER,), None),
    ("scoped", (READER,), VIOLATION),
    ("scoped", (WRITER,), None),
    ("loosened", (WRITER,), None),
    ("filtered", (), VIOLATION),
    ("origins", ("Origin: https://a.test",), None),
    ("origins", ("Origin: https://b.test",), VIOLATION),
    ("methods", (), VIOLATION),
    ("plugged", (), RESTART),
    ("keyed", ("X-API-Key: of-one",), None),
    ("keyed", ("X-API-Key: of-two",), VIOLATION),
    ("limited", (), None),
    ("split", (), None),
    ("split-closed", (), VIOLATION),
    ("split-closed", (READER,), None),
]
"""A route, what a client shows there, and how its WebSocket is closed by the reload, if it is."""


def consumer(name: str) -> dict[str, Any]:
    return {"name": name, "keys": [f"sha256:{sha256(f'of-{name}'.encode()).hexdigest()}"]}


def _to(kind: str, name: str) -> dict[str, Any]:
    if not name.startswith("split"):
        return {"service": kind}
    return {"split": [{"service": kind, "weight": 50}, {"service": f"{kind}-next", "weight": 50}]}


def config(services: dict[str, Any], routes: dict[str, dict[str, Any]], *consumers: str) -> dict[str, Any]:
    both = [
        {"name": f"{name}-{kind}{len(consumers)}", "path": f"/{kind}/{name}", **_to(kind, name), **settings}
        for name, settings in routes.items()
        for kind in ("ws", "sse")
    ]
    return {"services": services, "routes": both, "consumers": [consumer(name) for name in consumers]}


def ends_of(gateway: Gateway) -> int:
    return [line["reason"] for line in gateway.log()].count("access_lost")


def echoes(ws: WebSocket) -> bool:
    ws.say(TEXT, b"still here")
    return ws.next_frame() == Frame(TEXT, b"still here")


def begun(stack: ExitStack, gateway: Gateway, target: str, *lines: str) -> tuple[Wire, Iterator[bytes]]:
    """A stream of which the first event has come."""
    wire = stack.enter_context(gateway.wire())
    wire.send(request("GET", target, *lines))
    head = read_head(wire.file)
    assert head is not None
    assert head.status == 200, head
    events = read_chunks(wire.file)
    assert next(events) == b"data: a\n\n"
    return wire, events


def test_those_end_whose_route_lost_its_right(services: dict[str, Any], streams: Streams) -> None:
    with Gateway(config(services, BEFORE, "one", "two")) as gateway, ExitStack() as stack:
        (gateway.file.parent / "asked.py").write_text(PLUGIN)
        gateway.wait_for_control()
        sockets = [stack.enter_context(WebSocket(gateway.port, f"/ws/{name}", *shown)) for name, shown, _ in ASKED]
        assert all(echoes(ws) for ws in sockets)
        opened = [begun(stack, gateway, f"/sse/{name}", *shown) for name, shown, _ in ASKED]
        wire = stack.enter_context(gateway.wire())
        wire.send(request("GET", "/sse/closed/long"))
        head = read_head(wire.file)
        assert head is not None
        assert head.status == 200
        gateway.write(config(services, AFTER, "one", "three", "four"))
        gateway.reload()
        for ws, (name, shown, close) in zip(sockets, ASKED, strict=True):
            if close is not None:
                assert ws.next_frame() == close, (name, shown)
                ws.say(CLOSE, close.payload)
                assert ws.next_frame() is None
        streamed = [index for index, (name, _, _) in enumerate(ASKED) if name != "origins"]  # pages that may not read
        lost = [index for index in streamed if ASKED[index][2] is not None]
        for index in lost:
            assert b"0" not in opened[index][0].file.read(), ASKED[index]  # no last chunk: it is seen to be cut off
        assert all(echoes(ws) for ws, (_, _, close) in zip(sockets, ASKED, strict=True) if close is None)
        gateway.reload()
        assert all(echoes(ws) for ws, (_, _, close) in zip(sockets, ASKED, strict=True) if close is None)
        streams.go_on.set()
        assert wire.file.read(10) == b"begin-ends"  # it has an end of its own
        assert gateway.logged_path("/sse/closed/long")["reason"] is None
        until(lambda: ends_of(gateway) == 2 * len(lost) + 1, "each end is logged")


def test_one_who_is_asked_and_hangs_keeps_nobody_else_connected(services: dict[str, Any]) -> None:
    """Those whose right depends on its word go on for as long as it may take, as requests would wait."""
    hangs, targets = threading.Event(), list[str]()

    def decide(connection: Connection) -> None:
        while (question := connection.next_request()) is not None:
            targets.append(question.target)
            if hangs.is_set():
                connection.wait_for_end()
                return
            connection.answer(b"")

    def asking(path: str) -> dict[str, Any]:
        return guarded(auth={"forward": {"url": f"{decider.url}{path}", "timeout": 20}})

    routes: dict[str, dict[str, Any]] = {"gone-first": {}, "gone": {}}
    with (
        Backend(decide) as decider,
        Gateway(config(services, {"asked": asking("/one"), **routes})) as gateway,
        ExitStack() as stack,
    ):
        asked = [stack.enter_context(WebSocket(gateway.port, "/ws/asked")) for _ in range(3)]
        gone_first, gone = (stack.enter_context(WebSocket(gateway.port, f"/ws/{name}")) for name in routes)
        gateway.write(config(services, {"asked": asking("/one"), "gone": {}}, "another"))
        gateway.reload()
        assert gone_first.next_frame() == VIOLATION
        hangs.set()
        gateway.write(config(services, {"asked": asking("/two")}, "another"))
        gateway.reload()
        assert gone.next_frame() == VIOLATION
        assert all(echoes(ws) for ws in asked), "nobody knows yet"
        until(lambda: targets.count("/two") == 3, "each is asked about")
        assert targets.count("/one") == 3, "who comes in by another's word is none of the consumers"


def test_what_has_not_changed_is_not_asked_again(services: dict[str, Any]) -> None:
    """A token may have expired since: that was good when its client came in. Who that was stands."""
    guards: dict[str, Any] = {"auth": {"jwt": {"secret": SECRET, "leeway": 0}}, "authorize": {"scopes": ["read"]}}

    def routes(**more: Any) -> dict[str, Any]:
        return config(services, {"short": {"policies": guards | more}, "narrow": {"policies": guards | more}})

    before, after = routes(), routes(ip_filter={"deny": ["10.0.0.0/8"]})
    narrowed = {"authorize": {"scopes": ["write"]}}
    after["routes"] = [
        each | {"policies": each["policies"] | (narrowed if "narrow" in each["name"] else {})}
        for each in after["routes"]
    ]
    with Gateway(before) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        short = bearer(token(sub="ada", scope="read", exp=time.time() + 2))
        kept, lost = (
            stack.enter_context(WebSocket(gateway.port, f"/ws/{name}", short)) for name in ("short", "narrow")
        )
        until(lambda: gateway.get("/ws/short", short).status == 401, "the token has expired")
        gateway.write(after)
        gateway.reload()
        assert lost.next_frame() == VIOLATION
        assert echoes(kept)
