"""Parameters of an operation: found by their style (OpenAPI, "Style Values"), and checked by their schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

import msgspec

from portico.openapi.objects import Object
from portico.openapi.operations import Operation
from portico.openapi.requests.schemas import MOST_PROBLEMS, Schema, Schemas, UncheckableError
from portico.openapi.requests.texts import NOT_SAID, Shape, lists_of, object_of, shape_of, values_of

_SEPARATORS: Final = {"spaceDelimited": " ", "pipeDelimited": "|"}
_MOST_VALUES: Final = 1000


class Given(Protocol):
    """A request, as far as its parameters go."""

    @property
    def segments(self) -> Sequence[bytes]:
        """Those of its path, decoded."""

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The values of its query's parameters, decoded."""

    @property
    def cookies(self) -> Mapping[str, list[str]]:
        """The values of its cookies."""

    def header(self, name: str) -> list[str]:
        """The values of a field, a line each."""

    def may_have(self, name: str) -> bool:
        """Whether a service may get a field that the client did not send, or not get the one that it sent."""


class Wrong(NamedTuple):
    """A parameter that does not fit: its name, where it belongs, and what is wrong."""

    parameter: str
    place: str
    detail: str


class Parameters:
    """All those of an operation that can be checked."""

    def __init__(self, schemas: Schemas, operation: Operation) -> None:
        found = (_parameter(schemas, operation, each) for each in operation.parameters)
        self._all = [each for each in found if each is not None]

    def __bool__(self) -> bool:
        return bool(self._all)

    def wrong(self, given: Given) -> list[Wrong]:
        """Those that do not fit, as many as are said."""
        found: list[Wrong] = []
        for each in self._all:
            detail = each.problem(given)
            if detail is not None:
                found.append(Wrong(each.name, each.place, detail))
                if len(found) == MOST_PROBLEMS:
                    break
        return found


class _Parameter:
    def __init__(
        self, name: str, place: str, texts: Callable[[Given], Any], check: _Check, *, required: bool, missable: bool
    ) -> None:
        self.name = name
        self.place = place
        self._texts = texts
        self._check = check
        self._required = required
        self._missable = missable

    def problem(self, given: Given) -> str | None:
        """What is wrong with it."""
        if self.place == "header" and given.may_have(self.name):
            return None
        texts = self._texts(given)
        if not texts:
            return "it is required" if self._required and not self._missable else None
        if not self._required and all(text == "" for text in texts):
            return None  # many services take it for none
        return self._check(texts)


_Check = Callable[[Any], "str | None"]


def _parameter(schemas: Schemas, operation: Operation, written: Object) -> _Parameter | None:
    """What checks a parameter; None where it cannot be found by its style."""
    name, place = written.get("name"), written.get("in")
    if not isinstance(name, str) or place not in ("path", "query", "header", "cookie"):
        return None
    if place == "header" and name.lower() in ("accept", "content-type", "authorization"):
        return None  # OpenAPI: such a definition is ignored
    where = f"{operation.name}, {place} parameter {name}"
    if "content" in written:
        check = _by_content(schemas, written["content"], where)
        texts = _texts(operation, name, place, explode=False, separator=None)
    else:
        schema = written.get("schema", {})
        shape, compiled = shape_of(schemas, schema), schemas.compiled(schema, where)
        style = written.get("style", "form" if place in ("query", "cookie") else "simple")
        explode = written.get("explode", style == "form")
        if style == "deepObject" and place == "query":
            texts, check = _deep(name), _check_object(shape, compiled)
        elif style in ("form", "simple", *_SEPARATORS) and not ("object" in shape.types and not shape.takes_text):
            separator = None if not shape.is_list else _SEPARATORS.get(style, ",")
            texts = _texts(operation, name, place, explode=bool(explode) and place != "path", separator=separator)
            check = _check_values(shape, compiled)
        else:
            return None
    if texts is None:
        return None
    allows_empty = written.get("allowEmptyValue") is True
    required = written.get("required") is True and not allows_empty
    return _Parameter(name, place, texts, check, required=required, missable=place == "path" or allows_empty)


def _texts(
    operation: Operation, name: str, place: str, *, explode: bool, separator: str | None
) -> Callable[[Given], list[str]] | None:
    """What finds the texts of a parameter."""
    if place == "path":
        return _in_path(operation, name, separator)
    find = _FINDERS[place]

    def texts(given: Given) -> list[str]:
        found = find(given, name)
        if separator is not None and not (explode and place != "header") and len(found) == 1:
            return found[0].split(separator)
        return found

    return texts


