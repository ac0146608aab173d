"""Header fields that are set, added and removed: of requests on their way to services, and of responses to clients.

In requests that happens when an attempt's head is composed (`proxy/compose.py`). Responses are marked by two steps, so
that refusals have the fields too: one before all other policies, and one behind `auth` for values that depend on the
consumer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from portico.core.exchange import Exchange
from portico.core.messages import IfAbsent
from portico.core.settings import Settings
from portico.policies.editable import editable, is_editable, plain_key
from portico.policies.policy import Context, Policy
from portico.policies.templates import NO_OTHERS, Read, Template

# ---- settings


def _value(value: Any) -> str | Literal[False]:
    """One value as written; false switches the field off, as it does policies."""
    if value is False:
        return value
    if value is None:
        raise ValueError("nothing is written after the colon: write a value, or false where a level above has one")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("expected text; put it into quotes")
    Template(value)
    return value


def _values(value: Any) -> list[str] | Literal[False]:
    if not isinstance(value, list):
        one = _value(value)
        return one if one is False else [one]
    values = [_value(each) for each in value]
    texts = [text for text in values if text is not False]
    if not texts or len(texts) < len(values):
        raise ValueError("a list holds one value or more, each of them text")
    return texts


_TEXT_SCHEMA: Final = {"type": ["string", "number", "boolean"]}
_VALUE_SCHEMA: Final = {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA}]}

Values: TypeAlias = Annotated[Any, BeforeValidator(_values), WithJsonSchema(_VALUE_SCHEMA)]
"""The values of a field, a line each; or false."""


def _name(direction: str, verb: str) -> AfterValidator:
    return AfterValidator(partial(editable, where=(direction, verb)))


class FieldEdits(Settings):
    """`set` replaces a field, `add` adds lines to what is there, `remove` drops a field.

    What is added about the consumer to a request replaces what its client sent: only the gateway knows consumers.
    """

    set: dict[str, Values] = Field(default_factory=dict)
    add: dict[str, Values] = Field(default_factory=dict)
    remove: list[str] = []

    @model_validator(mode="after")
    def _named_once(self) -> FieldEdits:
        for verb, names in (("set", [*self.set]), ("add", [*self.add]), ("remove", self.remove)):
            seen: dict[str, str] = {}
            for name in names:
                other = seen.setdefault(plain_key(name), name)
                if other is not name:
                    raise ValueError(f"{other} and {name} in {verb} are the same field: write it once")
        return self


class RequestEdits(FieldEdits):
    """What is changed of a request on its way to the service."""

    set: dict[Annotated[str, _name("request", "set")], Values] = Field(default_factory=dict)
    """Fields that are replaced, or added where there was none; `{consumer}` and its like stand for what is known."""
    add: dict[Annotated[str, _name("request", "add")], Values] = Field(default_factory=dict)
    """Fields that get a further line. One that says something of the consumer (`{consumer}`, `{claim.NAME}`) stands
    alone: what a client sent under its name goes.
    """
    remove: list[Annotated[str, _name("request", "remove")]] = []
    """Fields that are dropped."""

    @model_validator(mode="after")
    def _host_is_one(self) -> RequestEdits:
        for name, values in self.set.items():
            if plain_key(name) == "host" and values is not False:
                fixed = Template(values[0]).fixed
                if len(values) > 1 or fixed is None or not _HOST.fullmatch(fixed):
                    raise ValueError(
                        "Host has to be one name, with a port if need be, and without names in braces but {env.NAME}: "
                        "no request may be without it"
                    )
        return self


_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class ResponseEdits(FieldEdits):
    """What is changed of a response on its way to the client."""

    set: dict[Annotated[str, _name("response", "set")], Values] = Field(default_factory=dict)
    """Fields that are replaced, or added where there was none."""
    add: dict[Annotated[str, _name("response", "add")], Values] = Field(default_factory=dict)
    """Fields that get a further line."""
    remove: list[Annotated[str, _name("response", "remove")]] = []
    """Fields that are dropped."""


class HeadersSettings(Settings):
    """Fields that are set, added and removed; `security` adds those that browsers take as instructions to be careful.

    A response keeps what its service sets of those itself, and what is written for the name under `response` counts.
    """

    request: RequestEdits = RequestEdits()
    """What is changed of a request on its way to the service."""
    response: ResponseEdits = ResponseEdits()
    """What is changed of a response on its way to the client."""
    security: bool = False
    """Adds to responses the fields that browsers take as instructions to be careful."""


def headers_over(own: Any, base: Any) -> Any:
    """`own` laid over `base`, as they were written: what a level says of a field replaces what those above say of it.

    What is no mapping, and names that may not be edited, are left to validation, which finds them where they stand.
    """
    if not isinstance(own, dict) or not isinstance(base, dict):
        return base if isinstance(own, bool) else own
    merged = {**base, **own}
    for direction in ("request", "response"):
        if isinstance(own.get(direction), dict) and isinstance(base.get(direction), dict):
            merged[direction] = _edits_over(direction, own[direction], base[direction])
    return merged


def _edits_over(direction: str, own: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    said = {
        plain_key(name) for part in own.values() if isinstance(part, dict | list) for name in part if type(name) is str
    }
    merged = {**base, **own}
    for verb in ("set", "add"):
        if isinstance(base.get(verb), dict) and isinstance(own.get(verb, {}), dict):
            kept = {name: values for name, values in base[verb].items() if plain_key(name) not in said}
            merged[verb] = {**kept, **own.get(verb, {})}
    if isinstance(base.get("remove"), list) and isinstance(own.get("remove", []), list):
        names = [
            name for name in base["remove"] if is_editable(name, (direction, "remove")) and plain_key(name) not in said
        ]
        merged["remove"] = [*own.get("remove", []), *names]
    return merged


# ---- behaviour


class Lines:
    """The field lines of some edits for an exchange."""

    __slots__ = ("_fixed", "_made")

    def __init__(self, fields: Iterable[tuple[str, Template]]) -> None:
        fields = list(fields)
        self._made = tuple((f"{name}: ", value) for name, value in fields)
        self._fixed: tuple[bytes, ...] | None = None
        if all(value.fixed is not None for _, value in fields):
            self._fixed = tuple(f"{name}: {value.fixed}".encode() for name, value in fields if value.fixed)

    def __bool__(self) -> bool:
        return bool(self._made)

    @property
    def is_fixed(self) -> bool:
        """Whether they are the same for every exchange."""
        return self._fixed is not None

    def of(self, exchange: Exchange) -> tuple[bytes, ...]:
        """A value that comes out empty has no line."""
        if self._fixed is not None:
            return self._fixed
        values = [(start, value.render(exchange)) for start, value in self._made]
        return tuple((start + text).encode() for start, text in values if text)


def names_consumers(settings: HeadersSettings) -> str | None:
    """The first field that is never sent without `auth`; None where there is none."""
    fields = (*_fields(settings.request), *_fields(settings.response))
    return next((name for name, value in fields if value.needs_consumer), None)


def about_consumers(fields: Mapping[str, Any], others: Mapping[str, Read] = NO_OTHERS) -> list[str]:
    """The names of those fields of which a value says something of the consumer: no client may say it instead."""
    return [
        name for name, values in fields.items() if values and any(Template(each, others).needs_auth for each in values)
    ]


@dataclass(frozen=True, slots=True)
class RequestChanges:
    """What is changed of the heads that are sent to a service: fields that are dropped, and lines that are added."""

    drops: frozenset[bytes]
    lines: Lines
    names: frozenset[bytes]
    """The lower-cased names of all these fields."""


def request_changes(settings: HeadersSettings) -> RequestChanges | None:
    """None where nothing is changed."""
    edits = settings.request
    gone = (*_dropped(edits), *about_consumers(edits.add))
    drops = frozenset(form for name in gone for form in (name.lower().encode(), plain_key(name).encode()))
    fields = _fields(edits)
    lines, names = Lines(fields), frozenset(name.lower().encode() for name, _ in fields)
    return RequestChanges(drops, lines, drops | names) if drops or lines else None


@dataclass(frozen=True, slots=True)
class ResponseChanges:
    """What is changed of the heads of a service's responses, beside what the steps have marked.

    `lines` describe the content: they are not true of the gateway's own answers. `hidden` are the gateway's own fields
    that are not sent.
    """

    lines: Lines
    hidden: frozenset[bytes]


def response_changes(settings: HeadersSettings) -> ResponseChanges | None:
    """None where the steps mark all there is."""
    lines = Lines((name, value) for name, value in _fields(settings.response) if plain_key(name) in OF_CONTENT)
    hidden = _drops(settings.response) & _HIDEABLE
    return ResponseChanges(lines, hidden) if lines or hidden or settings.security else None


OF_CONTENT: Final = frozenset(
    {
        *("cache-control", "expires", "age", "pragma", "etag", "last-modified", "location", "refresh"),
        *("content-type", "content-encoding", "content-language", "content-location", "content-disposition"),
        *("content-range", "accept-ranges", "retry-after", "www-authenticate", "allow"),
    }
)
"""What the gateway's own answers say of themselves, or what is not true of them: an error that a route's
`Cache-Control: public` made caches keep would outlive its cause."""

_HIDEABLE: Final = frozenset({b"ratelimit", b"ratelimit-policy"})

_SECURITY: Final = (
    IfAbsent(b"X-Content-Type-Options: nosniff"),
    IfAbsent(b"X-Frame-Options: SAMEORIGIN"),
    IfAbsent(b"Referrer-Policy: strict-origin-when-cross-origin"),
    IfAbsent(b"X-Permitted-Cross-Domain-Policies: none"),
)
_HSTS: Final = IfAbsent(b"Strict-Transport-Security: max-age=31536000")
"""For this host alone: whether all hosts below it speak https is not the gateway's to know."""


