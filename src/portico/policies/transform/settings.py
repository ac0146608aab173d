"""What is written under `transform`: lists of rules for requests and for responses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from portico.core.conditions import ParameterName
from portico.core.fields import PASSES
from portico.core.json_text import JsonEdit
from portico.core.route_paths import check_characters
from portico.core.settings import HeaderName, Method, Settings, Size
from portico.policies.editable import editable, plain_key
from portico.policies.templates import Template
from portico.policies.transform.json_values import JsonValue, compiled
from portico.policies.transform.values import Target, Text, captures_of
from portico.policies.when import ResponseWhen, StatusRange, When

# ---- values


def _text(value: Any) -> str:
    if value is None:
        raise ValueError('nothing is written after the colon: write a value, or "" for an empty one')
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("expected text; put it into quotes")
    return value


def _texts(value: Any) -> list[str]:
    texts = [_text(each) for each in value] if isinstance(value, list) else [_text(value)]
    if not texts:
        raise ValueError("a list holds one value or more; remove is for names that are to have none")
    return texts


_TEXT_SCHEMA: Final = {"type": ["string", "number"]}
_TEXTS_SCHEMA: Final = {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA}]}

Texts: TypeAlias = Annotated[Any, BeforeValidator(_texts), WithJsonSchema(_TEXTS_SCHEMA)]
"""One value or several, each a template."""


def _once(names: Iterable[str], verb: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(plain_key(name), name)
        if other is not name:
            raise ValueError(f"{other} and {name} in {verb} are the same field: write it once")


# ---- parts of a rule


class QueryEdits(Settings):
    """What becomes of the parameters of a query: `remove`, `rename`, `set` and `add`, in this order."""

    remove: list[ParameterName] = []
    """Parameters that go."""
    rename: dict[ParameterName, ParameterName] = {}
    """Parameters by their old names, with the new ones."""
    set: dict[ParameterName, Texts] = {}
    """Parameters that have this value, whatever was there."""
    add: dict[ParameterName, Texts] = {}
    """Parameters that are added at the end."""


def _request_field(name: str, verb: str) -> str:
    editable(name, where=("request", verb))
    if plain_key(name) == "host" or not PASSES(name.lower().encode()):
        raise ValueError(f"{name} is written by the gateway: policies.headers.request may change it, a rule cannot")
    return name


def _response_field(name: str, verb: str) -> str:
    return editable(name, where=("response", verb))


def _field(check: Any, verb: str) -> Any:
    return Annotated[HeaderName, AfterValidator(partial(check, verb=verb))]


class FieldEdits(Settings):
    """What becomes of header fields: `remove`, `rename`, `set` and `add`, in this order."""

    remove: list[HeaderName] = []
    rename: dict[HeaderName, HeaderName] = {}
    set: dict[HeaderName, Texts] = {}
    add: dict[HeaderName, Texts] = {}

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for verb, names in (("remove", self.remove), ("rename", [*self.rename]), ("set", [*self.set])):
            _once(names, verb)
        return self


class RequestFieldEdits(FieldEdits):
    """What becomes of header fields of a request: `remove`, `rename`, `set` and `add`, in this order."""

    remove: list[_field(_request_field, "remove")] = []  # type: ignore[valid-type]
    """Fields that go."""
    rename: dict[_field(_request_field, "remove"), _field(_request_field, "set")] = {}  # type: ignore[valid-type]
    """Fields by their old names, with the new ones."""
    set: dict[_field(_request_field, "set"), Texts] = {}  # type: ignore[valid-type]
    """Fields that have this value, whatever was there."""
    add: dict[_field(_request_field, "add"), Texts] = {}  # type: ignore[valid-type]
    """Fields that are added."""


class ResponseFieldEdits(FieldEdits):
    """What becomes of header fields of a response: `remove`, `rename`, `set` and `add`, in this order."""

    remove: list[_field(_response_field, "remove")] = []  # type: ignore[valid-type]
    """Fields that go."""
    rename: dict[_field(_response_field, "remove"), _field(_response_field, "set")] = {}  # type: ignore[valid-type]
    """Fields by their old names, with the new ones."""
    set: dict[_field(_response_field, "set"), Texts] = {}  # type: ignore[valid-type]
    """Fields that have this value, whatever was there."""
    add: dict[_field(_response_field, "add"), Texts] = {}  # type: ignore[valid-type]
    """Fields that are added."""


_TILDE: Final = re.compile("~(?![01])")


def _pointer(text: str) -> str:
    if not text.startswith("/"):
        names = text.removeprefix("$").removeprefix(".") or "name"  # a JSONPath, as jq and Kong have it
        hint = names.replace(".", "/")
        raise ValueError(f"expected a JSON Pointer (RFC 6901), which begins with a slash: /{hint}")
    if _TILDE.search(text):
        raise ValueError("in a JSON Pointer (RFC 6901) a ~ in a name is written ~0, and a slash ~1")
    return text


def _member(text: str) -> str:
    if not text:
        raise ValueError("expected the name of the member that is to hold the whole document, such as data")
    return text


def _new_place(text: str) -> str:
    return _pointer(text) if text.startswith("/") else _member(text)


Pointer: TypeAlias = Annotated[str, AfterValidator(_pointer)]


class JsonEdits(Settings):
    """What becomes of a JSON document: `pick`, `remove`, `rename`, `set`, `merge` and `wrap`, in this order.

    Its parts are named by JSON Pointers (RFC 6901). `pick` keeps these alone. `rename` gives a member another name or,
    with a pointer, another place; an empty one is the whole document. `merge` is a merge patch (RFC 7396), where null
    removes. `wrap` makes the document a member of a new object, by a name or by a pointer to it.
    """

    pick: list[Pointer] = []
    """Pointers (RFC 6901) to the only parts that stay."""
    remove: list[Pointer] = []
    """Pointers to parts that go."""
    rename: dict[Pointer, Annotated[str, AfterValidator(_new_place)] | Literal[""]] = {}
    """Members by pointer, with a new name or, as a pointer, another place."""
    set: dict[Pointer, JsonValue] = {}
    """Parts by pointer, with their new values."""
    merge: JsonValue = None
    """A merge patch (RFC 7396), in which null removes."""
    wrap: Annotated[str, AfterValidator(_new_place)] | None = None
    """The member of a new object that the document becomes, by name or pointer."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not (self.pick or self.remove or self.rename or self.set or self.wrap is not None or self.merges):
            raise ValueError("nothing is changed: write pick, remove, rename, set, merge or wrap")
        if self.merges and not isinstance(self.merge, dict):
            raise ValueError("expected keys and values: a merge patch that is none replaces the whole document")
        JsonEdit(pick=self.pick, remove=self.remove, rename=self.rename, set=dict.fromkeys(self.set, b"null"))
        return self

    @property
    def merges(self) -> bool:
        """Whether there is a merge patch."""
        return "merge" in self.model_fields_set