def _in_path(operation: Operation, name: str, separator: str | None) -> Callable[[Given], list[str]] | None:
    """None where its segment has other names too: where one ends would be a guess."""
    index = next((at for at, segment in enumerate(operation.segments) if segment.names == (name,)), None)
    if index is None:
        return None
    place = index
    before, after = operation.segments[place].pieces
    behind = len(operation.segments) - place - (operation.segments[-1].pieces == (b"",))

    def texts(given: Given) -> list[str]:
        at = len(given.segments) - (given.segments[-1] == b"") - behind  # some begin with the path of a server
        if at < 0:
            return []
        text = given.segments[at].removeprefix(before).removesuffix(after).decode("utf-8", "replace")
        return text.split(separator) if separator is not None else [text]

    return texts


_FINDERS: Final[Mapping[str, Callable[[Given, str], list[str]]]] = {
    "query": lambda given, name: given.query.get(name, []),
    "cookie": lambda given, name: given.cookies.get(name, []),
    "header": lambda given, name: given.header(name),
}


def _deep(name: str) -> Callable[[Given], Any]:
    """The pairs of `name[property]=text`."""

    def pairs(given: Given) -> list[tuple[str, str]]:
        start = name + "["
        return [
            (own[len(start) : -1], text)
            for own, texts in given.query.items()
            if own.startswith(start) and own.endswith("]")
            for text in texts
        ]

    return pairs


def _check_object(shape: Shape, schema: Schema | None) -> _Check:
    def check(pairs: Sequence[tuple[str, str]]) -> str | None:
        value = object_of(shape, pairs)
        return None if value is NOT_SAID else _problem(schema, [value])

    return check


def _check_values(shape: Shape, schema: Schema | None) -> _Check:
    """One of several values will do where one is meant: some services take the first, others the last."""

    def check(texts: Sequence[str]) -> str | None:
        if len(texts) > _MOST_VALUES:
            return None
        values: list[Any] = list(_single(shape, texts))
        if shape.is_list:
            values = [*lists_of(shape, texts), *(values if shape.types - {"array", "null"} else ())]
        return _problem(schema, values)

    return check


def _single(shape: Shape, texts: Sequence[str]) -> Iterator[Any]:
    for text in texts:
        yield from values_of(shape, text)


def _by_content(schemas: Schemas, content: Any, where: str) -> _Check:
    """A parameter that is JSON; another type is not read."""
    nothing: tuple[str, Any] = "", {}
    kind, media = next(iter(content.items()), nothing) if isinstance(content, dict) else nothing
    is_json = kind.partition(";")[0].strip().lower() == "application/json" and isinstance(media, dict)
    schema = schemas.compiled(media.get("schema", {}), where) if is_json else None

    def check(texts: Sequence[str]) -> str | None:
        values = []
        for text in texts:
            try:
                values.append(msgspec.json.decode(text))
            except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
                continue
        return _problem(schema, values) if values else "it is no JSON"

    return check if is_json else lambda texts: None  # noqa: ARG005


def _problem(schema: Schema | None, values: Sequence[Any]) -> str | None:
    """What is wrong with the first of some values, of which one has to fit."""
    if schema is None or NOT_SAID in values:
        return None
    first: str | None = None
    for value in values:
        try:
            problems = schema.problems(value)
        except UncheckableError:
            return None
        if not problems:
            return None
        pointer, detail = problems[0]
        first = first or (detail if not pointer else f"{detail}, at {pointer}")
    return first


def cookies_of(values: Sequence[str]) -> dict[str, list[str]]:
    """The cookies of `Cookie` fields, with and without quotes around them."""
    found: dict[str, list[str]] = {}
    for pair in (pair for value in values for pair in value.split(";")):
        name, _, text = pair.partition("=")
        held = found.setdefault(name.strip(), [])
        held.append(text.strip())
        if text.strip()[:1] == text.strip()[-1:] == '"' and len(text.strip()) > 1:
            held.append(text.strip()[1:-1])
    return found


def query_of(query: bytes) -> dict[str, list[str]]:
    """The parameters of a query, as forms send them."""
    found: dict[str, list[str]] = {}
    for pair in query.split(b"&") if query else ():
        name, _, text = pair.partition(b"=")
        found.setdefault(_decoded(name), []).append(_decoded(text))
    return found


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")
