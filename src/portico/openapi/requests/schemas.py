"""Schemas of a document, compiled: whether a value fits, and what of it does not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from portico.openapi.document import Document, pointed_at
from portico.openapi.objects import PARTS, Object
from portico.openapi.requests.lax import lax, nulled, plain

logger: Final = logging.getLogger("portico.openapi")

MOST_PROBLEMS: Final = 10
"""That are said of one request."""
_MOST_SCHEMAS: Final = 2000
"""That one may refer to, directly or not."""
_LONGEST: Final = 200
"""Characters of what is said of a problem."""
_MOST_EXPLAINED: Final = 4096
_DEEPEST_EXPLAINED: Final = 5
"""Values in one, and levels, of which all problems are looked for: that costs many times what a verdict does, and with
each level of alternatives that refer to themselves twice as much again."""
_LONGEST_TRACED: Final = 200
"""Characters of a text that is held against a pattern whose time may grow with the square of them."""
DEEPEST: Final = 200
"""Levels of a value that is looked at at all: libraries go down in the stack of the process."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_LEAVE: Final = (KeyboardInterrupt, SystemExit)


class Problem(NamedTuple):
    """What is wrong, and where in a value: a JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class UncheckableError(Exception):
    """It cannot be told whether a value fits."""


class Schemas:
    """The schemas of one document. Those that cannot be compiled are reported, and then everything fits."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._is_first = document.minor == 0

    def look(self, reference: str) -> Any:
        """What a reference of the document leads to; None where that is nothing."""
        try:
            return pointed_at(self._document.content, reference)
        except (LookupError, ValueError, TypeError):
            return None

    def compiled(self, schema: Any, where: str) -> Schema | None:
        """A schema of the document, which stands at `where`; None where there is nothing to check."""
        if schema is True or schema == {}:
            return None
        try:
            return Schema(self, schema)
        except _LEAVE:
            raise
        except BaseException as error:  # whatever a library raises for what others wrote: its panics are no Exceptions
            extra = {"where": where, "reason": str(error).partition("\n")[0][:_LONGEST]}
            logger.warning("a schema of an OpenAPI document cannot be used: what it is for is not checked", extra=extra)
            return None

    def validator(self, schema: Any, *, is_lax: bool) -> Any:
        """What checks values by a schema. Raises whatever the library does."""
        import jsonschema_rs  # only where requests are checked

        kind = jsonschema_rs.Draft4Validator if self._is_first else jsonschema_rs.Draft202012Validator
        return kind(self._whole(schema, is_lax), offline=True, validate_formats=True, mask="it")

    def _whole(self, schema: Any, is_lax: bool) -> Object:
        """A schema with all that it refers to, as one: the library gets nothing else of the document."""
        names: dict[str, str] = {}

        def before(value: Object) -> Object:
            value = plain(value, self.look)
            reference = value.get("$ref")
            if isinstance(reference, str):
                value["$ref"] = f"#/definitions/{names.setdefault(reference, str(len(names)))}"
            return value

        def after(value: Object) -> Object:
            value = nulled(_bounded(value, is_first=self._is_first))
            return lax(value, is_first=self._is_first) if is_lax else value

        whole: Object = {"allOf": [_rebuilt(schema, before, after)]}
        definitions: Object = {}
        while len(definitions) < len(names):
            if len(names) > _MOST_SCHEMAS:
                raise ValueError(f"it refers to more than {_MOST_SCHEMAS} others")
            for reference, name in list(names.items()):
                if name not in definitions:
                    definitions[name] = _rebuilt(pointed_at(self._document.content, reference), before, after)
        return {**whole, "definitions": definitions} if definitions else whole


@lru_cache(maxsize=1024)
def _goes_back(pattern: str) -> bool:
    """Whether the time that a pattern takes may grow with the square of a text, as where it looks around."""
    import jsonschema_rs

    return not _compiles(pattern, jsonschema_rs.RegexOptions()) and _compiles(
        pattern, jsonschema_rs.FancyRegexOptions()
    )