# ---- rules


def _sent_method(name: str) -> str:
    if name in ("HEAD", "CONNECT", "TRACE"):
        raise ValueError(f"no request is made {name}: its response is unlike those to others")
    return name


def _path(text: str) -> str:
    if found := re.search(r"\$\w+", text):
        raise ValueError(
            f"what is captured has a name: write ~ ^/(?P<id>[^/]+)$ in when and {{id}} here, not {found[0]}"
        )
    check_characters(re.sub(r"\{[^{}]*\}|\{\{|\}\}", "x", text))
    return text


def _has_a_body(status: int) -> int:
    if status in (204, 205, 206, 304):
        raise ValueError(
            f"{status} says that there is no body, or a part of one: a response keeps the body that it has"
        )
    return status


def _statuses(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(
            f"expected old statuses with new ones: write {{OLD: {value if isinstance(value, int) else 410}}}"
        )
    return value


_NewStatus: TypeAlias = Annotated[int, Field(ge=200, le=599), AfterValidator(_has_a_body)]


class RequestRule(Settings):
    """A change of requests on their way to the service: what is written of `path`, `query`, …, where `when` holds.

    `path` is what the service gets, behind the route's own `rewrite`, whose result is `{path}`; what a `~ pattern` in
    `when` captures has names of its own. `form_to_json` makes JSON of a form, which `json` may then change.
    """

    when: When | None = None
    """When it applies: `methods`, `path`, `headers`, `query`, `consumer`, `claims`, `content_type`, and `status` of a
    response. Without it: always.
    """
    method: Annotated[Method, AfterValidator(_sent_method)] | None = None
    """The method that the service gets."""
    path: Annotated[str, AfterValidator(_path)] | None = None
    """The path that the service gets, with `{path}` and what `when` captures."""
    query: QueryEdits | None = None
    """Parameters to `remove`, `rename`, `set` and `add`."""
    headers: RequestFieldEdits | None = None
    """Fields to `remove`, `rename`, `set` and `add`."""
    form_to_json: bool = False
    """Makes JSON of a form."""
    json_: Annotated[JsonEdits | None, Field(alias="json")] = None
    """What becomes of a JSON body: `pick`, `remove`, `rename`, `set`, `merge`, `wrap`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        parts = (self.method, self.path, self.query, self.headers, self.json_)
        if not self.form_to_json and all(part is None for part in parts):
            raise ValueError("nothing is changed: write method, path, query, headers, form_to_json or json")
        _check_values(self.when, self.query, self.headers, self.json_)
        if self.path is not None:
            Text(self.path, {**captures_of(self.when), Target.NAME: Target()})
        return self


class ResponseRule(Settings):
    """A change of the service's responses on their way to the client: `status`, `headers` and `json`.

    It applies where `when` holds. `status` says what becomes of the service's own: `{404: 410, 5xx: 503}`.
    """

    when: ResponseWhen | None = None
    """When it applies: `methods`, `path`, `headers`, `query`, `consumer`, `claims`, `content_type`, and `status` of a
    response. Without it: always.
    """
    status: (
        Annotated[
            dict[StatusRange, _NewStatus],
            Field(min_length=1),
            BeforeValidator(_statuses, json_schema_input_type=dict[str, int]),
        ]
        | None
    ) = None
    """New statuses by old ones: `{404: 410, 5xx: 503}`."""
    headers: ResponseFieldEdits | None = None
    """Fields to `remove`, `rename`, `set` and `add`."""
    json_: Annotated[JsonEdits | None, Field(alias="json")] = None
    """What becomes of a JSON body: `pick`, `remove`, `rename`, `set`, `merge`, `wrap`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.status is None and self.headers is None and self.json_ is None:
            raise ValueError("nothing is changed: write status, headers or json")
        _check_values(self.when, None, self.headers, self.json_)
        return self


def _check_values(
    when: When | None, query: QueryEdits | None, fields: FieldEdits | None, json: JsonEdits | None
) -> None:
    """Raises ValueError, with the place, for a template that is none."""
    captures = captures_of(when)
    for part, edits, make in (("query", query, Text), ("headers", fields, Template)):
        for verb, names in (("set", edits.set), ("add", edits.add)) if edits is not None else ():
            for name, texts in names.items():
                for text in texts:
                    _checked(f"{part}.{verb}.{name}", partial(make, text, captures))
    if json is not None:
        for pointer, value in json.set.items():
            _checked(f"json.set.{pointer}", partial(compiled, value, captures))
        if json.merges:
            _checked("json.merge", partial(compiled, json.merge, captures))


def _checked(place: str, make: Any) -> None:
    try:
        make()
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


class TransformSettings(Settings):
    """Rules that change requests and responses, one after the other.

    Bodies are changed up to `max_body` bytes, decoded. `otherwise` is what becomes of a body that a rule is for and
    that cannot be changed: larger ones, those in an unknown coding, and responses that are no JSON. They `pass` as they
    are, or the exchange is answered with an error (`refuse`).
    """

    request: list[RequestRule] = []
    """Rules for requests, which apply one after the other. A level's list takes the place of that of the levels above.
    """
    response: list[ResponseRule] = []
    """Rules for responses, which apply one after the other."""
    max_body: Annotated[Size, Field(gt=0, le=64 << 20)] = 1 << 20
    """Bytes of a body, decoded, up to which rules change it; up to 64 MiB."""
    otherwise: Literal["pass", "refuse"] = "pass"
    """What becomes of a body that a rule is for and cannot change: it passes as it is, or the client gets an error."""

    @model_validator(mode="after")
    def _has_rules(self) -> Self:
        if not self.request and not self.response:
            raise ValueError("there is no rule: write request or response, a list of rules each")
        return self

    def whens(self) -> Iterator[tuple[tuple[str, int], When]]:
        """What rules ask, with their direction and index."""
        for index, rule in enumerate(self.request):
            if rule.when is not None:
                yield ("request", index), rule.when
        for index, answer in enumerate(self.response):
            if answer.when is not None:
                yield ("response", index), answer.when


__all__ = ["FieldEdits", "JsonEdits", "QueryEdits", "RequestRule", "ResponseRule", "TransformSettings"]
