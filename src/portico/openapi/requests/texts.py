"""Texts of parameters and forms, as the values that a schema means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portico.openapi.objects import Object
from portico.openapi.requests.lax import is_whole_number
from portico.openapi.requests.schemas import Schemas

_DEEPEST: Final = 12
_LONGEST_INTEGER: Final = 4000
"""Digits of an integer that is compared: with 4300, Python makes none of them."""
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
NOT_SAID: Final = object()
"""A value of which JSON has no word: whether it is one is the service's to say."""


@dataclass(slots=True)
class Shape:
    """What types a schema takes, and, of lists and objects, what is in them; no types: any."""

    types: set[str] = field(default_factory=set)
    items: Shape | None = None
    properties: dict[str, Shape] = field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        """Whether several values are meant."""
        return "array" in self.types

    @property
    def takes_text(self) -> bool:
        """Whether a text is a value as it is."""
        return "string" in self.types or not self.types


def shape_of(schemas: Schemas, schema: Any, depth: int = 0) -> Shape:
    """The shape of a schema of a document."""
    shape = Shape()
    _add(schemas, schema, shape, depth)
    return shape


def _add(schemas: Schemas, schema: Any, shape: Shape, depth: int) -> None:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    written = schema.get("type")
    types = written if isinstance(written, list) else [written]
    shape.types.update(each for each in types if isinstance(each, str))
    if written is None:
        shape.types.update(_types_of_values(schema))
    if schema.get("nullable") is True:
        shape.types.add("null")
    if "items" in schema:
        shape.items = shape_of(schemas, schema["items"], depth + 1)
    properties = schema.get("properties")
    for name, each in properties.items() if isinstance(properties, dict) else ():
        shape.properties[name] = shape_of(schemas, each, depth + 1)
    for key in ("allOf", "anyOf", "oneOf"):
        parts = schema.get(key)
        for each in parts if isinstance(parts, list) else ():
            _add(schemas, each, shape, depth + 1)
    if isinstance(schema.get("$ref"), str):
        _add(schemas, schemas.look(schema["$ref"]), shape, depth + 1)


def _types_of_values(schema: Object) -> set[str]:
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return {kinds.get(type(each), "object") for each in options} if isinstance(options, list) else set()


def values_of(shape: Shape, text: str) -> list[Any]:
    """The values that a text may stand for, the likeliest first; it is one itself where texts are taken, or no other.

    `NOT_SAID` among them: it may stand for anything.
    """
    values: list[Any] = []
    types = shape.types or {"integer", "number", "boolean"}
    stripped = text.strip()
    if "integer" in types and is_whole_number(stripped):
        digits = stripped.partition(".")[0].replace("_", "")
        values.append(int(digits) if len(digits) <= _LONGEST_INTEGER else NOT_SAID)
    if "number" in types:
        try:
            number = float(stripped)
        except ValueError:
            pass
        else:
            values.append(number if math.isfinite(number) else NOT_SAID)
    if "boolean" in types and stripped.lower() in _BOOLEANS:
        values.append(_BOOLEANS[stripped.lower()])
    if "null" in types and stripped in ("", "null"):
        values.append(None)
    if shape.takes_text or not values:
        values.append(text)
    return values


def lists_of(shape: Shape, texts: Sequence[str]) -> list[Any]:
    """The lists that texts may stand for: of the likeliest values or, where those are taken, of texts."""
    items = shape.items or Shape()
    likely = [values_of(items, text)[0] for text in texts]
    if NOT_SAID in likely:
        return [NOT_SAID]
    return [likely, list(texts)] if items.takes_text else [likely]


def object_of(shape: Shape, pairs: Sequence[tuple[str, str]]) -> Any:
    """The object that pairs of names and texts stand for; `NOT_SAID` where that cannot be told."""
    grouped: dict[str, list[str]] = {}
    for name, text in pairs:
        grouped.setdefault(name, []).append(text)
    found: dict[str, Any] = {}
    for name, texts in grouped.items():
        inner = shape.properties.get(name, Shape({"string"}))
        if "object" in inner.types or ("" in texts and not inner.takes_text):
            return NOT_SAID
        found[name] = (
            lists_of(inner, texts)[0] if inner.is_list else values_of(inner, texts[-1])[0 if inner.types else -1]
        )
        if found[name] is NOT_SAID:
            return NOT_SAID
    return found
