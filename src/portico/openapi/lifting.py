"""Documents of OpenAPI 3.0 and 3.2 as ones of 3.1 (https://learn.openapis.org/upgrading/v3.0-to-v3.1.html).

What 3.1 does not know of 3.2 is left out: `query` and other methods, streamed media types, the device flow. So is
whatever no version knows, so that one careless document does not spoil the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portico.openapi.document import Document, pointed_at
from portico.openapi.objects import METHODS, Object, changed

VERSION: Final = "3.1.0"
OPERATIONS: Final = tuple(method for method in METHODS if method != "query")
"""The operations that a path item has in 3.1."""

_REFERENCE: Final = ("$ref", "summary", "description")
_VALUE: Final = (
    *("description", "required", "deprecated", "allowEmptyValue", "style", "explode", "allowReserved"),
    *("schema", "example", "examples", "content"),
)
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "path_item": frozenset({*_REFERENCE, *OPERATIONS, "servers", "parameters"}),
    "operation": frozenset(
        {
            *("tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody"),
            *("responses", "callbacks", "deprecated", "security", "servers"),
        }
    ),
    "parameter": frozenset({"name", "in", *_VALUE}),
    "header": frozenset(_VALUE) - {"allowEmptyValue", "allowReserved"},
    "request_body": frozenset({"description", "content", "required"}),
    "response": frozenset({"description", "headers", "content", "links"}),
    "media_type": frozenset({"schema", "example", "examples", "encoding"}),
    "encoding": frozenset({"contentType", "headers", "style", "explode", "allowReserved"}),
    "example": frozenset({"summary", "description", "value", "externalValue"}),
    "link": frozenset({"operationRef", "operationId", "parameters", "requestBody", "description", "server"}),
    "security_scheme": frozenset(
        {"type", "description", "name", "in", "scheme", "bearerFormat", "flows", "openIdConnectUrl"}
    ),
}
"""What objects have in 3.1, beside extensions."""
_ABOUT: Final = ("title", "description", "default", "examples")
_FLOWS: Final = ("implicit", "password", "clientCredentials", "authorizationCode")


def lifted(document: Document) -> Object:
    """The content of a document as one of 3.1."""

    def change(kind: str, value: Object) -> Object:
        if kind == "media_type" and isinstance(value.get("$ref"), str):  # 3.2 has them as components
            value = dict(pointed_at(document.content, value["$ref"]))
        if document.minor == 0:
            value = _from_3_0(kind, value)
        return _known(kind, value)

    content: Object = changed("document", document.content, change)
    if isinstance(content.get("components"), dict):
        content["components"].pop("mediaTypes", None)
    return content


def _known(kind: str, value: Object) -> Object:
    """An object with nothing in it that 3.1 does not know."""
    fields = _FIELDS.get(kind)
    if fields is None:
        return value
    if "$ref" in value and kind != "path_item":
        return {key: each for key, each in value.items() if key in _REFERENCE}
    value = {key: each for key, each in value.items() if key in fields or key.startswith("x-")}
    match kind:
        case "response":
            value.setdefault("description", "")
        case "operation":
            if not value.get("responses", True):
                del value["responses"]
            if isinstance(value.get("parameters"), list):
                value["parameters"] = [each for each in value["parameters"] if not _is_query_string(each)]
        case "security_scheme" if isinstance(value.get("flows"), dict):
            value["flows"] = {key: each for key, each in value["flows"].items() if key in _FLOWS}
    return value


def _is_query_string(parameter: Any) -> bool:
    return isinstance(parameter, dict) and parameter.get("in") == "querystring"


def _from_3_0(kind: str, value: Object) -> Object:
    if "$ref" in value and kind != "path_item":
        return {"$ref": value["$ref"]}  # in 3.0 all that stands beside it is ignored
    if kind != "schema":
        return value
    if "example" in value:
        value["examples"] = [value.pop("example")]
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(value.get(exclusive), bool) and value.pop(exclusive) and limit in value:
            value[exclusive] = value.pop(limit)
    return _nullable(value) if value.pop("nullable", False) is True else value


def _nullable(value: Object) -> Object:
    """A schema that admits null beside what it says.

    Without a type 3.0 has `nullable` mean nothing, and everybody who writes it beside `allOf` means this.
    """
    if isinstance(value.get("type"), str):
        return {**value, "type": [value["type"], "null"]}
    if value.keys() & {"allOf", "anyOf", "oneOf"}:
        about: Object = {key: value.pop(key) for key in _ABOUT if key in value}
        return {**about, "anyOf": [value, {"type": "null"}]}
    return value
