"""Clients that stay with their instance: by a cookie of the gateway's, or by what the service itself issued."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from support.backend import Backend, Connection, Script
from support.client import ask
from support.messages import Message
from support.redis_process import RedisProcess
from support.running import service
from support.scripts import says
from support.websocket import SWITCHING, WebSocket
from support.world import Gateway, until

SECRET = {"SECRET_KEY": "k" * 32}
COOKIE = {"cookie": "auto"}
_numbers = itertools.count(1)


class Browser:
    """A client that keeps cookies; each request comes on a new connection, so any worker may get it."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def get(self, gateway: Gateway, target: str = "/api/s/x", *lines: str) -> Message:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = gateway.get(target, *lines, *([f"Cookie: {cookie}"] if cookie else []))
        for line in answer.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def who(self, gateway: Gateway) -> str:
        return str(self.get(gateway).json()["backend"])


@contextmanager
def two() -> Iterator[tuple[Backend, Backend]]:
    with Backend(name="a") as a, Backend(name="b") as b:
        yield a, b


def reload(gateway: Gateway, config: dict[str, Any]) -> None:
    gateway.write(config)
    assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200


@contextmanager
def behaving(backends: tuple[Backend, ...], script: Script) -> Iterator[None]:
    """Another script for as long as this is held."""
    before = [each.script for each in backends]
    try:
        for each in backends:
            each.script = script
            each.disconnect()
        yield
    finally:
        for each, own in zip(backends, before, strict=True):
            each.script = own
            each.disconnect()


# ---- by a cookie


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Backend, Backend]]:
    with two() as both:
        yield both


@pytest.fixture(scope="module")
def gateway(pair: tuple[Backend, Backend]) -> Iterator[Gateway]:
    """Two workers, no secret: they sign with the same key all the same."""
    services = {
        "s": service(*pair, sticky=COOKIE),
        "own": service(*pair, sticky={"cookie": "where", "max_age": "1h"}),
        "cached": service(*pair, sticky=COOKIE, policies={"cache": {}}),
        "plain": service(*pair),
    }
    trusted = {"workers": 2, "trusted_proxies": ["127.0.0.0/8"]}
    with Gateway({"gateway": trusted, "services": services}) as own:
        own.wait_for_control()
        yield own


def test_a_client_stays_with_the_instance_that_it_got_first(gateway: Gateway) -> None:
    homes = set()
    for _ in range(8):
        browser = Browser()
        homes.add(home := browser.who(gateway))
        assert {browser.who(gateway) for _ in range(8)} == {home}
    assert homes == {"a", "b"}, "clients without a cookie are balanced"


