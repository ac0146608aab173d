"""What `register` accepts, and lifespans of every kind of application; with processes: tests/live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from portico.client import register
from portico.client.announcement import Announcement
from portico.client.lifespan import Registered
from portico.client.registries import GatewayRegistry
from portico.client.registry import AsyncServiceRegistry, ServiceRegistry

WELL = {"name": "orders", "url": "http://127.0.0.1:8001", "redis_url": "redis://127.0.0.1"}


NO_TTLS = [0, 0.5, -1.0, 86_400.5, float("nan"), float("inf"), True, "10", None, timedelta(seconds=10)]


async def app(*_: Any) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": None}, "PORTICO_SERVICE_URL"),
        ({"url": "127.0.0.1:8001"}, "expected http://host:port"),
        ({"url": "http://h:1/path"}, "expected http://host:port"),
        ({"url": "http://[::1%\x1bc \x00X-Evil: 1]:17199"}, r"not 'http://\[::1%\\x1bc \\x00X-Evil: 1\]:17199'"),
        ({"url": "http://[fe80::1%eth0]:8001"}, "expected http://host:port"),
        ({"url": "http://[fe80::1%25eth0]:8001"}, "expected http://host:port"),
        ({"url": "http://[::1::2]:8001"}, "an IPv6 address goes into brackets"),
        ({"url": "http://[v1.x]"}, "expected http://host:port"),
        ({"url": "http://a b"}, "expected http://host:port"),
        ({"url": "http://h\n"}, "expected http://host:port"),
        ({"url": "http://h:99999"}, "expected http://host:port"),
        ({"url": "http://h:0"}, "expected http://host:port"),
        ({"url": "http://a%41"}, "expected http://host:port"),
        ({"url": "http://h?x"}, "expected http://host:port"),
        ({"url": "http://h#x"}, "expected http://host:port"),
        ({"url": "http://h\u00e9"}, "expected http://host:port"),
        ({"url": "http://h:1#x"}, "expected http://host:port"),
        ({"url": "http://::1:8001"}, "an IPv6 address goes into brackets"),
        ({"url": "http://[::1"}, "an IPv6 address goes into brackets"),
        ({"url": "http://[1.2.3.4]:1"}, "an IPv6 address goes into brackets"),
        ({"url": "http://me:secret@h:1"}, "no user and no password"),
        ({"name": "a/b"}, "name: 'a/b' has to consist of letters"),
        ({"id": "a:b"}, "id: 'a:b' has to consist of letters"),
        ({"weight": 0}, "weight: expected a whole number, 1 to 1000, not 0"),
        ({"weight": 1.5}, "weight: expected a whole number, 1 to 1000, not 1.5"),
        ({"metadata": {"zone": 1}}, "metadata: expected up to 64 texts"),
        ({"openapi": 5}, "openapi: expected a text"),
        *(({"ttl": ttl}, "ttl: expected a number of seconds, 1 to 86400, not ") for ttl in NO_TTLS),
        ({"redis_url": None}, "hand in redis_url or gateway, or set REDIS_URL or PORTICO_ADMIN"),
        ({"gateway": "http://h:9000"}, "redis_url or gateway: one registry is enough"),
        ({"redis_url": "http://h"}, "expected redis://"),
        ({"redis_url": None, "gateway": "h:9000"}, "gateway: expected the URL of a gateway's admin API"),
        ({"redis_url": None, "gateway": "http://me:secret@h"}, "gateway: expected the URL"),
        ({"redis_url": None, "gateway": "http://h:9000", "token": "se\ncret"}, "token: holds control characters"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORTICO_SERVICE_URL", "PORTICO_ADMIN", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=message) as caught:
        register(app, **{**WELL, **changes})
    assert "secret" not in str(caught.value)


def test_a_newline_at_the_end_of_a_variable_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_SERVICE_URL", "http://127.0.0.1:8001\n")
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("PORTICO_ADMIN", "http://127.0.0.1:9000\r\n")
    monkeypatch.setenv("ADMIN_TOKEN", "s3cret\n")
    register(app, name="orders")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1\n")
    register(app, name="orders")


@pytest.mark.parametrize("ttl", NO_TTLS)
def test_no_registry_takes_what_is_no_time_to_live(ttl: Any) -> None:
    for kind in (ServiceRegistry, AsyncServiceRegistry):
        registry: Any = kind("redis://127.0.0.1:1")
        for method, given in (registry.register, ("orders", "http://h:1")), (registry.heartbeat, ("orders",)):
            with pytest.raises(ValueError, match="ttl: expected a number of seconds, 1 to 86400, not "):
                _run(method(*given, ttl, id="a"))


def _run(outcome: Any) -> None:
    if asyncio.iscoroutine(outcome):
        asyncio.run(outcome)


def test_every_process_has_an_id_of_its_own() -> None:
    first, second = (Announcement("orders", "http://h:1").of_this_process() for _ in range(2))
    assert first.id != second.id
    assert Announcement("orders", "http://h:1", id="mine").of_this_process().id == "mine"


@pytest.mark.parametrize(
    "url", ["http://h", "HTTP://H:1/", "https://a_b.example.:65535", "http://[2001:DB8::1]:80", "http://10.0.0.5"]
)
def test_urls_of_services(url: str) -> None:
    assert Announcement("a", url).url == url


@pytest.mark.parametrize("url", ["http://[::1%\x1bc]:1", "http://h:1/path", "h:1", ""])
def test_a_registry_takes_no_other_url(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://host:port"):
        ServiceRegistry("redis://127.0.0.1:1").register("a", url)


def test_addresses() -> None:
    assert Announcement("a", "https://[::1]").address == ("::1", 443)
    assert Announcement("a", "http://[::1]:8001").address == ("::1", 8001)
    assert Announcement("a", "http://h").address == ("h", 80)


def lived(application: Callable[..., Any]) -> list[str]:
    """What happens in which order when a server starts and stops an application that is registered."""
    happened: list[str] = []

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        happened.append("registered")
        yield
        happened.append("deregistered")

    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> dict[str, Any]:
        return {"type": messages.pop(0)}

    async def send(message: Mapping[str, Any]) -> None:
        happened.append(message["type"].removeprefix("lifespan."))

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        await application(happened, receive, send)

    try:
        asyncio.run(Registered(observed, running)({"type": "lifespan"}, receive, send))
    except RuntimeError as error:
        happened.append(str(error))
    return happened


async def knowing(happened: list[str], receive: Any, send: Any) -> None:
    await receive()
    happened.append("opened")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    happened.append("closed")
    await send({"type": "lifespan.shutdown.complete"})


async def failing(happened: list[str], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def breaking(happened: list[str], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise RuntimeError("broken")


async def raising(happened: list[str], receive: Any, send: Any) -> None:
    raise AssertionError("http only")


async def raising_late(happened: list[str], receive: Any, send: Any) -> None:
    await receive()
    raise AssertionError("http only")


async def silent(happened: list[str], receive: Any, send: Any) -> None:
    """Returns at once."""


STAND_IN = ["registered", "startup.complete", "deregistered", "shutdown.complete"]


@pytest.mark.parametrize(
    ("application", "happens"),
    [
        (knowing, ["opened", "registered", "startup.complete", "deregistered", "closed", "shutdown.complete"]),
        (failing, ["startup.failed"]),
        (breaking, ["registered", "startup.complete", "deregistered", "broken"]),
        (raising, STAND_IN),
        (raising_late, STAND_IN),
        (silent, STAND_IN),
    ],
)
def test_lifespans(application: Callable[..., Any], happens: list[str]) -> None:
    assert lived(application) == happens


@pytest.mark.parametrize(
    ("admin", "port"),
    [("http://[::1]", 80), ("https://[::1]", 443), ("http://[::1]:9000", 9000), ("http://h", 80), ("https://h", 443)],
)
def test_where_a_gateway_is(admin: str, port: int) -> None:
    registry = GatewayRegistry(admin, None)
    connection = registry._connection(registry._host, registry._port)
    assert (connection.host, connection.port) == ("::1" if "[" in admin else "h", port)


def test_other_scopes_pass() -> None:
    seen: list[Any] = []

    async def inner(*given: Any) -> None:
        seen.append(given)

    asyncio.run(register(inner, **WELL)({"type": "http"}, None, None))  # type: ignore[arg-type]
    assert seen == [({"type": "http"}, None, None)]


def test_starlette_and_fastapi_stay_themselves() -> None:
    from fastapi import FastAPI

    order: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, int]]:
        order.append("opened")
        yield {"state": 1}
        order.append("closed")

    own = FastAPI(lifespan=lifespan)
    assert register(own, name="orders", url="http://127.0.0.1:1", gateway="http://127.0.0.1:1") is own

    async def live() -> None:
        async with own.router.lifespan_context(own) as state:
            assert state == {"state": 1}, "what the application's own lifespan gives goes on"
            order.append("running")

    asyncio.run(live())
    assert order == ["opened", "running", "closed"]
