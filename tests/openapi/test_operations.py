"""Which operation a request is, by its method and path."""

from __future__ import annotations

from typing import Any

import pytest

from portico.core.errors import MessageError
from portico.core.slices import at_once
from portico.openapi import DocumentError
from portico.openapi.document import judged
from portico.openapi.operations import Operations, operations_of

OK = {"responses": {"200": {"description": "OK"}}}


def operations(paths: dict[str, Any], **more: Any) -> Operations:
    """Those of a document with these paths."""
    written = {
        path: {key: {**OK, **value} if isinstance(value, dict) else value for key, value in item.items()}
        for path, item in paths.items()
    }
    return at_once(operations_of(judged({"openapi": "3.2.0", "info": {}, "paths": written, **more})))


def document(*names: str) -> Operations:
    """A document with operations as `GET /users/{id}`."""
    paths: dict[str, Any] = {}
    for name in names:
        method, _, path = name.partition(" ")
        item = paths.setdefault(path, {})
        item[method.lower()] = {}
    return operations(paths)


def found(known: Operations, request: str, **route: bool) -> set[str | None]:
    """The names of the operations that a request may be."""
    method, _, path = request.partition(" ")
    readings = known.find(method.encode(), path.encode(), **route)
    return {each.name if each is not None else None for each in readings}


USERS = document(
    *("GET /users", "POST /users", "GET /users/{id}", "DELETE /users/{id}", "GET /users/me", "GET /users/{id}/keys"),
    *("GET /files/{name}.json", "GET /files/{name}", "GET /a-{x}-{y}", "GET /größe", "GET /slash/", "GET /"),
)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /users", "GET /users"),
        ("GET /users/7", "GET /users/{id}"),
        ("GET /users/me", "GET /users/me"),
        ("DELETE /users/me", "DELETE /users/{id}"),
        ("GET /users/7/keys", "GET /users/{id}/keys"),
        ("GET /files/a.json", "GET /files/{name}.json"),
        ("GET /files/.json", "GET /files/{name}"),
        ("GET /files/a.txt", "GET /files/{name}"),
        ("GET /a-1-2", "GET /a-{x}-{y}"),
        ("GET /a-1-", None),
        ("GET /a--2", None),
        ("GET /", "GET /"),
        ("HEAD /users/7", "GET /users/{id}"),
        ("delete /users/7", "DELETE /users/{id}"),
        ("head /users/7", "GET /users/{id}"),
        ("PUT /users/7", None),
        ("OPTIONS /users/7", None),
        ("GET /users/", "GET /users"),
        ("GET /users/7/", "GET /users/{id}"),
        ("GET /slash", "GET /slash/"),
        ("GET /slash/", "GET /slash/"),
        ("GET /Users", None),
        ("GET /nothing", None),
        ("GET /users/7/keys/8", None),
        ("GET /users/%6De", "GET /users/me"),
        ("GET /%75sers/7", "GET /users/{id}"),
        ("GET /gr%C3%B6%c3%9fe", "GET /größe"),
        ("OPTIONS *", None),
    ],
)
def test_a_request_is_the_operation_of_the_most_concrete_template(request_line: str, expected: str | None) -> None:
    assert found(USERS, request_line) == {expected}
    assert found(USERS, request_line) == {expected}  # remembered


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /users/7%2Fkeys", {"GET /users/{id}", "GET /users/{id}/keys"}),
        ("GET /users%2F7", {None, "GET /users/{id}"}),
        ("GET /users/7%252Fkeys", {"GET /users/{id}", "GET /users/{id}/keys"}),
        ("GET //users//7", {None, "GET /users/{id}"}),
        ("GET /users;v=1/7", {None, "GET /users/{id}"}),
        ("GET /users/me;v=1", {"GET /users/me", "GET /users/{id}"}),
        ("GET /users\\7", {None, "GET /users/{id}"}),
        ("GET /users/me%3Fx", {"GET /users/me", "GET /users/{id}"}),
        ("GET /users/me%20", {"GET /users/me", "GET /users/{id}"}),
    ],
)
def test_all_counts_that_a_service_may_read_in_a_path(request_line: str, expected: set[str | None]) -> None:
    assert found(USERS, request_line) == expected


def test_an_encoded_slash_is_none_where_the_service_leaves_it_alone() -> None:
    assert found(USERS, "GET /users/7%2Fkeys", encoded_slashes=True) == {"GET /users/{id}"}


def test_case_counts_for_services_to_which_it_does() -> None:
    assert found(USERS, "GET /Users/Me", case_insensitive=True) == {None, "GET /users/me"}
    assert found(USERS, "GET /users/ME", case_insensitive=True) == {"GET /users/{id}", "GET /users/me"}


