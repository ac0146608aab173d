"""Documents of other versions as ones of 3.1."""

from __future__ import annotations

from typing import Any

import pytest

from portico.openapi.document import judged
from portico.openapi.lifting import lifted


def schema_of(version: str, schema: dict[str, Any]) -> Any:
    components = {"schemas": {"A": schema, "B": {"type": "object"}}}
    return lifted(judged({"openapi": version, "info": {}, "paths": {}, "components": components}))["components"][
        "schemas"
    ]["A"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a"]}),
        ({"nullable": True}, {}),
        (
            {"nullable": True, "title": "T", "allOf": [{"$ref": "#/components/schemas/B"}]},
            {"title": "T", "anyOf": [{"allOf": [{"$ref": "#/components/schemas/B"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        ({"maximum": 9, "exclusiveMaximum": True}, {"exclusiveMaximum": 9}),
        ({"exclusiveMaximum": True}, {}),
        ({"type": "string", "example": None}, {"type": "string", "examples": [None]}),
        (
            {"properties": {"nullable": {"type": "string", "nullable": True}, "example": {"example": 1}}},
            {"properties": {"nullable": {"type": ["string", "null"]}, "example": {"examples": [1]}}},
        ),
        (
            {"default": {"nullable": True}, "x-a": {"example": 1}},
            {"default": {"nullable": True}, "x-a": {"example": 1}},
        ),
        (
            {"items": {"$ref": "#/components/schemas/B", "description": "ignored in 3.0"}},
            {"items": {"$ref": "#/components/schemas/B"}},
        ),
    ],
)
def test_schemas_of_3_0(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert schema_of("3.0.3", old) == new


def test_schemas_of_3_1_stay_as_they_are() -> None:
    schema = {"type": ["string", "null"], "exclusiveMinimum": 1, "$ref": "#/components/schemas/B", "title": "beside it"}
    assert schema_of("3.1.0", schema) == schema


def test_3_1_does_not_have_all_of_3_2() -> None:
    content: dict[str, Any] = {
        "openapi": "3.2.0",
        "$self": "https://example.com/a",
        "info": {},
        "paths": {
            "/a": {
                "query": {"responses": {}},
                "additionalOperations": {"COPY": {}},
                "get": {
                    "parameters": [{"in": "querystring", "name": "q", "content": {}}, {"in": "query", "name": "p"}],
                    "responses": {
                        "200": {
                            "summary": "new",
                            "content": {
                                "application/json": {"$ref": "#/components/mediaTypes/M"},
                                "text/event-stream": {"itemSchema": {"type": "object"}},
                            },
                        }
                    },
                },
                "put": {"responses": {}, "x-own": 1, "unheard": 2},
            }
        },
        "components": {"mediaTypes": {"M": {"schema": {"type": "string"}}}, "securitySchemes": {
            "o": {"type": "oauth2", "flows": {"deviceAuthorization": {}, "password": {"tokenUrl": "/t"}}}
        }},
    }  # fmt: skip
    new = lifted(judged(content))
    assert new["paths"]["/a"] == {
        "get": {
            "parameters": [{"in": "query", "name": "p"}],
            "responses": {
                "200": {
                    "description": "",
                    "content": {"application/json": {"schema": {"type": "string"}}, "text/event-stream": {}},
                }
            },
        },
        "put": {"x-own": 1},
    }
    assert new["components"] == {
        "securitySchemes": {"o": {"type": "oauth2", "flows": {"password": {"tokenUrl": "/t"}}}}
    }
    assert content["paths"]["/a"]["query"] == {"responses": {}}, "the document itself is not touched"
