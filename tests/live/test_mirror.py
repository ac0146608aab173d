"""Copies of requests for another service: what it gets, and that nothing it does reaches the route's own clients."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing, Script, content, well_behaved
from support.client import Wire, ask, request
from support.messages import Message
from support.metrics import page
from support.world import Gateway, until

OUTCOMES = "gateway_mirrored_requests_total"


def mirroring(**settings: Any) -> dict[str, Any]:
    return {"service": "shadow", **settings}


def config(shop: Backend, shadow: Backend | dict[str, Any]) -> dict[str, Any]:
    """A route for each way to mirror."""
    ways: dict[str, Any] = {
        "all": mirroring(),
        "small": mirroring(max_body=10),
        "reads": mirroring(methods=["GET"]),
        "none": mirroring(share=0),
        "bare": mirroring(remove_headers=["Authorization", "Cookie"]),
        "one": mirroring(max_in_flight=1),
        "brief": mirroring(timeout="200ms"),
        "large": mirroring(max_body="4MiB"),
    }
    routes: list[dict[str, Any]] = [
        {"name": name, "service": "shop", "path": f"/{name}", "mirror": way} for name, way in ways.items()
    ]
    routes.append({"name": "two", "service": "shop", "path": "/two", "mirror": ["shadow", "other"]})
    cached = {"name": "cached", "service": "shop", "path": "/cached", "mirror": "shadow"}
    routes.append({**cached, "policies": {"cache": {"ttl": 60}}})
    sides = [{"service": "shop", "weight": 1}, {"service": "other", "weight": 0, "headers": {"X-Side": "other"}}]
    routes.append({"name": "split", "split": sides, "path": "/split", "mirror": mirroring(max_in_flight=1)})
    routes.append(
        {"name": "canary", "service": "shop", "canary": {"to": "other"}, "path": "/canary", "mirror": "shadow"}
    )
    routes.append({"name": "plain", "service": "shop", "path": "/plain"})
    if isinstance(shadow, Backend):
        shadow = {"url": shadow.url, "health_check": False, "circuit_breaker": {"failures": 3}}
    return {"services": {"shop": shop, "shadow": shadow, "other": shadow}, "routes": routes}


@pytest.fixture(scope="module")
def shop() -> Iterator[Backend]:
    with Backend(name="shop") as backend:
        yield backend


@pytest.fixture(scope="module")
def shadow() -> Iterator[Backend]:
    with Backend(name="shadow") as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(shop: Backend, shadow: Backend) -> Iterator[Gateway]:
    with Gateway(config(shop, shadow)) as gateway:
        gateway.wait_for_control()
        yield gateway


@contextmanager
def behaving(backend: Backend, script: Script) -> Iterator[None]:
    """Another script for as long as this is held."""
    backend.disconnect()
    backend.script = script
    try:
        yield
    finally:
        backend.script = well_behaved
        backend.disconnect()


def copies(backend: Backend, target: str) -> list[Message]:
    with backend.lock:
        return [each for each in backend.requests if each.target == target]


def copy(backend: Backend, target: str) -> Message:
    """The one request for a target."""
    found = until(lambda: copies(backend, target), f"a copy of {target} arrives")
    assert len(found) == 1
    return found[0]


def outcomes(gateway: Gateway, route: str, service: str = "shadow") -> dict[str, float]:
    """How many copies of a route's requests came to what."""
    own = {f'route="{route}"', f'service="{service}"'}
    return {
        next(label for label in labels if label.startswith("outcome=")).split('"')[1]: value
        for (name, labels), value in page(gateway).items()
        if name == OUTCOMES and own <= set(labels)
    }


def counted(gateway: Gateway, route: str, outcome: str, least: float = 1) -> bool:
    return outcomes(gateway, route).get(outcome, 0) >= least


# ---- what is copied