def build_before_all(settings: HeadersSettings, context: Context) -> Policy | None:  # noqa: ARG001
    """The step that marks responses with all that does not depend on the consumer."""
    edits = settings.response
    lines = Lines(field for field in _marks(edits) if not field[1].needs_auth)
    drops = _drops(edits)
    security = _security(edits) if settings.security else None
    is_edited = bool(drops) or response_changes(settings) is not None
    if not lines and not is_edited:
        return None

    def headers(exchange: Exchange) -> None:
        if is_edited:
            known = exchange.response_drop
            exchange.response_drop = drops if known is None else known | drops
        if security is not None:
            exchange.response_lines += security[exchange.stream.client.peer.came_by_https(exchange.request)]
        exchange.response_lines += lines.of(exchange)

    return headers


def build_behind_auth(settings: HeadersSettings, context: Context) -> Policy | None:  # noqa: ARG001
    """The step that marks responses with what depends on the consumer."""
    lines = Lines(field for field in _marks(settings.response) if field[1].needs_auth)
    if not lines:
        return None

    def headers(exchange: Exchange) -> None:
        exchange.response_lines += lines.of(exchange)

    return headers


def _fields(edits: FieldEdits) -> list[tuple[str, Template]]:
    """The lines that are sent, what is set first: names and values."""
    parts: tuple[Mapping[str, Any], ...] = (edits.set, edits.add)
    return [(name, Template(value)) for part in parts for name, values in part.items() if values for value in values]


def _marks(edits: FieldEdits) -> list[tuple[str, Template]]:
    """Those of a response that also the gateway's own answers get."""
    return [(name, value) for name, value in _fields(edits) if plain_key(name) not in OF_CONTENT]


def _dropped(edits: FieldEdits) -> list[str]:
    """What is replaced or removed, in lower case."""
    return [name.lower() for name in (*(name for name, values in edits.set.items() if values), *edits.remove)]


def _drops(edits: FieldEdits) -> frozenset[bytes]:
    return frozenset(name.encode() for name in _dropped(edits))


def _security(edits: FieldEdits) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The lines for http and for https, without those for which something else is written."""
    said = {plain_key(name).encode() for name in (*edits.set, *edits.add, *edits.remove)}
    lines = tuple(line for line in _SECURITY if line.name not in said)
    return lines, lines if _HSTS.name in said else (*lines, _HSTS)


__all__ = [
    "HeadersSettings",
    "Lines",
    "RequestChanges",
    "ResponseChanges",
    "about_consumers",
    "build_before_all",
    "build_behind_auth",
    "headers_over",
    "names_consumers",
    "request_changes",
    "response_changes",
]
