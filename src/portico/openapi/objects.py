"""The objects that a document is made of, by their kinds: a name in it is a reference, or data, by where it stands.

What no table names (`example`, `default`, `enum`, extensions) is data, in which nothing is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

Object: TypeAlias = dict[str, Any]
Keys: TypeAlias = tuple[str | int, ...]


class Part(NamedTuple):
    """What a field holds: `one` object of a `kind`, a `list` or a `map` of them, or `either`, one or a list."""

    shape: Literal["one", "list", "map", "either"]
    kind: str


METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
"""The fields of a path item that are operations."""
COMPONENTS: Final[Mapping[str, str]] = {
    "schemas": "schema",
    "responses": "response",
    "parameters": "parameter",
    "examples": "example",
    "requestBodies": "request_body",
    "headers": "header",
    "securitySchemes": "security_scheme",
    "links": "link",
    "callbacks": "callback",
    "pathItems": "path_item",
    "mediaTypes": "media_type",
}
"""The kinds of components, by the field that they are under."""

_CONTENT: Final = {"content": Part("map", "media_type"), "examples": Part("map", "example")}
_SCHEMA: Final = {"schema": Part("one", "schema")}
PARTS: Final[Mapping[str, Mapping[str, Part]]] = {
    "document": {
        "paths": Part("map", "path_item"),
        "webhooks": Part("map", "path_item"),
        "components": Part("one", "components"),
    },
    "components": {field: Part("map", kind) for field, kind in COMPONENTS.items()},
    "path_item": {
        "parameters": Part("list", "parameter"),
        **{method: Part("one", "operation") for method in METHODS},
        "additionalOperations": Part("map", "operation"),
    },
    "operation": {
        "parameters": Part("list", "parameter"),
        "requestBody": Part("one", "request_body"),
        "responses": Part("map", "response"),
        "callbacks": Part("map", "callback"),
    },
    "parameter": {**_SCHEMA, **_CONTENT},
    "header": {**_SCHEMA, **_CONTENT},
    "request_body": _CONTENT,
    "response": {"headers": Part("map", "header"), **_CONTENT, "links": Part("map", "link")},
    "media_type": {
        **_SCHEMA,
        "itemSchema": Part("one", "schema"),
        "examples": Part("map", "example"),
        "encoding": Part("map", "encoding"),
        "prefixEncoding": Part("list", "encoding"),
        "itemEncoding": Part("one", "encoding"),
    },
    "encoding": {
        "headers": Part("map", "header"),
        "encoding": Part("map", "encoding"),
        "prefixEncoding": Part("list", "encoding"),
        "itemEncoding": Part("one", "encoding"),
    },
    "schema": {
        **dict.fromkeys(
            ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), Part("map", "schema")
        ),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), Part("list", "schema")),
        "items": Part("either", "schema"),
        **dict.fromkeys(
            (
                *("additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
                *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
            ),
            Part("one", "schema"),
        ),
    },
    "example": {},
    "link": {},
    "callback": {},
    "security_scheme": {},
}
"""The fields of each kind that hold others; a callback is itself a map of path items."""


def _is_extension(kind: str, name: str) -> bool:
    """Whether what stands under a name among path items is an extension."""
    return kind == "path_item" and name.startswith("x-")


def _inner(kind: str, value: Object) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    """The objects that one holds, each with where it is in it, and its kind."""
    if kind == "callback":
        yield from (((name,), "path_item", each) for name, each in value.items() if not name.startswith("x-"))
    parts = PARTS[kind]
    for field, held in value.items():
        if field not in parts:
            continue
        shape, inner = parts[field]
        if isinstance(held, list) and shape in ("list", "either"):
            yield from (((field, index), inner, each) for index, each in enumerate(held))
        elif isinstance(held, dict) and shape == "map":
            yield from (((field, name), inner, each) for name, each in held.items() if not _is_extension(inner, name))
        elif isinstance(held, dict) and shape in ("one", "either"):
            yield (field,), inner, held


def each_object(kind: str, value: Any, where: Keys = ()) -> Iterator[tuple[str, Object, Keys]]:
    """An object and all that it holds: the kind of each, itself, and the keys that lead to it."""
    coming = [(kind, value, where)]
    while coming:
        kind, value, where = coming.pop()
        if isinstance(value, dict):
            yield kind, value, where
            coming.extend((inner, each, (*where, *keys)) for keys, inner, each in _inner(kind, value))


def changed(kind: str, value: Any, change: Callable[[str, Object], Object]) -> Any:
    """A copy of an object in which each has been through `change`, which gets its kind and a copy of it.

    What an object holds is looked for in what it was changed into.
    """
    if not isinstance(value, dict):
        return value
    value = change(kind, dict(value))
    if kind == "callback":
        return _changed_part(Part("map", "path_item"), value, change)
    parts = PARTS[kind]
    for field, held in value.items():
        if field in parts:
            value[field] = _changed_part(parts[field], held, change)
    return value


def _changed_part(part: Part, held: Any, change: Callable[[str, Object], Object]) -> Any:
    shape, kind = part
    if shape == "map" and isinstance(held, dict):
        return {name: each if _is_extension(kind, name) else changed(kind, each, change) for name, each in held.items()}
    if shape in ("list", "either") and isinstance(held, list):
        return [changed(kind, each, change) for each in held]
    return changed(kind, held, change) if shape in ("one", "either") else held


def pointer(where: Keys) -> str:
    """Keys as a local reference (RFC 6901, section 6)."""
    return "/".join(
        ("#", *(quote(str(key).replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@") for key in where))
    )


def keys_of(reference: str) -> Keys:
    """The keys that a local reference is made of. Raises ValueError for another."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError("not a local reference")
    return tuple(unquote(key).replace("~1", "/").replace("~0", "~") for key in reference.split("/")[1:])