@pytest.mark.parametrize("path", ["/users/..%2Fme", "/users/%2e%2e/me", "/users/%252e%252e/me", "/users/..;/me"])
def test_no_path_goes_upwards(path: str) -> None:
    with pytest.raises(MessageError):
        USERS.find(b"GET", path.encode())


def test_all_of_several_templates_count_where_none_is_the_more_concrete() -> None:
    known = document("GET /{kind}/me", "GET /books/{id}", "GET /x/{a}", "GET /x/{b}")
    assert found(known, "GET /books/me") == {"GET /books/{id}", "GET /{kind}/me"}
    assert found(known, "GET /x/1") == {"GET /x/{a}", "GET /x/{b}"}
    assert found(known, "GET /films/me") == {"GET /{kind}/me"}


def test_head_may_be_get_of_a_more_concrete_template_that_has_no_head() -> None:
    known = document("GET /admin", "HEAD /{page}", "GET /{page}", "GET /{page}/x", "HEAD /{page}/x")
    assert found(known, "HEAD /admin") == {"GET /admin", "HEAD /{page}"}
    assert found(known, "HEAD /other") == {"HEAD /{page}"}
    assert found(known, "HEAD /other/x") == {"HEAD /{page}/x"}


def test_operations_have_two_names() -> None:
    known = operations({"/users/{id}": {"get": {"operationId": "get_user"}, "delete": {}}})
    (get,) = known.named("get_user")
    assert known.named("GET /users/{user_id}") == [get]
    assert [each.name for each in known.named("DELETE /users/{id}")] == ["DELETE /users/{id}"]
    assert known.named("get_users") == known.named("PUT /users/{id}") == []
    assert set(known.names) == {"get_user", "GET /users/{id}", "DELETE /users/{id}"}


def test_security_is_the_operations_own_or_the_documents() -> None:
    known = operations(
        {
            "/a": {"get": {}},
            "/b": {"get": {"security": []}},
            "/c": {"get": {"security": [{"oauth": ["x", "y"]}, {"key": [], "other": ["z"]}]}},
            "/d": {"get": {"security": [{}, {"key": []}]}},
        },
        security=[{"oauth": ["root"]}],
    )
    assert {each.path: each.security for each in known.all} == {
        "/a": (frozenset({"root"}),),
        "/b": (),
        "/c": (frozenset({"x", "y"}), frozenset({"z"})),
        "/d": (None, frozenset()),
    }
    assert operations({"/a": {"get": {}}}).all[0].security is None


@pytest.mark.parametrize("security", [{"oauth": []}, ["oauth"], [{"oauth": "read"}], [{"oauth": [1]}], "oauth"])
def test_security_that_cannot_be_understood_makes_a_document_useless(security: Any) -> None:
    with pytest.raises(DocumentError, match="GET /a"):
        operations({"/a": {"get": {"security": security}}})


def test_references_are_followed() -> None:
    page = {"name": "page", "in": "query", "schema": {}}
    known = operations(
        {
            "/a": {
                "parameters": [{"$ref": "#/components/parameters/page"}, {"name": "b", "in": "query"}],
                "post": {
                    "parameters": [{"name": "b", "in": "query", "required": True}],
                    "requestBody": {"$ref": "#/components/requestBodies/other"},
                },
            },
        },
        components={
            "parameters": {"page": page},
            "requestBodies": {"other": {"$ref": "#/components/requestBodies/body"}, "body": {"content": {}}},
        },
    )
    (post,) = known.all
    assert post.parameters == (page, {"name": "b", "in": "query", "required": True})
    assert post.body == {"content": {}}


def test_references_in_a_circle_are_no_operation() -> None:
    with pytest.raises(DocumentError, match="without end"):
        operations(
            {"/a": {"post": {"requestBody": {"$ref": "#/components/requestBodies/a"}}}},
            components={"requestBodies": {"a": {"$ref": "#/components/requestBodies/a"}}},
        )


def test_methods_of_openapi_3_2_are_operations() -> None:
    known = operations({"/a": {"query": {}, "additionalOperations": {"COPY": {**OK}}}})
    assert found(known, "QUERY /a") == {"QUERY /a"}
    assert found(known, "COPY /a") == {"COPY /a"}


def test_paths_are_at_the_service_with_or_without_the_path_of_a_server() -> None:
    servers = [{"url": "https://api.example/v1/"}, {"url": "/root"}, {"url": "//h"}, {"url": "http://h"}, {}]
    known = operations({"/users": {"get": {}}, "/v1/{x}": {"get": {}}}, servers=servers)
    assert found(known, "GET /users") == {"GET /users"}
    assert found(known, "GET /root/users") == {"GET /users"}
    assert found(known, "GET /v1/users") == {"GET /users", "GET /v1/{x}"}
    assert found(known, "GET /v2/users") == found(known, "GET /v1") == {None}
    assert found(known, "GET /v1;a/users") == {None, "GET /users", "GET /v1/{x}"}
