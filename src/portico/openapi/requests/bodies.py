"""The body of an operation: its media type, and what is in it where that is JSON or a form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from portico.openapi.objects import Object
from portico.openapi.operations import Operation
from portico.openapi.requests.schemas import Problem, Schema, Schemas, UncheckableError, is_too_deep
from portico.openapi.requests.texts import NOT_SAID, Shape, object_of, shape_of

_FORM: Final = "application/x-www-form-urlencoded"
_FORMS: Final = (_FORM, "multipart/form-data")
"""What services read in the same way: where one is written, they take the other one too."""
_MOST_FIELDS: Final = 1000
_NO_JSON: Final = [Problem("", "it is no JSON")]
_TOO_DEEP: Final = [Problem("", "it is nested too deeply")]


def is_json(kind: str) -> bool:
    """Whether a media type is that of a JSON document, as FastAPI takes it."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class _DepthError(Exception):
    """A value has more levels than are looked at."""


class _Media(NamedTuple):
    kind: str
    schema: Schema | None
    shape: Shape


class Body:
    """What an operation says of its body."""

    def __init__(self, schemas: Schemas, operation: Operation) -> None:
        body = operation.body or {}
        content = body.get("content")
        self.required = body.get("required") is True
        self._media = [
            _media(schemas, kind.partition(";")[0].strip().lower(), media, f"{operation.name}, body as {kind}")
            for kind, media in (content.items() if isinstance(content, dict) else ())
            if isinstance(media, dict)
        ]
        self._all_refuse_others = all(map(_refuses_others, self._media))

    @property
    def kinds(self) -> list[str]:
        """The media types that it may have."""
        return [each.kind for each in self._media]

    def refuses(self, kind: str) -> bool:
        """Whether the service takes no body of this media type."""
        return bool(self._media) and self._of(kind) is None and self._all_refuse_others

    def reads(self, kind: str) -> bool:
        """Whether there is anything to check in a body of this media type."""
        media = self._of(kind)
        return media is not None and media.schema is not None and (is_json(kind) or kind == _FORM)

    def problems(self, kind: str, body: bytes) -> list[Problem]:
        """What is wrong with a body of a media type that is read. Raises UncheckableError."""
        media = self._of(kind)
        assert media is not None
        assert media.schema is not None
        if kind == _FORM:
            return _problems_of_form(media, body)
        try:
            value = _json(body)
        except _DepthError:
            return _TOO_DEEP
        except ValueError:
            return _NO_JSON
        if value is None and not self.required:
            return []
        return media.schema.problems(value)

    def _of(self, kind: str) -> _Media | None:
        """What is said of a media type: by its name, for the like of it, or by a range."""
        likes: list[Callable[[str], bool]] = [lambda own: own == kind]
        if is_json(kind):
            likes.append(is_json)
        if kind in _FORMS:
            likes.append(_FORMS.__contains__)
        likes += [lambda own: own == kind.partition("/")[0] + "/*", lambda own: own == "*/*"]
        return next((media for like in likes for media in self._media if like(media.kind)), None)


def _media(schemas: Schemas, kind: str, media: Object, where: str) -> _Media:
    schema = media.get("schema", {})
    if not (is_json(kind) or kind in _FORMS):
        return _Media(kind, None, Shape())
    return _Media(kind, schemas.compiled(_with_missing(schemas, schema), where), shape_of(schemas, schema))


def _with_missing(schemas: Schemas, schema: Any) -> Any:
    """FastAPI takes null for a parameter of the body that is not there, where it is not required."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    target = schemas.look(reference) if isinstance(reference, str) else schema
    if not isinstance(target, dict) or not str(target.get("title", "")).startswith("Body_"):
        return schema
    properties, required = target.get("properties"), target.get("required") or []
    if not isinstance(properties, dict) or not isinstance(required, list):
        return schema
    taken = {
        name: each if name in required else {"anyOf": [each, {"enum": [None]}]} for name, each in properties.items()
    }
    return {**target, "properties": taken}


def _refuses_others(media: _Media) -> bool:
    """Whether a body of another media type cannot be one of this: a text may be read as a text of JSON."""
    if media.schema is None:
        return False
    if is_json(media.kind):
        return not media.shape.takes_text
    try:
        return bool(media.schema.problems({}))
    except UncheckableError:
        return False


def _json(body: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, _DepthError, or UncheckableError for what only Python reads."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise _DepthError from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _json_of_python(body)
    if is_too_deep(body):
        raise _DepthError
    return value


def _json_of_python(body: bytes) -> Any:
    """The same as Python reads it, in UTF-16 and UTF-32 too. Raises ValueError, _DepthError or UncheckableError."""

    def constant(name: str) -> Any:
        raise UncheckableError(f"{name} is no number of JSON")

    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        value = json.loads(text, parse_constant=constant)
    except RecursionError:
        raise _DepthError from None
    if is_too_deep(text.encode("utf-8", "surrogatepass")):
        raise _DepthError
    return value


def _problems_of_form(media: _Media, body: bytes) -> list[Problem]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise UncheckableError(str(error)) from None
    value = object_of(media.shape, pairs)
    if value is NOT_SAID or media.schema is None:
        return []
    return media.schema.problems(value)
