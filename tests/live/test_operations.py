"""Authorization by operation in a running gateway: nothing gets to the service that its document does not allow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from support.backend import Backend, Connection
from support.tokens import SECRET, bearer, token
from support.waiting import until
from support.world import Gateway

OK = {"responses": {"200": {"description": "OK"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "users", "version": "1"},
    "security": [{"oauth": ["read"]}],
    "paths": {
        "/users": {"get": OK, "post": {**OK, "operationId": "create", "security": [{"oauth": ["write"]}]}},
        "/users/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {}}],
            "get": OK,
            "delete": {**OK, "operationId": "delete_user", "security": [{"oauth": ["admin"]}]},
        },
        "/health": {"get": {**OK, "security": []}},
    },
}
READER, ADMIN = bearer(token(scope="read")), bearer(token(scope="read write admin", sub="root"))


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


class Documented:
    """A service with a document of its own, which may change or be away."""

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.asked = 0

    def serve(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if asked.target != "/openapi.json":
                connection.answer(b"{}")
            elif self.document is None:
                self.asked += 1
                connection.answer(b"", "503 Service Unavailable")
            else:
                self.asked += 1
                connection.answer(self.document, "200 OK", "Content-Type: application/json")
            if not asked.keeps_alive:
                return


@pytest.fixture(scope="module")
def documented() -> Documented:
    return Documented()


@pytest.fixture(scope="module")
def fetched(documented: Documented) -> Iterator[Backend]:
    with Backend(documented.serve) as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend, fetched: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    file = tmp_path_factory.mktemp("documents") / "users.json"
    file.write_text(json.dumps(DOCUMENT))
    policies = {
        "auth": {"jwt": {"secret": SECRET}, "optional": True},
        "authorize": {"openapi": True, "operations": {"delete_user": {"claims": {"sub": "root"}}}},
    }
    users = {"url": service.url, "health_check": False, "openapi": {"file": str(file)}, "policies": policies}
    moved = {"transform": {"request": [{"path": "/users/7"}]}}
    put = {"transform": {"request": [{"method": "POST"}]}}
    config = {
        "services": {
            "users": users,
            "away": {**users, "url": fetched.url, "openapi": "/nothing.json"},
            "fetched": {**users, "url": fetched.url, "openapi": {"every": 1}},
        },
        "routes": [
            {"path": "~ ^/people/(?P<id>.+)$", "service": "users", "rewrite": "/users/{id}"},
            {"path": "/moved", "service": "users", "policies": moved},
            {"path": "/put", "service": "users", "rewrite": "/users", "policies": put},
            {
                "name": "parted",
                "path": "/parted",
                "split": [{"service": "users", "weight": 1}, {"service": "away", "weight": 1}],
                "policies": policies,
            },
        ],
    }
    with Gateway(config) as own:
        yield own


def outcome(gateway: Gateway, method: str, target: str, *lines: str) -> int | str:
    answer = gateway.ask(method, target, *lines)
    return answer.status if answer.status == 200 else str(answer.json()["reason"])


@pytest.mark.parametrize(
    ("method", "target", "lines", "expected"),
    [
        ("GET", "/api/users/health", (), 200),
        ("GET", "/api/users/users", (), "credentials_missing"),
        ("GET", "/api/users/users", (READER,), 200),
        ("HEAD", "/api/users/users/7", (READER,), 200),
        ("POST", "/api/users/users", (READER, "Content-Length: 0"), "scope_missing"),
        ("POST", "/api/users/users", (ADMIN, "Content-Length: 0"), 200),
        ("DELETE", "/api/users/users/7", (READER,), "scope_missing"),
        ("DELETE", "/api/users/users/7", (ADMIN,), 200),
        ("DELETE", "/api/users/users/7", (bearer(token(scope="admin")),), "access_denied"),
        ("DELETE", "/people/7", (READER,), "scope_missing"),
        ("GET", "/people/7", (READER,), 200),
        ("GET", "/people/7/keys", (ADMIN,), "operation_unknown"),
        ("DELETE", "/moved", (READER,), "scope_missing"),
        ("DELETE", "/moved", (ADMIN,), 200),
        ("GET", "/put", (READER,), "scope_missing"),
        ("GET", "/api/users/openapi.json", (ADMIN,), "operation_unknown"),
        ("GET", "/api/away/health", (ADMIN,), "document_unavailable"),
        ("GET", "/parted/health", (ADMIN,), "document_unavailable"),
    ],
)
def test_requests_need_what_their_operation_does(
    gateway: Gateway, method: str, target: str, lines: tuple[str, ...], expected: int | str
) -> None:
    assert outcome(gateway, method, target, *lines) == expected


def test_who_has_to_prove_who_it_is_is_told_how(gateway: Gateway) -> None:
    answer = gateway.ask("GET", "/api/users/users")
    assert (answer.status, answer.get("www-authenticate")) == (401, 'Bearer realm="portico"')


ABUSE = (
    *("/users%2F7", "/users/7%2Fkeys", "/users/7;v=1/x", "//users/7", "/users//7", "/USERS/7", "/Users/7"),
    *("/users\\7", "/health/..%2Fusers%2F7", "/health;/../users/7", "/%2e%2e/users/7", "/./users/7", "/users/./7"),
    *("/health%2F..%2Fusers%2F7", "/users/7%00", "/users/7%23", "/users/7%3Fa", "/users/7%20", "/users/7/"),
    *("/health%252F..%252Fusers%252F7", "/users/%37", "/%75sers/7", "/users%252F7", "/users/7%0A", "/users/7."),
    *("/users/7/x", "/users/7?a", "/users/7?_method=DELETE", "/health"),
)


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        *(("DELETE", ()), ("delete", ()), ("Delete", ()), ("GET", ("X-HTTP-Method-Override: DELETE",))),
        *(("GET", ("X_HTTP_METHOD_OVERRIDE: DELETE",)), ("GET", ("X-Method-Override: delete",)), ("GET", ())),
    ],
)
def test_no_spelling_gets_a_delete_to_the_service(
    gateway: Gateway, service: Backend, method: str, lines: tuple[str, ...]
) -> None:
    service.requests.clear()
    for path in ABUSE:
        gateway.ask(method, f"/api/users{path}", READER, *lines)
    for each in service.requests:  # as services at their most careless take it
        assert each.method == "GET"
        assert not any("override" in name.lower() for name, _ in each.fields)
        path, _, query = unquote(each.target).partition("?")
        assert re.fullmatch("/health|/users/[^/]+/?", path)
        assert "_method" not in query
    assert bool(service.requests) == (method == "GET" and not lines)


def test_a_document_is_fetched_for_who_goes_by_it_and_kept(gateway: Gateway, documented: Documented) -> None:
    def asked() -> int | str:
        return outcome(gateway, "GET", "/api/fetched/health")

    assert asked() == "document_unavailable"
    documented.document = json.dumps(DOCUMENT).encode()
    until(lambda: asked() == 200, "its document is known")
    closed = {**DOCUMENT, "paths": {**DOCUMENT["paths"], "/health": {"get": OK}}}
    documented.document = json.dumps(closed).encode()
    until(lambda: asked() == "credentials_missing", "what it says now holds")
    documented.document = json.dumps(DOCUMENT).replace("delete_user", "remove_user").encode()
    gateway.clean = False  # that is an error
    until(lambda: asked() == 200 or any("lacks" in each["event"] for each in gateway.events()), "it is noticed")
    assert asked() == "credentials_missing", "the last one that has all operations holds"
    gateway.reload()
    assert asked() == "credentials_missing"
