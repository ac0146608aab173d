"""How a scope changes behind a prefix, and which peers are trusted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

import pytest

from portico.client import BehindGateway
from portico.client.peers import TrustedPeers

FIELDS = {
    "x-forwarded-prefix": "/api/orders",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.example:8443",
    "x-forwarded-port": "8000",
    "x-real-ip": "192.0.2.7",
}


def through(scope: dict[str, Any], *, times: int = 1, trusted: Any = None) -> dict[str, Any]:
    """The scope that an application gets behind the middleware."""
    seen: dict[str, Any] = {}

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope)

    wrapped: Any = app
    for _ in range(times):
        wrapped = BehindGateway(wrapped, trusted)
    asyncio.run(wrapped(scope, None, None))
    return seen


def scope(fields: dict[str, str] = FIELDS, **changes: Any) -> dict[str, Any]:
    headers = [(b"host", b"10.0.0.5:8001"), *((name.encode(), value.encode()) for name, value in fields.items())]
    return {
        "type": "http",
        "scheme": "http",
        "path": "/items/ä",
        "raw_path": b"/items/%C3%A4",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("10.0.0.5", 8001),
        **changes,
    }


def test_everything_as_the_client_saw_it() -> None:
    sent = scope()
    seen = through(sent)
    assert seen["root_path"] == "/api/orders"
    assert seen["path"] == "/api/orders/items/ä"
    assert seen["raw_path"] == b"/api/orders/items/%C3%A4"
    assert seen["scheme"] == "https"
    assert [value for name, value in seen["headers"] if name == b"host"] == [b"shop.example:8443"]
    assert seen["server"] == ("shop.example", 8443)
    assert seen["client"] == ("192.0.2.7", 0)
    assert sent == scope(), "the server's own scope stays as it is"


def test_twice_is_once() -> None:
    assert through(scope(), times=2)["path"] == "/api/orders/items/ä"


def test_a_websocket() -> None:
    assert through(scope(type="websocket", scheme="ws"))["scheme"] == "wss"
    fields = {**FIELDS, "x-forwarded-proto": "http"}
    assert through(scope(fields, type="websocket", scheme="ws"))["scheme"] == "ws"


def test_a_lifespan_passes() -> None:
    assert through({"type": "lifespan"}) == {"type": "lifespan"}


@pytest.mark.parametrize(
    ("host", "server"),
    [("shop.example", ("shop.example", 8000)), ("[2001:db8::1]:81", ("2001:db8::1", 81)), ("x/y", ("10.0.0.5", 8001))],
)
def test_ports(host: str, server: tuple[str, int]) -> None:
    assert through(scope({**FIELDS, "x-forwarded-host": host}))["server"] == server


@pytest.mark.parametrize("prefix", ["", "/", "x", "//evil.example", "x, /b", "/../a", "/<script>", "/a%0d", "/a'"])
def test_what_is_no_plain_prefix_is_ignored(prefix: str) -> None:
    seen = through(scope({"x-forwarded-prefix": prefix}))
    assert (seen["root_path"], seen["path"]) == ("", "/items/ä")


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        *(
            ("x-forwarded-proto", value, "scheme", "https")
            for value in ("HTTPS", "wss", "WSS", "https, http", ", https")
        ),
        *(
            ("x-forwarded-proto", value, "scheme", "http")
            for value in ("http", "ws", "http, https", "gopher, https", "")
        ),
        ("x-forwarded-host", "shop.example, inner", "server", ("shop.example", 8000)),
        ("x-forwarded-host", "shop.example:99999", "server", ("10.0.0.5", 8001)),
        ("x-forwarded-host", "shop.example:0", "server", ("10.0.0.5", 8001)),
        ("x-forwarded-prefix", "/api/", "root_path", "/api"),
        ("x-forwarded-prefix", "/a, /b", "root_path", "/a"),
        ("x-real-ip", "192.0.2.7, 192.0.2.8", "client", ("127.0.0.1", 50_000)),
    ],
)
def test_other_spellings(name: str, value: str, key: str, expected: Any) -> None:
    assert through(scope({**FIELDS, name: value}))[key] == expected


@pytest.mark.parametrize(("value", "scheme"), [("WSS", "wss"), ("https, http", "wss"), ("ws", "ws"), ("x", "ws")])
def test_other_spellings_for_a_websocket(value: str, scheme: str) -> None:
    assert through(scope({**FIELDS, "x-forwarded-proto": value}, type="websocket", scheme="ws"))["scheme"] == scheme


@pytest.mark.parametrize(("port", "expected"), [("443, 80", 443), ("99999", 443), ("0", 443), ("65535", 65535)])
def test_other_ports(port: str, expected: int) -> None:
    seen = through(scope({**FIELDS, "x-forwarded-host": "shop.example", "x-forwarded-port": port}))
    assert seen["server"] == ("shop.example", expected)


def test_several_lines_are_one_list() -> None:
    sent = scope()
    sent["headers"] += [(b"x-forwarded-prefix", b"/other"), (b"x-forwarded-proto", b"http")]
    seen = through(sent)
    assert (seen["root_path"], seen["scheme"]) == ("/api/orders", "https")


def test_root_paths_that_are_there_already() -> None:
    # uvicorn --root-path puts it before the path
    seen = through(scope(root_path="/api/orders", path="/api/orders/x", raw_path=b"/api/orders/x"))
    assert (seen["root_path"], seen["path"]) == ("/api/orders", "/api/orders/x")

    class App:  # FastAPI(root_path=...) does not
        root_path = "/api/orders"

    seen = through(scope(root_path="/api/orders", path="/x", raw_path=b"/x", app=App()))
    assert (seen["root_path"], seen["path"]) == ("/api/orders", "/api/orders/x")
    # an application that is mounted inside another one
    seen = through(scope(root_path="/sub", path="/sub/x", raw_path=b"/sub/x"))
    assert (seen["root_path"], seen["path"]) == ("/api/orders/sub", "/api/orders/sub/x")


@pytest.mark.parametrize(
    ("trusted", "client", "is_trusted"),
    [
        (None, ("127.0.0.1", 1), True),
        (None, ("::1", 1), True),
        (None, None, True),
        (None, ("10.0.0.2", 1), False),
        (None, ("::ffff:127.0.0.1", 1), True),
        (["10.0.0.0/8"], ("10.0.0.2", 1), True),
        (["10.0.0.0/8"], ("127.0.0.1", 1), False),
        ("10.0.0.2, 10.0.0.3", ("10.0.0.3", 1), True),
        ("*", ("203.0.113.9", 1), True),
        (None, ("testclient", 1), False),
    ],
)
def test_which_peers_are_trusted(trusted: Any, client: tuple[str, int] | None, is_trusted: bool) -> None:
    assert through(scope(client=client), trusted=trusted)["root_path"] == ("/api/orders" if is_trusted else "")


def test_the_variable_that_servers_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.1.0.0/16")
    peers = TrustedPeers()
    assert peers.trusts(scope(client=("10.1.2.3", 1)))
    assert not peers.trusts(scope(client=("127.0.0.1", 1)))


def test_peers_that_the_server_trusted() -> None:
    """uvicorn has put the client of X-Forwarded-For into the scope already, with port 0."""
    fields = {**FIELDS, "x-forwarded-for": "198.51.100.1, 203.0.113.9"}
    assert through(scope(fields, client=("203.0.113.9", 0)))["root_path"] == "/api/orders"
    assert through(scope(fields, client=("203.0.113.9", 5)))["root_path"] == ""
    assert through(scope(fields, client=("203.0.113.8", 0)))["root_path"] == ""


def test_one_warning_for_peers_that_are_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    async def app(*_: Any) -> None:
        return None

    behind = BehindGateway(app)
    with caplog.at_level(logging.WARNING, "portico.client"):
        for _ in range(3):
            asyncio.run(behind(scope(client=("10.0.0.2", 1)), None, None))  # type: ignore[arg-type]
    assert len(caplog.messages) == 1
    assert "10.0.0.2" in caplog.messages[0]


@pytest.mark.parametrize("trusted", ["10.0.0.1/8", "gateway", ["10.0.0.0/33"]])
def test_what_is_no_network(trusted: Any) -> None:
    with pytest.raises(ValueError, match="trusted peers are addresses"):
        TrustedPeers(trusted)
