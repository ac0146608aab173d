"""The documents of services as one, over sockets: fetched in the background, kept, and shown."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.apps import serving
from support.backend import Backend, Connection, Refusing
from support.browser import needs_chromium
from support.client import ask
from support.documented_apps import OLD, orders, pages, users
from support.openapi_validator import validate
from support.passwords import hashed
from support.scripts import hung
from support.tokens import SECRET
from support.world import Gateway, until


def html(connection: Connection) -> None:
    while connection.next_request() is not None:
        connection.answer(
            b"<!doctype html><title>an application of one page</title>", "200 OK", "Content-Type: text/html"
        )


def old(connection: Connection) -> None:
    while (request := connection.next_request()) is not None:
        if request.target == "/context/stock":
            connection.answer(b"{}", "200 OK", "Content-Type: application/json")
        elif request.target != "/openapi.json":
            connection.answer(b"", "404 Not Found")
        elif request.get("if-none-match") == '"1"':
            connection.answer(b"", "304 Not Modified", 'ETag: "1"')
        else:
            connection.answer(json.dumps(OLD).encode(), "200 OK", 'ETag: "1"')


OFTEN = {"every": "1s"}


class World:
    """A gateway before services that document themselves, each as well as it can."""

    def __init__(self, stack: ExitStack) -> None:
        self.orders, self.stack = orders(), stack
        self.old, slow, page = (stack.enter_context(Backend(script)) for script in (old, hung, html))
        self.users = ExitStack()
        own = {"health_check": False, "openapi": OFTEN}
        self.config: dict[str, Any] = {
            "gateway": {"endpoints": {"docs": "public"}, "title": "Shop <API>"},
            "consumers": [{"name": "ann", "password": hashed("correct horse"), "scopes": ["orders:read"]}],
            "services": {
                "orders": {"url": stack.enter_context(serving(self.orders)), **own},
                "users": {"url": self.users.enter_context(serving(users())), **own},
                "pages": {"url": stack.enter_context(serving(pages())), **own, "default_routes": False},
                "old": {"url": self.old.url, **own, "versions": {"v1": {"rewrite": "/context/{path}"}}},
                "slow": {"url": slow.url, **own},
                "gone": {"url": stack.enter_context(Refusing()).url, **own},
                "html": {"url": page.url, **own},
                "silent": {"url": page.url, "health_check": False, "openapi": False},
            },
            "routes": [
                {"name": "pages", "service": "pages", "path": "/"},
                {
                    "name": "guarded",
                    "service": "orders",
                    "path": "/guarded",
                    "methods": ["GET"],
                    "policies": {"auth": {"jwt": {}}, "authorize": {"scopes": ["orders:read"]}},
                },
                {
                    "name": "pattern",
                    "service": "users",
                    "path": "~ ^/people/(?P<id>[a-z]+)$",
                    "rewrite": "/items/{id}",
                },
            ],
        }
        stack.enter_context(self.users)
        self.gateway = stack.enter_context(Gateway(self.config, env={"SECRET_KEY": SECRET}))
        self.gateway.wait_for_control()

    def document(self) -> Any:
        answer = self.gateway.get("/openapi.json")
        assert answer.status == 200
        return answer.json()

    def states(self) -> dict[str, str]:
        about = self.document()["info"]["x-portico"]["services"]
        return {name: each["state"] for name, each in about.items()}

    def events(self, text: str) -> list[Any]:
        return [each for each in self.gateway.events() if text in each["event"]]

    def admin(self, path: str) -> Any:
        answer = ask(self.gateway.admin_port, "GET", path, "Host: localhost")
        assert answer.status == 200
        return answer.json()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        own = World(stack)
        until(lambda: sum(state == "current" for state in own.states().values()) == 4)
        yield own


def test_all_services_that_can_be_read_are_there(world: World) -> None:
    """C37: one is slow, one refuses, one has a page at every path, one is mounted at `/`."""
    document = world.document()
    validate(document)
    assert set(document["paths"]) == {
        *(f"/api/{name}/{path}" for name in ("orders", "users") for path in ("health", "items/{item_id}")),
        "/api/orders/items",
        "/guarded/health",
        "/guarded/items/{item_id}",
        "/people/{item_id}",
        "/pages/{path}",
        "/token",
        "/api/old/context/stock",
        "/v1/old/stock",
    }
    assert document["servers"] == [{"url": "./"}]
    schemas = document["components"]["schemas"]
    assert {"HTTPValidationError", "ValidationError", "Error", "orders_Item", "users_Item", "old_Item"} == set(schemas)
    assert schemas["old_Item"]["properties"]["name"] == {"type": ["string", "null"]}
    about = document["info"]["x-portico"]
    assert about["apart"] == {"schemas/Item": ["orders_Item", "users_Item", "old_Item"]}
    until(lambda: world.document()["info"]["x-portico"]["services"]["html"].get("reason"), "it has been asked")
    about = world.document()["info"]["x-portico"]
    states = {name: (each["state"], each.get("reason")) for name, each in about["services"].items()}
    assert states == {
        "pages": ("current", None),
        "orders": ("current", None),
        "users": ("current", None),
        "old": ("current", None),
        "slow": ("missing", states["slow"][1]),
        "gone": ("missing", "it does not answer"),
        "html": ("missing", "it cannot be used"),
    }
    assert "127.0.0.1" not in json.dumps(document), "addresses of services are for the operator"
    ids = [
        each["operationId"] for item in document["paths"].values() for each in item.values() if "operationId" in each
    ]
    assert len(set(ids)) == len(ids)
    assert document["paths"]["/api/orders/items"]["post"]["tags"] == ["orders: writing"]


def test_what_failed_is_an_event_each(world: World) -> None:
    failures = {each["service"]: each["reason"] for each in world.events("could not be fetched: none is known")}
    assert failures["html"] == "what is at /openapi.json cannot be used: it is HTML or XML, not JSON or YAML"
    assert "/openapi.json" in failures["gone"]
    (apart,) = world.events("components that differ between services")[-1:]
    assert apart["names"] == "schemas/Item: orders_Item, users_Item, old_Item"


def test_what_is_asked_for_is_what_gateway_and_service_ask_for(world: World) -> None:
    document = world.document()
    guarded = document["paths"]["/guarded/items/{item_id}"]["get"]
    assert guarded["security"] == [{"gateway_token": ["orders:read"]}, {"gateway_bearer": ["orders:read"]}]
    schemes = document["components"]["securitySchemes"]
    flow = schemes["gateway_token"]["flows"]["password"]
    assert flow == {"tokenUrl": "./auth/token", "refreshUrl": "./auth/token", "scopes": {"orders:read": ""}}
    assert "post" not in document["paths"].get("/guarded/items", {})
    assert document["paths"]["/pages/{path}"]["get"]["security"] == [{"OAuth2PasswordBearer": []}]
    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "./token"
    assert "security" not in document["paths"]["/api/orders/health"]["get"]


def test_it_is_sent_once(world: World) -> None:
    answer = world.gateway.get("/openapi.json")
    assert answer.get("content-type") == "application/json"
    again = world.gateway.get("/openapi.json", f"If-None-Match: {answer.get('etag')}")
    assert (again.status, again.body) == (304, b"")
    head = world.gateway.ask("HEAD", "/openapi.json")
    assert (head.status, head.get("content-length")) == (200, str(len(answer.body)))


def test_documents_are_asked_for_by_their_tags(world: World) -> None:
    asked = [request for request in world.old.requests if request.target == "/openapi.json"]
    until(lambda: any(request.get("if-none-match") == '"1"' for request in world.old.requests))
    assert asked[0].get("if-none-match") is None
    assert (asked[0].get("user-agent") or "").startswith("portico")


def test_the_page_and_its_files(world: World) -> None:
    page = world.gateway.get("/docs")
    assert (page.status, page.get("content-type")) == (200, "text/html; charset=utf-8")
    assert b"<title>Shop &lt;API&gt;</title>" in page.body
    policy = page.get("content-security-policy") or ""
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon.png", "oauth2-redirect.html"):
        assert world.gateway.get(f"/docs/{name}").status == 200
    redirect = world.gateway.get("/docs/oauth2-redirect.html")
    assert "script-src 'sha256-" in (redirect.get("content-security-policy") or "")
    assert world.gateway.get("/docs/redoc.standalone.js").status == 404
    endpoints = world.admin("/")["endpoints"]  # on the gateway's port `/` is that of `pages`
    assert (endpoints["docs"], endpoints["openapi"]) == ("/docs", "/openapi.json")


@needs_chromium
def test_swagger_ui_tries_operations_out(world: World, browser: Any) -> None:
    page, said = opened(browser, world.gateway.url)
    status = tried_out(page, "orders_health_health_get")
    assert (status, said) == ("200", [])


@needs_chromium
def test_swagger_ui_authorizes_by_the_tokens_of_the_gateway(world: World, browser: Any) -> None:
    page, said = opened(browser, world.gateway.url)
    assert tried_out(page, "guarded_health_health_get") == "401"
    page.click(".auth-wrapper .authorize")
    form = page.locator(".auth-container", has_text="gateway_token")
    form.locator("#oauth_username").fill("ann")
    form.locator("#oauth_password").fill("correct horse")
    form.locator("label", has_text="orders:read").click()
    form.locator(".auth-btn-wrapper .authorize").click()
    form.locator("text=Logout").wait_for()
    form.locator(".btn-done").click()
    page.click(f"{block('guarded_health_health_get')} .execute")
    page.locator(".live-responses-table tbody .response-col_status", has_text="200").first.wait_for()
    assert [each for each in said if "401" not in each] == []


@needs_chromium
def test_the_page_works_behind_a_prefix(world: World, browser: Any) -> None:
    """Another proxy before the gateway takes one off: all that the page loads and asks for is relative to it."""
    services = {"inner": {"url": world.gateway.url, "health_check": False, "openapi": False}}
    route = {"service": "inner", "path": "/outer"}
    with Gateway({"services": services, "routes": [route]}) as outer:
        page, said = opened(browser, f"{outer.url}/outer")
        assert tried_out(page, "orders_health_health_get") == "200"
        assert page.locator(".request-url pre").inner_text() == f"{outer.url}/outer/api/orders/health"
    assert said == []


def opened(browser: Any, base: str) -> tuple[Any, list[str]]:
    """The page, and what its console says: violations of its policy among it."""
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith((base, "data:")) else None
    )
    page.goto(f"{base}/docs")
    page.wait_for_selector(".opblock")
    return page, said


def block(operation: str) -> str:
    """An operation on the page."""
    return f".opblock[id$='-{operation}']"


def tried_out(page: Any, operation: str) -> str:
    """The status of an operation that is tried out."""
    page.click(f"{block(operation)} .opblock-summary-control")
    page.click(f"{block(operation)} .try-out__btn")
    page.click(f"{block(operation)} .execute")
    status = page.wait_for_selector(f"{block(operation)} .live-responses-table tbody .response-col_status")
    return str(status.inner_text().split()[0])


def test_one_that_is_away_keeps_its_last_document(world: World) -> None:
    """Also where the control process is another one."""
    before = world.document()["paths"]
    world.users.close()
    until(lambda: world.states()["users"] == "last known")
    assert world.document()["paths"] == before
    assert "users** (last known: it does not answer" in world.document()["info"]["description"].replace(
        ": Users 0.9", ""
    )
    reason = world.events("could not be fetched: the last known one is shown")[-1]
    assert reason["service"] == "users"
    world.gateway.reload()
    assert world.document()["paths"] == before
    os.kill(world.gateway.control(), signal.SIGKILL)
    world.gateway.wait_for_control()
    until(lambda: world.states()["orders"] == "current")
    assert world.states()["users"] == "last known", "it was kept in a file"
    assert {path for path in world.document()["paths"] if "users" in path} == {
        path for path in before if "users" in path
    }
    port = int(world.config["services"]["users"]["url"].rpartition(":")[2])
    with serving(users(), port):
        until(lambda: world.states()["users"] == "current")


def test_what_breaks_clients_is_an_event(world: World) -> None:
    schema = json.loads(json.dumps(world.orders.openapi()))
    del schema["paths"]["/items"]
    schema["components"]["schemas"]["Item"]["properties"]["count"]["type"] = "string"
    world.orders.openapi_schema = schema
    (event,) = until(lambda: world.events("in ways that break clients"))
    assert event["service"] == "orders"
    assert event["changes"].split("; ") == [
        "GET /items/{item_id}: the response 200/count is string now, and was integer",
        "/items: the path is gone",
    ]
    until(lambda: "/api/orders/items" not in world.document()["paths"])
    (known,) = [each for each in world.admin("/admin/openapi")["documents"] if each["service"] == "orders"]
    assert known["breaking"] == event["changes"].split("; ")
    assert known["state"] == "current"


@pytest.mark.parametrize(("word", "status", "admin"), [("internal", 200, 200), ("admin", 404, 200), ("off", 404, 404)])
def test_who_may_read_them(world: World, word: str, status: int, admin: int) -> None:
    """`pages` is mounted at `/`: what is not the gateway's is its own."""
    gateway = world.gateway
    endpoints = {"docs": word, "networks": ["127.0.0.0/8"]}
    gateway.write({**world.config, "gateway": {**world.config["gateway"], "endpoints": endpoints}})
    gateway.reload()
    try:
        answers = [gateway.get(path) for path in ("/docs", "/openapi.json", "/docs/start.js")]
        titles = [b"Shop" in answer.body for answer in answers[:2]]
        assert titles == [status == 200] * 2
        if status != 200:
            assert answers[1].json()["info"]["title"] == "Pages", "the service's own"
            assert answers[2].status == 404
        for path in ("/docs", "/openapi.json"):
            assert ask(gateway.admin_port, "GET", path, "Host: localhost").status == admin
        assert ("docs" in world.admin("/")["endpoints"]) == (status == 200)
    finally:
        gateway.write(world.config)
        gateway.reload()


