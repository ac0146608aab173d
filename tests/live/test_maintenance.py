"""Services in maintenance: what clients get, what goes on meanwhile, and where it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.backend import Backend
from support.client import ask
from support.documented import example
from support.metrics import metric
from support.portico import run_portico
from support.structured import read_list
from support.tokens import SECRET
from support.world import Gateway, until

BROWSER = "Accept: text/html,*/*;q=0.8"


def configuration(backend: Backend, maintenance: Any) -> dict[str, Any]:
    checked = {"url": backend.url, "health_check": {"path": "/health", "interval": "100ms"}}
    plain = {"url": backend.url, "health_check": False}
    policies = {
        "auth": {"jwt": {"secret": SECRET}},
        "rate_limit": {"requests_per_minute": 1, "burst": 1},
        "errors": {"5xx": {"html": {"body": "<p>{reason}: {detail}"}, "text": {"body": "{title}"}}},
    }
    own = {"retry_after": "90s", "detail": "back at ten", "html": {"body": "<h1>Ten</h1>{detail}"}}
    return {
        "services": {
            "shop": {**checked, "maintenance": maintenance, "policies": policies},
            "own": {**plain, "maintenance": own, "policies": policies},
            "old": {**plain, "versions": {"v1": {"maintenance": True}}},
            "other": plain,
        },
        "routes": [
            {"service": "shop", "path": "/shop", "name": "shop"},
            {
                "service": "shop",
                "path": "/shop",
                "name": "inside",
                "hosts": ["inside.test"],
                "maintenance": False,
                "policies": {"auth": False, "rate_limit": False},
            },
            {"service": "other", "path": "/closed", "name": "closed", "maintenance": True},
        ],
        "policies": {"cors": {"allow_origins": ["https://app.example"]}},
    }


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Gateway, Backend]]:
    with ExitStack() as stack:
        backend = stack.enter_context(Backend())
        gateway = stack.enter_context(Gateway(configuration(backend, True)))
        gateway.wait_for_control()
        yield gateway, backend


World = tuple[Gateway, Backend]


@pytest.mark.parametrize("target", ["/shop/x", "/api/shop/x", "/shop", "/closed/x", "/v1/old/x"])
def test_every_request_is_answered(world: World, target: str) -> None:
    """As often as it comes, with a token or without: no limit and no token is looked at."""
    gateway, backend = world
    for method in ("GET", "POST", "HEAD"):
        before = [each.target for each in backend.requests if each.target != "/health"]
        answer = gateway.ask(method, target, body=b"x" if method == "POST" else None)
        assert (answer.status, answer.get("retry-after")) == (503, "300")
        assert answer.get("cache-control") == "no-store"
        if method != "HEAD":
            assert answer.json()["reason"] == "maintenance"
            assert answer.json()["detail"] == "this service is in maintenance; try again later"
        (member,) = read_list(*answer.all("proxy-status"))
        assert member.parameters == {"error": "destination_unavailable"}
        line = gateway.logged(answer.get("x-request-id"))
        assert (line["reason"], line["attempts"]) == ("maintenance", 0)
        assert [each.target for each in backend.requests if each.target != "/health"] == before


@pytest.mark.parametrize(
    ("target", "retry_after", "accept", "body"),
    [
        ("/shop/x", "300", BROWSER, "<p>maintenance: this service is in maintenance; try again later"),
        ("/shop/x", "300", "Accept: text/plain", "Service Unavailable"),
        ("/api/own/x", "90", BROWSER, "<h1>Ten</h1>back at ten"),
        ("/api/own/x", "90", "Accept: text/plain", "Service Unavailable"),
    ],
)
def test_what_it_looks_like(world: World, target: str, retry_after: str, accept: str, body: str) -> None:
    """Its own form, or else that of its errors."""
    gateway, _ = world
    answer = gateway.get(target, accept)
    assert (answer.status, answer.get("retry-after"), answer.body.decode()) == (503, retry_after, body)


def test_pages_of_other_origins_can_read_it(world: World) -> None:
    gateway, _ = world
    origin = "Origin: https://app.example"
    assert gateway.get("/shop/x", origin).get("access-control-allow-origin") == "https://app.example"
    answer = gateway.ask("OPTIONS", "/shop/x", origin, "Access-Control-Request-Method: PUT")
    assert answer.status == 204


def test_others_are_served_and_so_is_an_exception(world: World) -> None:
    gateway, _ = world
    assert gateway.get("/api/other/x").status == 200
    assert gateway.get("/api/old/x").status == 200
    with gateway.wire() as wire:
        wire.send(b"GET /shop/x HTTP/1.1\r\nHost: inside.test\r\n\r\n")
        assert wire.receive().status == 200


def test_health_checks_go_on_and_it_is_shown(world: World) -> None:
    gateway, backend = world

    def checks() -> int:
        return sum(each.target == "/health" for each in backend.requests)

    before = checks()
    until(lambda: checks() > before + 2, "it is checked")
    health = gateway.get("/health").json()["services"]
    assert (health["shop"]["status"], health["shop"]["maintenance"]) == ("healthy", True)
    assert "maintenance" not in health["other"]
    assert metric(gateway, "gateway_instance_healthy", service="shop", instance=backend.url) == 1
    document = ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()
    assert document["maintenance"] == ["shop", "own", "old@v1", "route closed"]
    shown = run_portico("status", "--admin", f"127.0.0.1:{gateway.admin_port}")
    assert shown.returncode == 0, shown.stderr
    assert "in maintenance: shop\nin maintenance: own\nin maintenance: old@v1\n" in shown.stdout


def test_check_warns_of_it(world: World) -> None:
    gateway, _ = world
    checked = run_portico("check", "--config", str(gateway.file), SECRET_KEY=SECRET)
    assert checked.returncode == 0
    warned = checked.stdout + checked.stderr
    assert "services.shop.maintenance: is in maintenance: its requests get 503 until this key goes" in warned
    assert "routes[2].maintenance: is in maintenance" in warned


def test_it_begins_and_ends_with_a_reload(backend: Backend) -> None:
    with Gateway(configuration(backend, False)) as gateway:
        gateway.wait_for_control()
        for maintenance, status in ((True, 503), (False, 401), ({"detail": "again"}, 503)):
            gateway.write(configuration(backend, maintenance))
            assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
            assert gateway.get("/shop/x").status == status


def test_the_documented_example(backend: Backend) -> None:
    config, (shown,) = example("errors.md", "maintenance: true", backend.url)
    with Gateway(config) as gateway:
        for target in ("/shop/x", "/api/shop/x"):
            answer = gateway.get(target)
            assert answer.start == shown[0]
            for line in shown[1:]:
                name, _, value = line.partition(": ")
                assert answer.all(name) == [value]
        answer = gateway.get("/api/blog/x", BROWSER)
        assert answer.body == b"<h1>Back at ten</h1><p>we are moving; back at ten"
        assert answer.get("retry-after") == "1800"
        assert gateway.get("/shop/x", "X-Tester: yes-please").status == 200
