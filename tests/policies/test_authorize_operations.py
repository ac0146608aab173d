"""What is needed for an operation: as the document of the service says, and as is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from policies.exchanges import exchange
from portico.core.errors import Refusal
from portico.core.exchange import RouteMatch
from portico.core.slices import at_once
from portico.policies.authorize import AuthorizeSettings, build_authorize, build_operations
from portico.policies.policy import Context, Policy, State

OK = {"responses": {"200": {"description": "OK"}}}
USER = ("users:read",)
PATHS: dict[str, Any] = {
    "/users": {
        "get": {**OK, "operationId": "list_users", "security": [{"oauth": ["users:read"]}]},
        "post": {**OK, "operationId": "create_user", "security": [{"oauth": ["users:read", "users:write"]}]},
    },
    "/users/{id}": {
        "get": {**OK, "operationId": "get_user"},
        "delete": {**OK, "operationId": "delete_user", "security": [{"oauth": ["users:write"]}, {"key": ["admin"]}]},
    },
    "/health": {"get": {**OK, "operationId": "health", "security": []}},
    "/hello": {"get": {**OK, "operationId": "hello", "security": [{}, {"oauth": ["users:read"]}]}},
    "/me": {"get": {**OK, "operationId": "me", "security": [{"bearer": []}]}},
}


def document(**more: Any) -> bytes:
    content = {"openapi": "3.1.0", "info": {"title": "users", "version": "1"}, "paths": PATHS, **more}
    return msgspec.json.encode(content)


class Guarded:
    """A route with this policy, and what its service's documents are."""

    def __init__(self, *texts: bytes, **settings: Any) -> None:
        self.state = State()
        for text in texts:
            self.learn(text)
        policy = build_operations(AuthorizeSettings(**settings), Context("gateway", self.state))
        assert policy is not None
        self.policy: Policy = policy

    def learn(self, text: bytes, service: str = "users") -> None:
        at_once(self.state.documents.learning((service, None), text))

    def ask(
        self,
        request: str,
        scopes: tuple[str, ...] = (),
        *lines: str,
        consumer: str | None = "alice",
        sides: tuple[str, ...] = (),
        **given: Any,
    ) -> str | None:
        """Why a request is refused; None where it is not."""
        method, _, target = request.partition(" ")
        path, mark, query = target.partition("?")
        route = SimpleNamespace(encoded_slashes=False, case_insensitive=False)
        matches = [
            RouteMatch(route, SimpleNamespace(service_name=name, version=None), "/public", path.encode())
            for name in ("users", *sides)
        ]
        match = RouteMatch(
            route, matches[0].handling, "/public", matches[0].target, sides=tuple(matches) if sides else ()
        )
        asked = exchange(
            *lines,
            method=method,
            match=match,
            scopes=scopes,
            consumer=consumer,
            query=(mark + query).encode(),
            **given,
        )
        answer = self.policy(asked)
        assert answer is None or isinstance(answer, Refusal)
        return None if answer is None else str(answer.reason)


@pytest.mark.parametrize(
    ("request_line", "scopes", "expected"),
    [
        ("GET /users", USER, None),
        ("GET /users", (), "scope_missing"),
        ("HEAD /users", (), "scope_missing"),
        ("HEAD /users", USER, None),
        ("POST /users", USER, "scope_missing"),
        ("POST /users", ("users:write", "users:read"), None),
        ("DELETE /users/7", ("users:write",), None),
        ("DELETE /users/7", ("admin",), None),
        ("DELETE /users/7", USER, "scope_missing"),
        ("GET /users/7", (), "scope_missing"),
        ("GET /users/7", ("root",), None),
        ("GET /health", (), None),
        ("GET /hello", (), None),
        ("GET /me", (), None),
        ("GET /openapi.json", ("root",), "operation_unknown"),
        ("PATCH /users/7", ("root",), "operation_unknown"),
        ("OPTIONS /users", ("root",), "operation_unknown"),
    ],
)
def test_what_the_document_declares_is_required(
    request_line: str, scopes: tuple[str, ...], expected: str | None
) -> None:
    assert Guarded(document(security=[{"oauth": ["root"]}]), openapi=True).ask(request_line, scopes) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/health", None),
        ("/hello", None),
        ("/me", "credentials_missing"),
        ("/users", "credentials_missing"),
        ("/users/7", None),
    ],
)
def test_nobody_may_what_is_for_nobody(path: str, expected: str | None) -> None:
    assert Guarded(document(), openapi=True).ask(f"GET {path}", consumer=None) == expected
    assert Guarded(document(), openapi=True).ask(f"GET {path}", consumer="") == expected