def test_a_copy_is_what_the_service_gets_with_a_mark(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    lines = ("X-Own: 1", "Authorization: Bearer abc", "Cookie: a=b")
    answer = gateway.ask("POST", "/all/orders?x=%20y", *lines, body=b"hello")
    assert answer.json()["backend"] == "shop"
    original, mirrored = copy(shop, "/orders?x=%20y"), copy(shadow, "/orders?x=%20y")
    assert (mirrored.method, mirrored.body) == (original.method, original.body) == ("POST", b"hello")
    assert original.get("x-portico-mirror") is None
    assert mirrored.get("x-portico-mirror") == "all"
    others = [field for field in mirrored.fields if field[0] not in ("X-Portico-Mirror", "Host")]
    assert others == [field for field in original.fields if field[0] != "Host"]
    until(lambda: counted(gateway, "all", "2xx"), "the copy is counted")


def test_who_claims_to_be_a_copy_is_not_copied_and_the_service_does_not_see_it(
    gateway: Gateway, shop: Backend, shadow: Backend
) -> None:
    gateway.get("/all/forged", "X-Portico-Mirror: x")
    gateway.get("/all/after-forged")
    copy(shadow, "/after-forged")
    assert copy(shop, "/forged").get("x-portico-mirror") is None
    assert copies(shadow, "/forged") == []


def test_a_chunked_body_stays_chunked(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    with gateway.wire() as wire:
        wire.send(b"POST /all/chunked-up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        until(lambda: any(b"/chunked-up" in each.received for each in shop.connections), "the head has gone on")
        wire.send(b"2\r\nde\r\n0\r\n\r\n")
        assert wire.receive().status == 200
    mirrored = copy(shadow, "/chunked-up")
    assert mirrored.body == b"abcde"
    assert mirrored.get("transfer-encoding") == "chunked"
    assert mirrored.get("content-length") is None


def test_a_client_that_waits_for_100_continue_gets_it(gateway: Gateway, shadow: Backend) -> None:
    with gateway.wire() as wire:
        wire.send(b"POST /all/expecting HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.receive().status == 100
        wire.send(b"hello")
        assert wire.receive().status == 200
    assert copy(shadow, "/expecting").body == b"hello"


def test_a_large_body_is_copied_where_the_route_says_so(gateway: Gateway, shadow: Backend) -> None:
    body = content(3 << 20)
    assert gateway.ask("POST", "/large/echo?big", body=body).body == body
    assert copy(shadow, "/echo?big").body == body


def test_head_and_bodiless_methods(gateway: Gateway, shadow: Backend) -> None:
    assert gateway.ask("HEAD", "/all/head").status == 200
    assert copy(shadow, "/head").method == "HEAD"
    assert gateway.ask("DELETE", "/all/delete", body=b"").status == 200
    assert copy(shadow, "/delete").get("content-length") == "0"


@pytest.mark.parametrize(
    ("route", "method", "body", "outcome"),
    [
        ("small", "POST", b"more than ten", "too_large"),
        ("reads", "POST", b"", None),
        ("none", "GET", None, None),
        ("plain", "GET", None, None),
    ],
)
def test_what_is_not_copied(
    gateway: Gateway, shadow: Backend, route: str, method: str, body: bytes | None, outcome: str | None
) -> None:
    assert gateway.ask(method, f"/{route}/not-copied", body=body).json()["backend"] == "shop"
    gateway.get(f"/all/after-{route}")
    copy(shadow, f"/after-{route}")
    assert copies(shadow, "/not-copied") == []
    if outcome is None:
        assert outcomes(gateway, route) == {}
    else:
        assert counted(gateway, route, outcome)


def test_a_chunked_body_that_grows_too_large_is_not_copied(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    before = outcomes(gateway, "small").get("too_large", 0)
    with gateway.wire() as wire:
        wire.send(b"POST /small/grows HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
        until(lambda: any(b"/grows" in each.received for each in shop.connections), "the head has gone on")
        wire.send(b"6\r\n678901\r\n0\r\n\r\n")
        assert wire.receive().status == 200
    assert copy(shop, "/grows").body == b"12345678901"
    assert counted(gateway, "small", "too_large", before + 1)
    assert copies(shadow, "/grows") == []


def test_fields_can_be_left_out(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    gateway.get("/bare/secret", "Authorization: Bearer abc", "Cookie: a=b", "X-Own: 1")
    assert copy(shop, "/secret").get("authorization") == "Bearer abc"
    mirrored = copy(shadow, "/secret")
    assert (mirrored.get("authorization"), mirrored.get("cookie"), mirrored.get("x-own")) == (None, None, "1")


def test_two_mirrors_of_one_route(gateway: Gateway, shadow: Backend) -> None:
    gateway.get("/two/two-mirrors")
    until(lambda: len(copies(shadow, "/two-mirrors")) == 2, "both copies arrive")
    until(lambda: outcomes(gateway, "two", "other") == {"2xx": 1}, "that of the other one is counted")


def test_what_the_cache_answers_is_not_copied(gateway: Gateway, shadow: Backend) -> None:
    for _ in range(3):
        assert gateway.get("/cached/page").status == 200
    gateway.get("/all/after-cached")
    copy(shadow, "/after-cached")
    assert len(copies(shadow, "/page")) == 1


@pytest.mark.parametrize(("side", "backend"), [("shop", "shop"), ("other", "shadow")])
def test_each_side_of_a_split_is_mirrored(gateway: Gateway, shadow: Backend, side: str, backend: str) -> None:
    assert gateway.get(f"/split/{side}", f"X-Side: {side}").json()["backend"] == backend
    until(lambda: len(copies(shadow, f"/{side}")) == 1 + (backend == "shadow"), "the copy arrives")
    marks = [each.get("x-portico-mirror") for each in copies(shadow, f"/{side}")]
    assert sorted(filter(None, marks)) == ["split"]


def test_sides_share_the_bound_of_their_route(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    with behaving(shadow, silent):
        assert gateway.get("/split/x", "X-Side: shop").status == 200
        with gateway.wire() as wire:
            wire.send(request("GET", "/split/y", "X-Side: other"))
            until(lambda: counted(gateway, "split", "busy"), "the second copy is dropped")


def test_a_canary_is_mirrored(gateway: Gateway, shadow: Backend) -> None:
    assert gateway.get("/canary/both").status == 200
    until(lambda: "canary" in [each.get("x-portico-mirror") for each in copies(shadow, "/both")], "the copy arrives")


def test_upgrades_are_not_copied(gateway: Gateway, shop: Backend, shadow: Backend) -> None:
    def switches(connection: Connection) -> None:
        connection.next_request()
        connection.answer(b"no")

    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    with behaving(shop, switches):
        gateway.get("/all/socket", *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    gateway.get("/all/after-socket")
    copy(shadow, "/after-socket")
    assert copies(shadow, "/socket") == []


# ---- what the mirror does


def test_errors_of_the_mirror_are_counted(gateway: Gateway) -> None:
    assert gateway.get("/two/status/503").status == 503  # the service's own
    until(lambda: outcomes(gateway, "two").get("5xx") == 1, "its status is counted")


def endless(connection: Connection) -> None:
    connection.next_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        connection.send(bytes(65536))


def endless_chunks(connection: Connection) -> None:
    connection.next_request()
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")


def resets(connection: Connection) -> None:
    connection.next_request()
    connection.reset()


def babbles(connection: Connection) -> None:
    connection.next_request()
    connection.send(b"SSH-2.0-OpenSSH\r\n\r\n")
    connection.wait_for_end()


def silent(connection: Connection) -> None:
    connection.next_request()
    connection.wait_for_end()


def trickles(connection: Connection) -> None:
    connection.next_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.send(b"x")
        time.sleep(0.02)


def deaf(connection: Connection) -> None:
    until(lambda: connection.backend.ended or connection.backend.script is not deaf, "it is over")


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (endless, "2xx"),
        (endless_chunks, "2xx"),
        (resets, "failed"),
        (babbles, "failed"),
        (silent, "timeout"),
        (trickles, "timeout"),
    ],
)
def test_a_mirror_that_misbehaves(gateway: Gateway, shadow: Backend, script: Script, outcome: str) -> None:
    before = outcomes(gateway, "brief").get(outcome, 0)
    with behaving(shadow, script):
        assert gateway.get("/brief/x").json()["backend"] == "shop"
        until(lambda: counted(gateway, "brief", outcome, before + 1), "the copy is over")
    until(lambda: gateway.get("/brief/x").status == 200 and counted(gateway, "brief", "2xx"), "copies arrive again")


def test_a_body_that_the_mirror_does_not_read_is_dropped_in_time(gateway: Gateway, shadow: Backend) -> None:
    before = outcomes(gateway, "large").get("2xx", 0)
    with behaving(shadow, deaf):
        for number in range(5):
            body = content(4 << 20)
            assert gateway.ask("POST", f"/large/echo?{number}", body=body).body == body
    assert gateway.get("/large/x").status == 200
    until(lambda: counted(gateway, "large", "2xx", before + 1), "copies arrive again")


def test_no_more_are_under_way_than_configured(gateway: Gateway, shadow: Backend) -> None:
    with behaving(shadow, silent):
        for _ in range(3):
            assert gateway.get("/one/x").status == 200
        assert counted(gateway, "one", "busy", 2)
        assert "2xx" not in outcomes(gateway, "one")
    until(lambda: gateway.get("/one/x").status == 200 and counted(gateway, "one", "2xx"), "there is room again")


def test_a_client_that_leaves_in_the_middle_of_its_body_gives_the_room_back(
    gateway: Gateway, shop: Backend, shadow: Backend
) -> None:
    until(lambda: gateway.get("/one/x").status == 200 and counted(gateway, "one", "2xx"), "there is room")
    done = outcomes(gateway, "one")["2xx"]
    with gateway.wire() as wire:
        wire.send(b"POST /one/leaves HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        until(lambda: any(b"/leaves" in each.received for each in shop.connections), "the head has gone on")
        assert gateway.get("/one/y").status == 200  # its room is taken
        wire.reset()
    until(lambda: counted(gateway, "one", "aborted"), "it is over")
    assert outcomes(gateway, "one")["2xx"] == done
    gateway.get("/one/after-leaving")
    copy(shadow, "/after-leaving")
    assert copies(shadow, "/leaves") == []


def test_a_client_that_leaves_before_its_response_has_its_copy_sent(
    gateway: Gateway, shop: Backend, shadow: Backend
) -> None:
    with behaving(shop, silent):
        with gateway.wire() as wire:
            wire.send(request("GET", "/all/gone"))
            copy(shop, "/gone")
            wire.reset()
        assert copy(shadow, "/gone").method == "GET"


def test_a_slow_client_of_the_route_does_not_hold_its_copy(gateway: Gateway, shadow: Backend) -> None:
    with Wire(gateway.port, receive_buffer=4096) as wire:
        wire.send(request("GET", "/all/bytes/5000000"))
        copy(shadow, "/bytes/5000000")


def test_clients_of_the_mirror_itself_do_not_pay_for_copies(gateway: Gateway, shadow: Backend) -> None:
    before = outcomes(gateway, "brief").get("timeout", 0)
    with behaving(shadow, silent):
        for _ in range(6):  # more than open the breaker
            assert gateway.get("/brief/x").status == 200
        until(lambda: counted(gateway, "brief", "timeout", before + 6), "all are given up")
    assert gateway.get("/api/shadow/x").json()["backend"] == "shadow"


# ---- a mirror that is not there


def test_a_dead_mirror_is_left_alone_and_said_once() -> None:
    with (
        Backend(name="shop") as shop,
        Refusing() as refusing,
        Gateway(config(shop, {"url": refusing.url, "health_check": False})) as gateway,
    ):
        gateway.wait_for_control()
        for _ in range(20):
            assert gateway.get("/all/x").json()["backend"] == "shop"
        until(lambda: sum(outcomes(gateway, "all").values()) == 20, "each is counted")
        found = outcomes(gateway, "all")
        assert {*found} == {"failed", "unavailable"}
        assert found["unavailable"] > found["failed"]
        lost = [each for each in gateway.events() if each["event"] == "copies for a mirror are lost"]
        assert [(each["route"], each["service"]) for each in lost] == [("all", "shadow")]


def test_a_reload_keeps_what_is_under_way_and_the_end_does_not_wait_for_it(shop: Backend) -> None:
    with Backend(silent, name="shadow") as shadow, Gateway(config(shop, shadow)) as gateway:
        gateway.wait_for_control()
        gateway.get("/one/x")
        copy(shadow, "/x")
        reloaded = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert reloaded.status == 200, reloaded.body
        gateway.get("/one/y")
        assert outcomes(gateway, "one") == {"busy": 1}
        gateway.signal(signal.SIGTERM)
        gateway.running.wait(10)  # less than the copy may take
