"""Schemas as services read them: what Pydantic and its like take for a number, a date or a set.

A schema says what a service means; what it takes is more. `5` for an integer may come as `"5"`, a date as a number, a
set with doubles. What is changed here only ever takes more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from portico.openapi.objects import Object

_NUMBER: Final = r"([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?"
_DATE: Final = r"^\s*[-+]?[0-9Pp][0-9A-Za-z:., +_-]{0,63}\s*$"


def _any_case(*words: str) -> str:
    return "|".join("".join(f"[{each.upper()}{each}]" if each.isalpha() else each for each in word) for word in words)


_INTEGER_TEXT: Final[Object] = {"type": "string", "pattern": r"^\s*[+-]?[0-9][0-9_]*(\.0*)?\s*$"}
_NUMBER_TEXT: Final[Object] = {
    "type": "string",
    "pattern": rf"^\s*[+-]?({_NUMBER}|{_any_case('inf', 'infinity', 'nan')})\s*$",
}
_BOOLEAN_WORDS: Final = _any_case("true", "false", "t", "f", "yes", "no", "y", "n", "on", "off", "1", "0")
_BOOLEAN_TEXT: Final[Object] = {"type": "string", "pattern": rf"^\s*({_BOOLEAN_WORDS})\s*$"}

_FOR_TYPES: Final[Mapping[str, tuple[Object, ...]]] = {
    "integer": (_INTEGER_TEXT, {"type": "boolean"}),
    "number": (_NUMBER_TEXT, {"type": "boolean"}),
    "boolean": ({"enum": [0, 1]}, _BOOLEAN_TEXT),
}
"""What is taken for a value of a type beside what is one."""
_FOR_FORMATS: Final[Object] = {"type": ["number", "boolean"]}
"""The same for texts that mean a time or an address."""
_PATTERNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("date-time", "date", "time", "duration"), _DATE),
    "uuid": r"^\s*([Uu][Rr][Nn]:[Uu][Uu][Ii][Dd]:)?\{?([0-9A-Fa-f]-?){32}\}?\s*$",
    "email": r"^[\s\S]*[^\s@][\s\S]*@[\s\S]*[^\s@]",
    "ipv4": r"^\s*[0-9]{1,3}(\.[0-9]{1,3}){3}\s*$",
    "ipv6": r"^\s*[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\S*)?\s*$",
}
"""What texts of a format look like at least."""
FORMATS: Final = frozenset(_PATTERNS)
"""The formats that are looked at: all others say what a text means, and are for the service to judge."""
_NEGATIONS: Final = frozenset({"not", "if", "then", "else", "maxContains"})
"""Where to take more within would be to take less: they are left to the service."""
_NOT_KEYWORDS: Final = ("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary")
"""Names by which others could be referred to, or be fetched; references lead to places of the document alone."""


def plain(schema: Object, look: Callable[[str], Any]) -> Object:
    """A schema of a document as JSON Schema has it, for a request; `look` finds what a reference leads to.

    What the service alone writes need not be sent. It may be `nullable` still, see `nulled`.
    """
    schema = {key: value for key, value in schema.items() if key not in _NOT_KEYWORDS or not isinstance(value, str)}
    if schema.get("format") not in FORMATS:
        schema.pop("format", None)
    properties, required = schema.get("properties"), schema.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        schema["required"] = [name for name in required if not _is_read_only(properties.get(name), look)]
        if not schema["required"]:
            del schema["required"]
    return schema


def _is_read_only(schema: Any, look: Callable[[str], Any]) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get("readOnly") is True:
        return True
    reference = schema.get("$ref")
    target = look(reference) if isinstance(reference, str) else None
    parts = schema.get("allOf")
    inner = [target, *(parts if isinstance(parts, list) else ())]
    return any(isinstance(each, dict) and each.get("readOnly") is True for each in inner)


def nulled(schema: Object) -> Object:
    """The same where `nullable` (OpenAPI 3.0) is what JSON Schema calls it."""
    if schema.pop("nullable", False) is not True:
        return schema
    kinds = schema.get("type")
    if isinstance(kinds, str) and "$ref" not in schema and not {"allOf", "anyOf", "oneOf", "const"} & schema.keys():
        options = schema.get("enum")
        options = {"enum": [*options, None]} if isinstance(options, list) and None not in options else {}
        return {**schema, "type": [kinds, "null"], **options}
    return {"anyOf": [schema, {"type": "null"}]}


def lax(schema: Object, *, is_first: bool) -> Object:
    """A `plain` schema that takes what services take for what it means; `is_first` says that it is of OpenAPI 3.0."""
    schema = {key: value for key, value in schema.items() if key not in _NEGATIONS}
    if schema.pop("uniqueItems", False):
        schema.pop("maxItems", None)
    if isinstance(schema.get("multipleOf"), float):
        del schema["multipleOf"]
    parts = []
    if "oneOf" in schema:
        one_of = schema.pop("oneOf")
        parts.append({"anyOf": one_of})
    named = schema.pop("format", None)
    pattern = _PATTERNS.get(str(named))
    others = _others(schema, has_number=pattern is not None and named not in ("uuid", "email"))
    if pattern is not None:
        parts.append({"pattern": pattern})
    if is_first and schema.get("type") == "integer":  # of which 1.0 is none in draft 4
        schema["type"] = "number"
        parts.append({"multipleOf": 1})
    if parts:
        schema["allOf"] = [*schema.get("allOf", ()), *parts]
    return {"anyOf": [schema, *others]} if others else schema


def _others(schema: Object, *, has_number: bool) -> list[Object]:
    """What else is taken, as schemas."""
    written = schema.get("type")
    kinds = [written] if isinstance(written, str) else written if isinstance(written, list) else []
    options = schema.get("enum")
    if isinstance(options, list):
        numbers = [each for each in options if isinstance(each, int | float) and not isinstance(each, bool)]
        words = [*map(str, numbers), *(bool(each) for each in numbers if each in (0, 1))]
        return [{"enum": words}] if words else []
    if "string" in kinds:
        return [_FOR_FORMATS] if has_number else []
    return [other for kind in kinds for other in _FOR_TYPES.get(kind, ())]


def is_whole_number(text: str) -> bool:
    """Whether a text is one that is taken for an integer."""
    return re.match(_INTEGER_TEXT["pattern"], text) is not None