def test_what_is_written_is_needed_in_addition() -> None:
    needed = {"GET /users/{}": {"roles": ["support"]}, "delete_user": {"scopes": ["delete"]}, "health": {}}
    guarded = Guarded(document(), openapi=True, operations=needed)
    assert guarded.ask("GET /users/7") == "access_denied"
    assert guarded.ask("GET /users/7", claims_or_token={"roles": ["support"]}) is None
    assert guarded.ask("DELETE /users/7", ("users:write",)) == "scope_missing"
    assert guarded.ask("DELETE /users/7", ("delete",)) == "scope_missing"
    assert guarded.ask("DELETE /users/7", ("users:write", "delete")) is None
    assert guarded.ask("GET /health") is None


def test_without_openapi_the_documents_security_does_not_hold() -> None:
    guarded = Guarded(document(), operations={"delete_user": {"any_scopes": ["delete", "admin"]}})
    assert guarded.ask("GET /users") is None
    assert guarded.ask("DELETE /users/7") == "scope_missing"
    assert guarded.ask("GET /nothing") == "operation_unknown"


def test_what_is_no_operation_passes_where_that_is_written() -> None:
    guarded = Guarded(document(), openapi=True, unknown="pass")
    assert guarded.ask("GET /nothing") is None
    assert guarded.ask("GET //users") == "scope_missing"  # some services merge slashes
    assert guarded.ask("delete /users/7") == "scope_missing"  # some take small letters for capitals


@pytest.mark.parametrize(
    "request_line",
    [
        *("GET /me%2F..%2Fusers", "GET /me%252F", "GET /users%2F7", "GET //me", "GET /me;x", "GET /me/;/x"),
        *("GET /me\\", "GET /ME", "GET /me%00", "GET /me/../users", "GET /me%09", "GET /./me", "gEt /users/7/x"),
    ],
)
def test_no_spelling_of_a_path_is_a_way_around(request_line: str) -> None:
    assert Guarded(document(), openapi=True).ask(request_line) in ("operation_unknown", "malformed_request")


def test_a_spelling_that_may_mean_two_operations_needs_what_both_need() -> None:
    text = msgspec.json.encode({"openapi": "3.1.0", "paths": {"/users": {"get": OK}, "/{any}": {"get": OK}}})
    guarded = Guarded(text, operations={"GET /users": {"scopes": ["users:read"]}})
    assert guarded.ask("GET /other;v=1") is None
    assert guarded.ask("GET /users;v=1") == "scope_missing"


@pytest.mark.parametrize(
    "lines",
    [
        *(("X-HTTP-Method-Override: DELETE",), ("x_http_method_override: delete",), ("X-Method-Override: PUT",)),
        *(("X-HTTP-Method: DELETE",), ("X-HTTP-Method-Override: GET", "X-HTTP-Method-Override: DELETE")),
    ],
)
def test_a_request_that_names_another_method_is_refused(lines: tuple[str, ...]) -> None:
    guarded = Guarded(document(), openapi=True, unknown="pass")
    assert guarded.ask("GET /me", (), *lines) == "operation_unknown"
    assert guarded.ask("GET /me", (), "X-HTTP-Method-Override: get") is None


@pytest.mark.parametrize(
    "query",
    [
        *("_method=DELETE", "a=b&_method=put", "%5Fmethod=DELETE", "_%6dethod=x", "a=b;_method=DELETE"),
        *(".method=DELETE", "%5Bmethod=DELETE", "[method=DELETE", "+_method=DELETE", "%20method=DELETE"),  # in PHP
    ],
)
def test_so_is_one_that_does_in_its_query(query: str) -> None:
    guarded = Guarded(document(), openapi=True)
    assert guarded.ask(f"GET /me?{query}") == "operation_unknown"
    assert guarded.ask("GET /me?_method=GET&method=DELETE&a%20=b") is None


