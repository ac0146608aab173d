"""What is a document, and what is said of everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portico.openapi import DocumentError, pointed_at, read_document
from portico.openapi.text import MOST_BYTES, read_data

SMALL: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": {"/a": {"get": {}}}}


def wrong(text: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    return str(caught.value)


def with_parts(**parts: Any) -> bytes:
    return json.dumps({**SMALL, **parts}).encode()


@pytest.mark.parametrize(
    ("version", "minor"), [("3.0.0", 0), ("3.0.3", 0), ("3.1.0", 1), ("3.1.1", 1), ("3.2.0", 2), ("3.1", 1)]
)
def test_versions(version: str, minor: int) -> None:
    assert read_document(with_parts(openapi=version)).minor == minor


def test_yaml_has_the_values_of_json() -> None:
    """Nothing of YAML 1.1: no dates, no booleans among the keys and words, keys are text."""
    document = read_document(
        b"""\
openapi: 3.1.0
info: {title: T, version: 2024-01-01}
x-words: [no, on, yes, 012, 1.5, -3, 1e3, "5", null, ~, true]
x-base: &base {a: 1, b: 2}
x-merged: {<<: *base, b: 3}
paths:
  /a:
    get:
      responses:
        200: {description: fine}
""",
    )
    content = document.content
    assert content["info"]["version"] == "2024-01-01"
    assert content["x-words"] == ["no", "on", "yes", 12, 1.5, -3, 1000.0, "5", None, None, True]
    assert content["x-merged"] == {"a": 1, "b": 3}
    assert document.paths == {"/a": {"get": {"responses": {"200": {"description": "fine"}}}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "nothing is in it"),
        (b" \n", "nothing is in it"),
        (b"<!doctype html><title>x", "it is HTML or XML, not JSON or YAML"),
        (b"[]", "it is no OpenAPI document: an object is expected, with openapi: 3.1.0 in it"),
        (b"just text", "it is no OpenAPI document: an object is expected, with openapi: 3.1.0 in it"),
        (b"\xff\xfe", "it is not UTF-8: the byte 0xff does not belong there"),
        (b'{"detail": "Not Found"}', "it is no OpenAPI document: openapi, the version, is not in it"),
        (b'{"openapi":\n "3.1.0",}', "it is not valid JSON: "),
        (b'{"swagger": "2.0"}', "it is Swagger 2.0: OpenAPI 3.0, 3.1 and 3.2 are read"),
        (b'{"openapi": "4.0.0"}', "openapi is '4.0.0', where 3.0, 3.1 and 3.2 are read, such as the text 3.1.0"),
        (b"openapi: 3.1", "openapi is 3.1, where 3.0, 3.1 and 3.2 are read, such as the text 3.1.0"),
        (b"a: 1\na: 2", 'it is not valid YAML: the key "a" is written twice, line 2'),
        (b"a: *b", "it is not valid YAML: *b refers to no anchor above it, line 1"),
        (b"a: &a [*a]", "it is not valid YAML: *a refers to no anchor above it, line 1"),
        (b"a: [", "it is not valid YAML: "),
        (b"a: 1\n---\nb: 1", "it is not valid YAML: there is a second document in it, line 2"),
        (b'{"openapi": "3.1.0"}', "paths is not in it"),
        (b'{"openapi": "3.0.0", "components": {}}', "paths is not in it"),
        (with_parts(paths=[]), "paths is no object"),
        (with_parts(paths={"a": {}}), "the path 'a' does not begin with /"),
        (with_parts(paths={"/a/{b}": 1}), "#/paths/~1a~1%7Bb%7D is no object"),
        (with_parts(paths={"/a": {"get": []}}), "#/paths/~1a/get is no object"),
        (with_parts(paths={"/a": {"get": {"parameters": {}}}}), "#/paths/~1a/get/parameters is no list"),
    ],
)
def test_what_is_no_document(text: bytes, message: str) -> None:
    assert wrong(text).startswith(message)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("#/components/schemas/B", "leads nowhere"),
        ("#/paths/0", "leads nowhere"),
        ("other.yaml#/B", "is not in this document: only references that begin with #/ are followed"),
        ("https://example.com/a.json", "is not in this document: only references that begin with #/ are followed"),
        ("#anchor", "is not in this document: only references that begin with #/ are followed"),
    ],
)
def test_references_lead_somewhere_in_the_document(reference: str, message: str) -> None:
    schemas = {"A": {"type": "array", "items": {"$ref": reference}}}
    assert wrong(with_parts(components={"schemas": schemas})) == (
        f"the $ref {reference!r} in #/components/schemas/A/items {message}"
    )


def test_what_only_looks_like_a_reference_is_data() -> None:
    schema = {
        "properties": {"$ref": {"type": "string"}, "example": {"$ref": "#/components/schemas/A"}},
        "example": {"$ref": "nowhere"},
        "default": {"$ref": "nowhere"},
        "enum": [{"$ref": "nowhere"}],
        "x-other": {"$ref": "nowhere"},
    }
    read_document(with_parts(components={"schemas": {"A": schema}}))


def test_references_are_followed() -> None:
    content = {**SMALL, "components": {"schemas": {"a/b ~{}": {"type": "string"}, "B": {"allOf": [{"title": "x"}]}}}}
    assert pointed_at(content, "#/components/schemas/a~1b%20~0%7B%7D") == {"type": "string"}
    assert pointed_at(content, "#/components/schemas/B/allOf/0/title") == "x"
    with pytest.raises(LookupError):
        pointed_at(content, "#/components/schemas/B/allOf/1")
    with pytest.raises(ValueError, match="not a local reference"):
        pointed_at(content, "b.json#/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": "' + b"x" * MOST_BYTES + b'"}', "it has more than 8 MiB"),
        (b"[" * 200 + b"]" * 200, "it is nested more than 100 deep"),
        (b"[" * 500_000, "it is nested more than 100 deep"),
        (b"a: " + b"[" * 200 + b"]" * 200, "it is nested more than 100 deep"),
        (b"a: " + b"[" * 200_000, "it is not valid YAML"),
        (b"[" + b"0," * 1_000_000 + b"0]", "it holds more than 1,000,000 values"),
        (
            b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 10)) for i in range(8)),
            "it holds more than 1,000,000 values",
        ),
    ],
    ids=["bytes", "depth", "endless JSON", "depth in YAML", "endless YAML", "values", "aliases"],
)
def test_bounds(text: bytes, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_data(text)
    assert str(caught.value).startswith(message)
