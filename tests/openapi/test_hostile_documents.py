"""Documents in which anything may stand anywhere: one that is wrong takes nothing of others with it."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from openapi.test_merge import OK, answering, document, part
from portico.core.slices import at_once
from portico.openapi import DocumentError
from portico.openapi.document import Document, judged, read_document
from portico.openapi.merge import merge
from portico.openapi.operations import operations_of
from portico.policies.documents import Documents

A, B = "#/components/schemas/A", "#/components/schemas/B"
WHOLE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "T", "version": "1"},
    "servers": [{"url": "/v1", "variables": {"a": {"default": "x"}}}],
    "tags": [{"name": "t", "description": "d"}],
    "security": [{"o": ["r"]}],
    "paths": {
        "/a/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"$ref": A}}],
            "get": {
                "operationId": "x",
                "tags": ["t"],
                "security": [{"o": ["r"]}, {}],
                "parameters": [{"$ref": "#/components/parameters/P"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": B}}}},
                "responses": {**answering("A"), "201": {"description": "", "links": {"l": {"operationId": "x"}}}},
                "callbacks": {"c": {"{$request.body#/url}": {"post": {"responses": OK}}}},
            },
            "additionalOperations": {"COPY": {"responses": OK}},
        },
        "/b": {"$ref": "#/components/pathItems/I"},
    },
    "webhooks": {"w": {"post": {"responses": OK}}},
    "components": {
        "schemas": {
            "A": {
                "oneOf": [{"$ref": B}, {"$ref": "#/components/schemas/C"}],
                "discriminator": {"propertyName": "k", "mapping": {"b": B, "c": "C"}},
            },
            "B": {"allOf": [{"$ref": A}], "title": "B", "properties": {"k": {}}, "$defs": {"q": {"type": "object"}}},
            "C": {"type": ["object", "null"], "items": [{"$ref": B + "/$defs/q"}]},
        },
        "parameters": {"P": {"name": "p", "in": "query", "schema": {"type": "string"}}},
        "pathItems": {"I": {"get": {"responses": OK}}},
        "securitySchemes": {"o": {"type": "oauth2", "flows": {"password": {"tokenUrl": "token", "scopes": {"r": ""}}}}},
    },
}
ANYTHING: list[Any] = [None, True, 1.5, "", "x", "#/", A, [], [1], ["x"], [[]], [{}], {}, {"$ref": A}, {"a": 1}]
OTHER: Document = document(
    {"/g": {"get": {"responses": answering("A")}}}, components={"schemas": {"A": {"title": "A"}, "B": {}}}
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    for key, each in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from places(each, (*place, key))


def spoilt(chance: random.Random) -> dict[str, Any]:
    content = copy.deepcopy(WHOLE)
    for _ in range(chance.choice((1, 1, 2))):
        *before, last = chance.choice([*places(content)])
        holder: Any = content
        for key in before:
            holder = holder[key]
        holder[last] = copy.deepcopy(chance.choice(ANYTHING))
    return content


def usable_one(content: Any) -> Document | None:
    try:
        return judged(content)
    except DocumentError:
        return None


def test_whatever_stands_in_one_document_others_are_merged_and_its_operations_are_told_or_not() -> None:
    chance = random.Random(24)
    usable = [one for _ in range(1200) if (one := usable_one(spoilt(chance))) is not None]
    assert len(usable) > 600
    for each in usable:
        whole = merge([part("evil", each), part("good", OTHER)], "Gateway", {})
        assert msgspec.json.encode(whole.content)
        assert "content" in whole.content["paths"]["/api/good/g"]["get"]["responses"]["200"]
        try:
            at_once(operations_of(each))
        except DocumentError:
            continue


@pytest.mark.parametrize(
    "mapping", [[1], "abc", 1.5, [["a"]], {"b": {}}, {"b": [B]}, {"b": None}], ids=lambda mapping: str(mapping)
)
def test_a_mapping_that_is_none_keeps_no_other_document_from_being_shown(mapping: Any) -> None:
    content = copy.deepcopy(WHOLE)
    content["components"]["schemas"]["A"]["discriminator"]["mapping"] = mapping
    found = merge([part("evil", judged(content)), part("good", OTHER)], "Gateway", {})
    assert {"/api/good/g", "/api/evil/a/{id}"} <= found.content["paths"].keys()


@pytest.mark.parametrize(("key", "value"), [("parameters", 1.5), ("additionalOperations", [1])])
def test_a_part_of_another_kind_is_an_event_and_no_end_of_a_process(
    key: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    text = msgspec.json.encode(
        {"openapi": "3.2.0", "info": {}, "paths": {"/a": {key: value, "get": {"responses": {}}}}}
    )
    documents = Documents()
    with caplog.at_level(logging.ERROR):
        at_once(documents.learning(("evil", None), text))
    assert f"{key} of " in caplog.records[0].__dict__["reason"]
    assert documents.known == {}


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        (", ".join(f"b{i}: &a{i + 1} {{<<: *a{i}, k{i}: 1}}" for i in range(20_000)), "more than 1,000,000 values"),
        (f"s: &s {'x' * 100_000}, l: [{'*s, ' * 1000}]", "more than 8 MiB, with every alias written out"),
        (", ".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]" for i in range(60)), "more than 1,000,000 values"),
    ],
    ids=["merged", "long", "doubled"],
)
def test_few_words_do_not_become_more_than_a_document_may_hold(yaml: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_document(f"openapi: 3.1.0\npaths: {{}}\nx-a: {{a: &a0 {{k: 1}}, {yaml}}}".encode())
