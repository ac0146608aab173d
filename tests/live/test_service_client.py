"""A FastAPI service that uses `portico.client`, under uvicorn, behind a gateway: its client, and where links lead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend
from support.browser import browser_page, needs_chromium
from support.client import ask
from support.messages import Message
from support.service import UvicornService
from support.tokens import SECRET, bearer, token
from support.websocket import handshake, read_frame
from support.world import Gateway

KEY = "a key that the gateway and its services share"
NEXT_KEY = "the key that they are going to share after it"
IDENTIFIED: Any = {"auth": {"jwt": {"secret": SECRET}}, "identity": {"keys": [KEY, NEXT_KEY]}}


@pytest.fixture(scope="module")
def service() -> Iterator[UvicornService]:
    with UvicornService({"IDENTITY_KEYS": f"{NEXT_KEY},{KEY}"}) as own:
        yield own
        assert "Traceback" not in own.said(), own.said()


@pytest.fixture(scope="module")
def gateway(service: UvicornService) -> Iterator[Gateway]:
    plain = {"url": service.url, "health_check": False}
    config = {
        "services": {
            "orders": {**plain, "policies": IDENTIFIED, "retries": {"attempts": 2, "on": [503]}},
            "open": {**plain, "policies": {"identity": {"keys": [KEY]}}},
            "elsewhere": {**plain, "policies": {**IDENTIFIED, "identity": {"keys": ["x" * 40]}}},
        },
        "routes": [{"service": "orders", "path": "/other", "rewrite": "/{path}"}],
    }
    with Gateway(config) as own:
        yield own


ALICE = bearer(token(scope="orders:read"))
BOB = bearer(token(sub="bob", scope="orders:read orders:write"))


def refused(answer: Message, status: int, reason: str) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("www-authenticate") is not None
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["reason"]) == (status, reason)
    return document


def test_the_service_knows_the_client(gateway: Gateway) -> None:
    assert gateway.get("/api/orders/me?x=%20a", ALICE).json() == {"name": "alice", "scopes": ["orders:read"]}
    assert gateway.get("/other/me", BOB).json()["name"] == "bob"
    assert gateway.get("/api/orders/maybe?", ALICE).json() == {"name": "alice"}
    assert gateway.get("/api/open/maybe").json() == {"name": None}
    assert gateway.ask("POST", "/api/orders/write", BOB, body=b"{}").json() == {"name": "bob"}


def test_what_the_service_refuses(gateway: Gateway) -> None:
    missing = refused(gateway.get("/api/open/me"), 401, "identity_missing")
    assert missing["instance"] == "/api/open/me"
    lacking = refused(gateway.ask("POST", "/api/orders/write", ALICE, body=b"{}"), 403, "scope_missing")
    assert "orders:write" in lacking["detail"]
    refused(gateway.get("/api/elsewhere/me", ALICE), 401, "identity_invalid")


def test_a_second_try_has_a_signature_of_its_own(gateway: Gateway) -> None:
    answer = gateway.get("/api/orders/flaky", ALICE, "X-Name: once")
    assert (answer.status, answer.json()) == (200, {"name": "alice"})
    assert gateway.logged(answer.get("x-request-id"))["attempts"] == 2


def captured(count: int = 1) -> list[list[str]]:
    """The fields of requests for /me of orders, as somebody would find them who listens between gateway and service."""
    with Backend() as tap:
        config = {"services": {"orders": {"url": tap.url, "health_check": False, "policies": IDENTIFIED}}}
        with Gateway(config) as gateway:
            for _ in range(count):
                gateway.get("/api/orders/me", BOB)
        return [[f"{name}: {value}" for name, value in each.fields if name.lower() != "host"] for each in tap.requests]


def test_forged_and_stolen_identities(service: UvicornService, gateway: Gateway) -> None:
    first, second = captured(2)
    assert service.get("/me", *first).json()["name"] == "bob", "what was stolen is genuine"
    assert "used before" in refused(service.get("/me", *first), 401, "identity_invalid")["detail"]
    for method, target in (("GET", "/write"), ("POST", "/write"), ("GET", "/me?x"), ("GET", "/api/orders/me")):
        answer = ask(service.port, method, target, *second)
        assert answer.status in (401, 404), answer
    other_id = [line for line in second if not line.lower().startswith("x-request-id")]
    refused(service.get("/me", *other_id, "X-Request-ID: other"), 401, "identity_invalid")
    refused(service.get("/me", *other_id), 401, "identity_invalid")
    refused(service.get("/me", "X-Consumer-Username: root", "X-Consumer-Scopes: orders:write"), 401, "identity_missing")
    refused(service.get("/me", "X-Consumer-Identity: e30.e30.e30"), 401, "identity_invalid")
    refused(service.get("/me", *second, *second), 401, "identity_invalid")
    stolen = next(line for line in second if line.lower().startswith("x-consumer-identity"))
    for line in (stolen, stolen.replace("-", "_", 2)):
        refused(gateway.get("/api/open/me", line), 401, "identity_missing")
    assert service.get("/me", *second).status == 200, "none of these has used it up"


def test_a_websocket(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(handshake("/api/orders/talk?x=1", ALICE))
        assert wire.receive().status == 101
        frame = read_frame(wire.file)
    assert frame is not None
    assert json.loads(frame.payload) == {"name": "alice", "url": "ws://gateway.test/api/orders/talk?x=1"}


@pytest.mark.parametrize("prefix", ["/api/open", "/other"])
def test_links_lead_back_through_the_gateway(gateway: Gateway, prefix: str) -> None:
    there = "http://shop.test:8080" + prefix
    found = gateway.get(f"{prefix}/links", "Host: shop.test:8080", ALICE).json()
    assert found == {"item": f"{there}/items/7", "self": f"{there}/links", "base": f"{there}/", "client": "127.0.0.1"}
    redirect = gateway.get(f"{prefix}/items", "Host: shop.test:8080", ALICE)
    assert (redirect.status, redirect.get("location")) == (307, f"{there}/items/")
    document = gateway.get(f"{prefix}/openapi.json", ALICE).json()
    assert document["servers"] == [{"url": prefix}]
    assert f"'{prefix}/openapi.json'" in gateway.get(f"{prefix}/docs", ALICE).body.decode().replace('"', "'")


def test_without_a_gateway_nothing_changes(service: UvicornService) -> None:
    assert service.get("/links").json()["item"] == "http://gateway.test/items/7"
    assert "servers" not in service.get("/openapi.json").json()


@needs_chromium
def test_the_docs_page_in_a_browser(gateway: Gateway) -> None:
    """Its script comes from a network that is not there; a stand-in does what Swagger UI does first."""
    script = """
        window.SwaggerUIBundle = options => {
            fetch(options.url).then(answer => answer.json()).then(async found => {
                const server = new URL(found.servers[0].url, location.href).href;
                const called = await (await fetch(server + "/items/7")).json();
                document.title = [new URL(options.url, location.href).pathname, server, called.number].join(" ");
            });
            return {initOAuth() {}};
        };
        window.SwaggerUIBundle.presets = {apis: 0};
        window.SwaggerUIBundle.SwaggerUIStandalonePreset = 0;
    """
    with browser_page() as page:

        def elsewhere(route: Any) -> None:
            if route.request.url.startswith(gateway.url):
                route.continue_()
            elif route.request.url.endswith(".js"):
                route.fulfill(body=script, content_type="text/javascript")
            else:
                route.abort()

        page.route("**/*", elsewhere)
        assert page.goto(f"{gateway.url}/api/open/docs").status == 200
        page.wait_for_function("document.title.includes('openapi.json')")
        assert page.title() == f"/api/open/openapi.json {gateway.url}/api/open 7"
