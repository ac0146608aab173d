"""What a new document breaks: the main rules of oasdiff, each with a change that breaks nothing beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from portico.openapi.breaking import breaking_changes
from portico.openapi.document import judged

BEFORE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "T", "version": "1"},
    "paths": {
        "/items/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                "parameters": [
                    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 0}},
                    {"name": "sort", "in": "query", "schema": {"enum": ["up", "down"]}},
                ],
                "responses": {
                    "200": {
                        "description": "",
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}},
                    },
                    "404": {"description": "", "content": {"application/json": {"schema": {"type": "string"}}}},
                },
                "security": [{"token": ["read"]}],
            },
            "put": {
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Change"}}},
                },
                "responses": {"204": {"description": ""}},
            },
        },
        "/health": {"get": {"responses": {"200": {"description": ""}}}},
    },
    "components": {
        "schemas": {
            "Item": {
                "type": "object",
                "required": ["name", "state"],
                "properties": {
                    "name": {"type": "string"},
                    "state": {"enum": ["new", "sold"]},
                    "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "next": {"$ref": "#/components/schemas/Item"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
            "Change": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 50}, "count": {"type": "number"}},
            },
        },
        "securitySchemes": {"token": {"type": "oauth2", "flows": {}}},
    },
}
GET = BEFORE["paths"]["/items/{id}"]["get"]


def found(change: Callable[[Any], object]) -> list[str]:
    after = copy.deepcopy(BEFORE)
    change(after)
    return breaking_changes(judged(BEFORE), judged(after))


def item(document: Any) -> Any:
    return document["components"]["schemas"]["Item"]


def changed(document: Any) -> Any:
    return document["components"]["schemas"]["Change"]


def get(document: Any) -> Any:
    return document["paths"]["/items/{id}"]["get"]


def put(document: Any) -> Any:
    return document["paths"]["/items/{id}"]["put"]


IN_GET = "GET /items/{id}: "
IN_PUT = "PUT /items/{id}: the body"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda d: d["paths"].pop("/health"), ["/health: the path is gone"]),
        (lambda d: d["paths"]["/items/{id}"].pop("put"), ["PUT /items/{id}: the operation is gone"]),
        (lambda d: get(d)["parameters"].pop(0), [IN_GET + "the query parameter page is gone"]),
        (
            lambda d: get(d)["parameters"][0].update(required=True),
            [IN_GET + "the query parameter page is required now"],
        ),
        (
            lambda d: get(d)["parameters"].append({"name": "X-Key", "in": "header", "required": True, "schema": {}}),
            [IN_GET + "the header parameter x-key is required now"],
        ),
        (
            lambda d: get(d)["parameters"][0]["schema"].update(minimum=1),
            [IN_GET + "the query parameter page has minimum 1 now, and had 0"],
        ),
        (
            lambda d: get(d)["parameters"][1]["schema"]["enum"].remove("down"),
            [IN_GET + "the query parameter sort may not be 'down' any more"],
        ),
        (
            lambda d: get(d)["parameters"][0]["schema"].update(type="boolean"),
            [IN_GET + "the query parameter page is boolean now, and was integer"],
        ),
        (lambda d: get(d)["responses"].pop("200"), [IN_GET + "the response 200 is gone"]),
        (
            lambda d: get(d)["responses"]["200"].pop("headers"),
            [IN_GET + "the header ETag of the response 200 is gone"],
        ),
        (
            lambda d: get(d)["responses"]["200"].update(content={"text/csv": {}}),
            [IN_GET + "the response 200 has no application/json any more"],
        ),
        (lambda d: item(d)["properties"].pop("price"), [IN_GET + "the response 200 has no price any more"]),
        (lambda d: item(d)["required"].remove("name"), [IN_GET + "the response 200 may lack name now"]),
        (
            lambda d: item(d)["properties"]["name"].update(type=["string", "null"]),
            [IN_GET + "the response 200/name is null or string now, and was string"],
        ),
        (
            lambda d: item(d)["properties"]["price"]["anyOf"].append({"type": "string"}),
            [
                IN_GET + "the response 200/price is null or number or string now, and was null or number",
                IN_GET + "the response 200/price may be string now",
            ],
        ),
        (
            lambda d: item(d)["properties"]["state"]["enum"].append("lost"),
            [IN_GET + "the response 200/state may be 'lost' now"],
        ),
        (
            lambda d: item(d)["properties"]["state"]["enum"].remove("sold"),
            [IN_GET + "the response 200/state is never 'sold' any more"],
        ),
        (
            lambda d: item(d)["properties"]["tags"]["items"].update(type="integer"),
            [IN_GET + "the response 200/tags[] is integer now, and was string"],
        ),
        (lambda d: changed(d)["required"].append("count"), [IN_PUT + " has to have count now"]),
        (
            lambda d: changed(d)["properties"]["count"].update(type="integer"),
            [IN_PUT + "/count is integer now, and was number"],
        ),
        (
            lambda d: changed(d)["properties"]["name"].update(maxLength=20, pattern="^[a-z]+$"),
            [
                IN_PUT + "/name has maxLength 20 now, and had 50",
                IN_PUT + "/name has to match '^[a-z]+$' now",
            ],
        ),
        (lambda d: put(d)["requestBody"].update(required=True), ["PUT /items/{id}: a body is required now"]),
        (
            lambda d: get(d).update(security=[{"token": ["read", "more"]}]),
            [IN_GET + "token (read, more) is needed now, where token (read) sufficed"],
        ),
        (lambda d: put(d).update(security=[{"token": []}]), ["PUT /items/{id}: token is needed now"]),
    ],
)
def test_what_breaks_clients(change: Callable[[Any], object], lines: list[str]) -> None:
    assert found(change) == lines


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["paths"].update({"/more": BEFORE["paths"]["/health"]}),
        lambda d: d["paths"].update({"/items/{other}": d["paths"].pop("/items/{id}")}),
        lambda d: get(d)["parameters"].append({"name": "new", "in": "query", "schema": {"type": "string"}}),
        lambda d: get(d)["parameters"][0]["schema"].update(type=["integer", "null"], minimum=-1),
        lambda d: get(d)["parameters"][1]["schema"]["enum"].append("none"),
        lambda d: get(d)["responses"].pop("404"),
        lambda d: get(d)["responses"].update({"202": {"description": ""}}),
        lambda d: item(d)["properties"].update(more={"type": "string"}),
        lambda d: item(d)["required"].append("price"),
        lambda d: item(d)["properties"]["price"].pop("anyOf") and item(d)["properties"]["price"].update(type="integer"),
        lambda d: changed(d)["required"].clear(),
        lambda d: changed(d)["properties"].update(more={"type": "string"}),
        lambda d: changed(d)["properties"]["name"].update(maxLength=60),
        lambda d: changed(d)["required"].append("made") or changed(d)["properties"].update(made={"readOnly": True}),
        lambda d: get(d).update(security=[{"token": []}, {"other": []}]),
        lambda d: get(d).update(security=[]),
        lambda d: d["info"].update(version="2"),
    ],
)
def test_what_breaks_none(change: Callable[[Any], object]) -> None:
    assert found(change) == []


def test_other_versions_are_compared_by_what_they_mean() -> None:
    older = copy.deepcopy(BEFORE)
    older["openapi"] = "3.0.3"
    older["components"]["schemas"]["Item"]["properties"]["price"] = {"type": "number", "nullable": True}
    assert breaking_changes(judged(older), judged(BEFORE)) == []