def test_listeners_show_what_they_serve() -> None:
    """Also the one that serves all, whichever stands first; and a service that registers is there with its document."""
    with Backend(old) as service:
        own = {"url": service.url, "health_check": False}
        listen = [
            {"port": 0, "host": "127.0.0.1", "name": "part", "routes": ["one"]},
            {"port": 0, "host": "127.0.0.1", "name": "all"},
            {"port": 0, "host": "127.0.0.1", "name": "none", "endpoints": "off"},
        ]
        gateway = {"listen": listen, "endpoints": {"docs": "public"}}
        routes = [{"name": "inside", "service": "two", "path": "/x", "hosts": ["inside.example"]}]
        config = {"services": {"one": own, "two": own}, "routes": routes, "discover": "admin"}
        with Gateway({"gateway": gateway, **config}) as running:
            running.wait_for_control()

            def states(listener: str) -> dict[str, str]:
                answer = ask(running.port_of(listener), "GET", "/openapi.json")
                assert answer.status == 200
                about = answer.json()["info"]["x-portico"]["services"]
                return {name: each["state"] for name, each in about.items()}

            def policy(listener: str) -> str:
                return ask(running.port_of(listener), "GET", "/docs").get("content-security-policy") or ""

            assert "connect-src 'self';" in policy("part"), "hosts that it does not serve are not its to name"
            assert "connect-src 'self' inside.example;" in policy("all")
            assert {*states("part")} == {"one"}
            assert {*states("all")} == {"one", "two"}
            assert ask(running.port_of("none"), "GET", "/openapi.json").status == 404
            assert ask(running.admin_port, "GET", "/openapi.json", "Host: localhost").status == 200
            hidden = ask(running.admin_port, "GET", "/listeners/none/openapi.json", "Host: localhost")
            assert hidden.status == 404

            body = json.dumps({"url": service.url}).encode()
            answer = ask(running.admin_port, "PUT", "/admin/registry/found/1", "Host: localhost", body=body)
            assert answer.status == 201
            until(lambda: states("all").get("found") == "current")
            assert states("part") == {"one": "current"}