def test_without_a_document_nobody_passes() -> None:
    guarded = Guarded(openapi=True)
    assert guarded.ask("GET /health") == "document_unavailable"
    guarded.learn(b"<html>")
    assert guarded.ask("GET /health") == "document_unavailable"
    guarded.learn(document())
    assert guarded.ask("GET /health") is None


def test_one_that_cannot_be_used_does_not_replace_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded(document(), openapi=True)
    assert guarded.ask("GET /users") == "scope_missing"
    for text in (b"{", b'{"openapi": "3.1.0", "paths": {"/users": {"get": {"security": 1}}}}'):
        guarded.learn(text)
        assert guarded.ask("GET /users") == "scope_missing"
    assert "cannot be used" in caplog.text


def test_one_that_lacks_an_operation_that_is_written_does_not_either(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded(document(), operations={"get_user": {"scopes": ["a"]}})
    assert guarded.ask("GET /users/7") == "scope_missing"
    guarded.learn(document().replace(b"get_user", b"read_user"))
    assert guarded.ask("GET /users/7") == guarded.ask("GET /users/8") == "scope_missing"
    assert caplog.text.count("lacks operations that authorize names: the last one is used") == 1
    (event,) = [each for each in caplog.records if "lacks" in each.message]
    assert event.__dict__["operations"] == "get_user"
    assert "read_user" in event.__dict__["there_are"].split(", ")
    guarded.learn(document(tags=[]))
    assert guarded.ask("GET /users/7", ("a",)) is None
    assert Guarded(document(), operations={"gone": {}}).ask("GET /users/7") == "document_unavailable"


def test_a_request_whose_side_is_not_known_yet_needs_what_any_of_them_asks() -> None:
    guarded = Guarded(document(), openapi=True)
    assert guarded.ask("GET /me", sides=("next",)) == "document_unavailable"
    guarded.learn(document().replace(b'"bearer":[]', b'"bearer":["me"]'), "next")
    assert guarded.ask("GET /me", sides=("next",)) == "scope_missing"
    assert guarded.ask("GET /me", ("me",), sides=("next",)) is None


def test_routes_that_answer_themselves_have_no_operations() -> None:
    guarded = Guarded(openapi=True)
    handling = SimpleNamespace(service_name="gateway", version=None)
    assert guarded.policy(exchange(match=RouteMatch(None, handling, "/", b"/"))) is None


def test_what_the_challenge_says_is_what_suffices() -> None:
    guarded = Guarded(document(), openapi=True)
    asked = exchange(method="DELETE", consumer="alice")
    route = SimpleNamespace(encoded_slashes=False, case_insensitive=False)
    asked.match = RouteMatch(route, SimpleNamespace(service_name="users", version=None), "/", b"/users/7")
    answer = guarded.policy(asked)
    assert isinstance(answer, Refusal)
    assert answer.lines == [
        b'WWW-Authenticate: Bearer realm="portico", error="insufficient_scope", scope="users:write"'
    ]
    assert answer.detail == "this needs the scopes: users:write; or admin"


def test_the_rest_of_authorize_costs_nothing_where_it_is_not_written() -> None:
    assert build_authorize(AuthorizeSettings(openapi=True), Context("gateway", State())) is None
    assert build_operations(AuthorizeSettings(scopes=["a"]), Context("gateway", State())) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unknown": "pass", "scopes": ["a"]}, "unknown is about operations"),
        ({"operations": {"/users": {}}}, "expected an operationId, or a method and a path"),
        ({"operations": {"get /users": {}}}, "expected an operationId, or a method and a path"),
        ({"operations": {"": {}}}, "expected an operationId, or a method and a path"),
        ({"operations": {}}, "nothing is asked for"),
        ({"openapi": False}, "nothing is asked for"),
    ],
)
def test_settings_that_mean_nothing_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AuthorizeSettings(**settings)


def test_a_document_that_asks_for_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    text = msgspec.json.encode({"openapi": "3.1.0", "paths": {"/users": {"get": {**OK, "security": []}}}})
    guarded = Guarded(text, openapi=True)
    assert guarded.ask("GET /users", consumer=None) is None
    assert "declares no security" in caplog.text