def test_the_cookie_is_set_once_and_shows_no_address(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    first = gateway.get("/api/s/x")
    cookie = first.get("set-cookie")
    assert cookie is not None
    value, _, attributes = cookie.partition("; ")
    assert value.startswith("portico_s=")
    assert len(value.partition("=")[2]) == 16
    assert attributes == "Path=/; HttpOnly; SameSite=Lax"
    assert not any(str(backend.port) in cookie for backend in pair)
    again = gateway.get("/api/s/x", f"Cookie: a=b; {value}")
    assert (again.get("set-cookie"), again.json()["backend"]) == (None, first.json()["backend"])
    secure = gateway.get("/api/own/x", "X-Forwarded-Proto: https").get("set-cookie") or ""
    assert secure.startswith("where=")
    assert secure.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure")
    assert gateway.get("/api/plain/x").get("set-cookie") is None


def test_a_forged_cookie_leads_nowhere_and_is_replaced(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    genuine = Browser()
    genuine.get(gateway, "/api/s/x")
    others = Browser()
    others.get(gateway, "/api/own/x")
    forged = (
        f"127.0.0.1:{pair[0].port}",
        genuine.cookies["portico_s"].swapcase(),
        others.cookies["where"],  # of another service
        "",
    )
    for value in forged:
        answers = [gateway.get("/api/s/x", f"Cookie: portico_s={value}") for _ in range(6)]
        assert all((answer.get("set-cookie") or "").startswith("portico_s=") for answer in answers)
        assert {answer.json()["backend"] for answer in answers} == {"a", "b"}


def test_a_websocket_gets_the_cookie_with_its_handshake(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    def switching(connection: Connection) -> None:
        connection.next_request()
        connection.send(SWITCHING[:-2] + f"X-Backend: {connection.backend.name}\r\n\r\n".encode())
        connection.wait_for_end()

    with behaving(pair, switching), WebSocket(gateway.port, "/api/s/ws") as socket:
        head = socket.answer
    name = (head.get("set-cookie") or "").partition(";")[0]
    assert name.startswith("portico_s=")
    assert gateway.get("/api/s/x", f"Cookie: {name}").json()["backend"] == head.get("x-backend")


def test_what_a_cache_may_keep_for_many_has_no_cookie(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    for control, target, is_set in (
        ("public, max-age=60", "/api/s/x", False),
        ("max-age=60, private", "/api/s/x", True),
        ("no-cache", "/api/s/x", True),
        ("max-age=60", "/api/cached/kept", False),
        ("private", "/api/cached/private", True),
    ):
        with behaving(pair, says("200 OK", f"Cache-Control: {control}")):
            answers = [gateway.get(target) for _ in range(4)]
        assert [answer.get("set-cookie") is not None for answer in answers] == [is_set] * 4, (control, target)


def test_reloads_other_instances_and_a_weight_of_0_leave_clients_where_they_are() -> None:
    with two() as (a, b), Backend(name="c") as c:
        config = {"gateway": {"workers": 2}, "services": {"s": service(a, b, sticky=COOKIE)}}
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            browsers = [Browser() for _ in range(6)]
            homes = [browser.who(gateway) for browser in browsers]
            assert set(homes) == {"a", "b"}
            reload(gateway, {**config, "services": {"s": service(c, b, a, sticky=COOKIE, load_balancing="random")}})
            assert [browser.who(gateway) for browser in browsers] == homes
            drained = service(b, c, sticky=COOKIE)
            drained["instances"] = [{"url": a.url, "weight": 0}, *drained["instances"]]
            reload(gateway, {**config, "services": {"s": drained}})
            assert [browser.who(gateway) for browser in browsers] == homes, "sessions go on there"
            assert {Browser().who(gateway) for _ in range(12)} == {"b", "c"}, "and none begins there"
            reload(gateway, {**config, "services": {"s": service(b, c, sticky=COOKIE)}})
            moved = [browser.who(gateway) for browser in browsers]
            assert "a" not in moved
            assert [new for old, new in zip(homes, moved, strict=True) if old == "b"] == ["b"] * homes.count("b")
            reload(gateway, {**config, "services": {"s": service(a, b, c, sticky=COOKIE)}})
            assert [browser.who(gateway) for browser in browsers] == moved, "nobody is drawn back"


def test_a_client_whose_instance_dies_gets_another_one_and_stays_there() -> None:
    with two() as (a, b), Gateway({"services": {"s": service(a, b, sticky=COOKIE)}}, env=SECRET) as gateway:
        gateway.wait_for_control()
        browser = Browser()
        while browser.who(gateway) != "a":
            browser = Browser()
        a.close()
        answers = [browser.get(gateway) for _ in range(6)]
        assert {(answer.status, answer.json()["backend"]) for answer in answers} == {(200, "b")}
        assert [answer.get("set-cookie") is not None for answer in answers] == [True] + [False] * 5


def test_two_gateways_with_one_secret_know_each_others_cookies() -> None:
    with two() as (a, b), ExitStack() as stack:
        config = {"services": {"s": service(a, b, sticky=COOKIE)}}
        first, second = (stack.enter_context(Gateway(config, env=SECRET)) for _ in range(2))
        other = stack.enter_context(Gateway(config))
        for _ in range(4):
            browser = Browser()
            home = browser.who(first)
            assert {browser.who(second) for _ in range(4)} == {home}
        assert browser.get(other).get("set-cookie") is not None, "a gateway with another key knows none of them"


def test_a_client_whose_instance_is_slow_is_not_answered_by_another_one() -> None:
    """What is sent twice elsewhere is not sent to an instance that knows nothing of the session."""

    def slow(connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            threading.Event().wait(0.3 if asked.target == "/slow" else 0)
            connection.answer(b"a")

    with Backend(slow) as a, Backend(says("200 OK")) as b:
        settings = service(a, b, sticky=COOKIE, hedge={"after": "20ms", "budget": "100%"})
        with Gateway({"services": {"s": settings}}, env=SECRET) as gateway:
            gateway.wait_for_control()
            browser = Browser()
            while browser.get(gateway).body != b"a":
                browser = Browser()
            assert {browser.get(gateway, "/api/s/slow").body for _ in range(3)} == {b"a"}
            strangers = [Browser().get(gateway, "/api/s/slow") for _ in range(4)]
            assert {answer.body for answer in strangers} == {b"200 OK"}, "the others are sent twice"


# ---- by what the service issued


def sessions(connection: Connection) -> None:
    """A service with sessions in its memory: `/new/header` and `/new/cookie` begin one, all else has to bring one."""
    backend = connection.backend
    known = vars(backend).setdefault("known", set())
    while (asked := connection.next_request()) is not None:
        brought = asked.get("mcp-session-id") or (asked.get("cookie") or "").removeprefix("sid=")
        lines = [f"X-Backend: {backend.name}"]
        if asked.target.startswith("/new"):
            known.add(brought := f"session-{next(_numbers)}")
            issued = f"Mcp-Session-Id: {brought}" if "header" in asked.target else f"Set-Cookie: sid={brought}; Path=/"
            lines.append(issued)
        if "stream" in asked.target:
            head = ["HTTP/1.1 200 OK", *lines, "Content-Type: text/event-stream", "", ""]
            connection.send("\r\n".join(head).encode())
            connection.wait_for_end()
            return
        connection.answer(b"", "200 OK" if brought in known else "404 Not Found", *lines)


def issuing(store: str | None, *backends: Backend, **gateway: Any) -> dict[str, Any]:
    redis = {"redis_url": store, "redis_timeout": 1} if store else {}
    return {
        "gateway": {"workers": 2, **redis, **gateway},
        "services": {
            "header": service(*backends, sticky={"issued": "Mcp-Session-Id"}),
            "cookie": service(*backends, sticky={"issued": {"cookie": "sid"}}),
        },
    }


def begin(gateway: Gateway, kind: str) -> str:
    """The line by which a new session is continued."""
    answer = gateway.ask("POST", f"/api/{kind}/new/{kind}", body=b"{}")
    if kind == "header":
        return f"Mcp-Session-Id: {answer.get('mcp-session-id')}"
    return f"Cookie: {(answer.get('set-cookie') or '').partition(';')[0]}"


def statuses(gateway: Gateway, kind: str, line: str, times: int = 6) -> set[int]:
    return {gateway.ask("POST", f"/api/{kind}/x", line, body=b"{}").status for _ in range(times)}


@pytest.fixture
def issuers() -> Iterator[list[Backend]]:
    with Backend(sessions, name="a") as a, Backend(sessions, name="b") as b, Backend(sessions, name="c") as c:
        yield [a, b, c]


def test_what_a_service_issued_leads_back_in_every_worker_and_gateway(issuers: list[Backend]) -> None:
    with RedisProcess() as store, ExitStack() as stack:
        config = issuing(store.url, *issuers)
        first = stack.enter_context(Gateway(config))
        second = stack.enter_context(Gateway(config))
        for gateway in (first, second):
            gateway.wait_for_control()
        for kind in ("header", "cookie"):
            lines = [begin(first, kind) for _ in range(8)]
            for line in lines:
                assert statuses(first, kind, line) | statuses(second, kind, line) == {200}
        keys = set(store.client.keys("portico:sticky:*")) - {"portico:sticky:probe"}
        assert len(keys) == 16
        assert not any("session-" in key for key in keys), "what a session is opened with is nowhere in Redis"
        assert all(0 < store.client.ttl(key) <= 3600 for key in keys)
        assert statuses(first, "header", "Mcp-Session-Id: unknown") == {404}
        gone, *_ = first.workers()
        os.kill(gone, signal.SIGKILL)
        until(lambda: gone not in (workers := first.workers()) and len(workers) == 2, "another worker serves")
        assert set().union(*(statuses(first, "cookie", line) for line in lines)) == {200}, "it asks who issued them"


def test_the_head_of_an_event_stream_is_enough(issuers: list[Backend]) -> None:
    with RedisProcess() as store, Gateway(issuing(store.url, *issuers)) as gateway, gateway.wire() as wire:
        gateway.wait_for_control()
        wire.send(b"GET /api/header/new/header/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += wire.socket.recv(65536)
        line = next(each for each in head.decode().split("\r\n") if each.startswith("Mcp-Session-Id"))
        assert statuses(gateway, "header", line) == {200}


def test_without_redis_one_worker_knows_its_own_and_reloads_forget_nothing(issuers: list[Backend]) -> None:
    config = issuing(None, *issuers, workers=1)
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        lines = [begin(gateway, "header") for _ in range(6)]
        assert set().union(*(statuses(gateway, "header", line, 3) for line in lines)) == {200}
        with RedisProcess() as store:
            reload(gateway, issuing(store.url, *issuers, workers=1))
            assert set().union(*(statuses(gateway, "header", line, 3) for line in lines)) == {200}
            assert statuses(gateway, "cookie", begin(gateway, "cookie"), 3) == {200}
            until(lambda: len(store.client.keys("portico:sticky:cookie:*")) == 1, "what is issued now is shared")
            reload(gateway, config)
        assert set().union(*(statuses(gateway, "header", line, 3) for line in lines)) == {200}


def test_a_redis_that_is_away_costs_no_request(issuers: list[Backend]) -> None:
    with RedisProcess() as store, Gateway(issuing(store.url, *issuers, workers=1)) as gateway:
        gateway.wait_for_control()
        line = begin(gateway, "header")
        store.signal(signal.SIGKILL)
        until(lambda: any("does not serve sticky" in event["event"] for event in gateway.events()))
        assert statuses(gateway, "header", line) == {200}, "what the worker knows itself still holds"
        assert statuses(gateway, "header", begin(gateway, "header")) == {200}
        assert statuses(gateway, "header", "Mcp-Session-Id: unknown") == {404}