def _compiles(pattern: str, engine: Any) -> bool:
    import jsonschema_rs

    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=engine)
    except _LEAVE:
        raise
    except BaseException:
        return False
    return True


def _bounded(schema: Object, *, is_first: bool) -> Object:
    """A schema that a long text keeps busy for no longer than it takes to read it: some patterns are for short ones."""
    pattern, named = schema.get("pattern"), schema.get("patternProperties")
    if isinstance(named, dict) and any(map(_goes_back, named)):
        kept = {name: each for name, each in named.items() if not _goes_back(name)}
        others = ("additionalProperties", "unevaluatedProperties")  # of which nobody can tell now which they are
        schema = {**{key: each for key, each in schema.items() if key not in others}, "patternProperties": kept}
    if not isinstance(pattern, str) or not _goes_back(pattern):
        return schema
    short: Object = (
        {"anyOf": [{"minLength": _LONGEST_TRACED + 1}, {"pattern": pattern}]}
        if is_first
        else {"if": {"maxLength": _LONGEST_TRACED}, "then": {"pattern": pattern}}
    )
    schema = {key: each for key, each in schema.items() if key != "pattern"}
    return {**schema, "allOf": [*schema.get("allOf", ()), short]}


Change: TypeAlias = Callable[[Object], Object]


def _rebuilt(schema: Any, before: Change, after: Change) -> Any:
    """A copy of a schema and of those in it: each is changed before its parts are, and after."""
    if not isinstance(schema, dict):
        return schema
    value = before(schema)
    for field, (shape, _) in PARTS["schema"].items():
        held = value.get(field)
        if isinstance(held, dict) and shape == "map":
            value[field] = {name: _rebuilt(each, before, after) for name, each in held.items()}
        elif isinstance(held, list) and shape in ("list", "either"):
            value[field] = [_rebuilt(each, before, after) for each in held]
        elif isinstance(held, dict) and shape in ("one", "either"):
            value[field] = _rebuilt(held, before, after)
    return after(value)


class Schema:
    """A schema, compiled."""

    def __init__(self, schemas: Schemas, written: Any) -> None:
        self._schemas = schemas
        self._written = written
        self.fits: Callable[[Any], bool] = schemas.validator(written, is_lax=True).is_valid
        self._strict: Any = None

    def problems(self, value: Any) -> list[Problem]:
        """What of a value does not fit; nothing where it does. Raises UncheckableError."""
        try:
            if self.fits(value):
                return []
        except _LEAVE:
            raise
        except BaseException as error:  # such as text that is not Unicode
            raise UncheckableError(str(error)) from None
        return self._explained(value) or [Problem("", "it does not fit the schema")]

    def _explained(self, value: Any) -> list[Problem]:
        if _more_than(value, _MOST_EXPLAINED) or _deeper_than(value, _DEEPEST_EXPLAINED):
            return []
        try:
            if self._strict is None:
                self._strict = self._schemas.validator(self._written, is_lax=False)
            errors = self._strict.iter_errors(value)
        except _LEAVE:
            raise
        except BaseException:  # the verdict stands without a word on it
            return []
        return [_problem(error) for _, error in zip(range(MOST_PROBLEMS), errors, strict=False)]


def _problem(error: Any) -> Problem:
    path = (str(part).replace("~", "~0").replace("/", "~1") for part in error.instance_path)
    return Problem("".join(f"/{part}" for part in path), error.message[:_LONGEST])


def is_too_deep(text: bytes) -> bool:
    """Whether the value of a JSON text has more levels than are looked at. The text has to be one, in UTF-8."""
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return False
    brackets = _STRINGS.sub(b"", text).translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):  # each round takes the innermost ones, at the speed of C
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _inner(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [inner for each in level for inner in _inner(each) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _more_than(value: Any, most: int) -> bool:
    count, coming = 0, [value]
    while coming:
        inner = _inner(coming.pop())
        count += len(inner)
        if count > most:
            return True
        coming += [each for each in inner if isinstance(each, dict | list)]
    return False
