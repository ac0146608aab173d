"""When a rule of a policy applies: what is asked of a request as its client sent it, and of a service's response.

All that is written has to hold; of several values, one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from portico.core.caches import remembered
from portico.core.claims import claim_path, value_at
from portico.core.conditions import (
    Condition,
    FieldCondition,
    ParameterCondition,
    ParameterName,
    condition_of,
    field_condition_of,
    meets,
    parameter_values,
)
from portico.core.errors import MessageError
from portico.core.exchange import Exchange
from portico.core.messages import Fields, as_received
from portico.core.paths import segments_of
from portico.core.patterns.pattern import Pattern, path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of, route_path
from portico.core.settings import HeaderName, Method, Settings
from portico.policies.authorize import Claims, claim_fits
from portico.policies.consumer_fields import ConsumerName
from portico.policies.templates import NAMES

T = TypeVar("T")

_REMEMBERED: Final = 256
_REMEMBERED_SIZE: Final = 256
"""Paths of which a rule remembers whether it is for them, and characters of one."""

Check: TypeAlias = Callable[[Exchange], bool]
"""Whether a request fits."""
ResponseCheck: TypeAlias = Callable[[int, str], bool]
"""The same of a response with this status and `Content-Type`."""

# ---- settings


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _field_condition(value: Any) -> Any:
    if value is not True and not isinstance(value, str):
        raise ValueError("expected text, in quotes where it is a number, or true for any value")
    return value


_MEDIA_RANGE: Final = re.compile(r"[!#$%&'+\-.^_`|~0-9a-z]+/(?:\*|(?:\*\+)?[!#$%&'+\-.^_`|~0-9a-z]+)")


def _media_range(text: str) -> str:
    if not _MEDIA_RANGE.fullmatch(text.lower()):
        raise ValueError(
            "expected a media type without parameters, such as application/json, text/* or application/*+json"
        )
    return text.lower()


_STATUS: Final = re.compile(r"([1-5])xx", re.IGNORECASE)


def _status(value: Any) -> range:
    if isinstance(value, str) and (found := _STATUS.fullmatch(value)):
        return range(int(found[1]) * 100, int(found[1]) * 100 + 100)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, range):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise ValueError("expected a status from 200 to 599, or a class of them such as 4xx")
    return range(value, value + 1)


_STATUS_SCHEMA: Final = {"type": ["integer", "string"]}
StatusRange: TypeAlias = Annotated[range, PlainValidator(_status), WithJsonSchema(_STATUS_SCHEMA)]
"""A status, or a class of them such as `4xx`."""


def shown_status(status: range) -> int | str:
    """The same as it is written."""
    return status.start if len(status) == 1 else f"{status.start // 100}xx"


_NAMES_SCHEMA: Final = {"anyOf": [{"const": True}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SOME_SCHEMA: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class When(Settings):
    """What a request has to be for a rule to apply, as its client sent it; without any key it applies to all.

    `methods`: one of them, where GET stands for HEAD too. `path`: a prefix, `= /exact` or `~ pattern`, as in routes.
    `headers` and `query`: each is there with this value, which `~ pattern` or `true` may stand for. `consumer`: one of
    these names; true: somebody. `claims`: of the token, as in `authorize`.
    `content_type`: one of these media types, in which `*` may stand for a part.
    """

    methods: (
        Annotated[list[Method], BeforeValidator(_one_or_more), Field(min_length=1), WithJsonSchema(_SOME_SCHEMA)] | None
    ) = None
    """One or several methods; GET stands for HEAD too."""
    path: Annotated[str, AfterValidator(route_path)] | None = None
    """A prefix, `= /exact` or `~ pattern`, as in routes, of the path that the client sent."""
    headers: dict[HeaderName, Annotated[Literal[True] | FieldCondition, BeforeValidator(_field_condition)]] = Field(
        default_factory=dict
    )
    """Fields by name: a value, `~ pattern`, or `true` for any."""
    query: dict[ParameterName, ParameterCondition] = Field(default_factory=dict)
    """Parameters by name: a value, `~ pattern`, or `true` for any."""
    consumer: (
        Annotated[
            Literal[True] | list[ConsumerName],
            BeforeValidator(lambda value: value if value is True else _one_or_more(value)),
            WithJsonSchema(_NAMES_SCHEMA),
        ]
        | None
    ) = None
    """One or several consumers, or `true` for anybody who is known."""
    claims: Claims = {}
    """Claims of the token, by name or JSON Pointer, as in `authorize`."""
    content_type: (
        Annotated[
            list[Annotated[str, AfterValidator(_media_range)]],
            BeforeValidator(_one_or_more),
            Field(min_length=1),
            WithJsonSchema(_SOME_SCHEMA),
        ]
        | None
    ) = None
    """One or several media types; `text/*` and `application/*+json` work."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing is asked: leave when out for a rule that always applies")
        if self.captures is not None and (taken := NAMES & {*self.captures.names}):
            raise ValueError(f"path: a group cannot be called {min(taken)}: {{{min(taken)}}} stands for something else")
        return self

    @property
    def captures(self) -> Pattern | None:
        """The pattern of its path, whose groups are names in the rule's values; None where there is none."""
        return pattern_of(self.path) if self.path is not None and is_pattern(self.path) else None

    def describe(self) -> dict[str, Any]:
        """What was written, as plain data."""
        return self.model_dump(exclude_unset=True)


class ResponseWhen(When):
    """What a response, or the request that it answers, has to be for a rule to apply.

    `status`: one of these, or of a class such as `5xx`, and `content_type`: of the response, both as the service sent
    it. The rest is asked of the request as its client sent it.
    """

    status: (
        Annotated[
            list[StatusRange],
            BeforeValidator(_one_or_more),
            Field(min_length=1),
            WithJsonSchema({"anyOf": [_STATUS_SCHEMA, {"type": "array", "items": _STATUS_SCHEMA}]}),
        ]
        | None
    ) = None
    """One or several statuses, or classes such as `5xx`."""

    def describe(self) -> dict[str, Any]:
        plain = super().describe()
        if self.status is not None:
            plain["status"] = list(map(shown_status, self.status))
        return plain


# ---- compiled


def check_of(when: When | None) -> Check | None:
    """Whether a request fits, the cheapest question first; None where nothing is asked of it."""
    if when is None:
        return None
    checks = [*_checks(when)]
    if when.content_type is not None and not isinstance(when, ResponseWhen):
        checks.append(_content_type_check(when.content_type))
    if len(checks) < 2:
        return checks[0] if checks else None
    all_of = tuple(checks)

    def fits(exchange: Exchange) -> bool:
        for check in all_of:  # noqa: SIM110 - all() over a generator costs more than the checks
            if not check(exchange):
                return False
        return True

    return fits


def response_check_of(when: ResponseWhen | None) -> ResponseCheck | None:
    """Whether a response fits, apart from its request; None where nothing is asked of it."""
    if when is None or (when.status is None and when.content_type is None):
        return None
    statuses = None if when.status is None else frozenset(status for each in when.status for status in each)
    is_of = None if when.content_type is None else _media_pattern(when.content_type)

    def fits(status: int, content_type: str) -> bool:
        if statuses is not None and status not in statuses:
            return False
        return is_of is None or is_of(media_type(content_type)) is not None

    return fits


def media_type(content_type: str) -> str:
    """The media type in a `Content-Type`, in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


_CHARSET: Final = re.compile(r';\s*charset="?([^\s;"]+)', re.IGNORECASE)


def charset_of(content_type: str) -> str:
    """The charset in a `Content-Type`; UTF-8 where there is none."""
    found = _CHARSET.search(content_type)
    return found[1] if found else "utf-8"


def vary_names(whens: Iterable[When]) -> list[str]:
    """The request's fields on which it depends whether rules apply: responses vary on them."""
    names: dict[str, str] = {}
    for when in whens:
        is_of_request = when.content_type is not None and not isinstance(when, ResponseWhen)
        for name in (*when.headers, *(["Content-Type"] if is_of_request else [])):
            names.setdefault(name.lower(), name)
    return list(names.values())


def _checks(when: When) -> Iterator[Check]:
    if when.methods is not None:
        yield _method_check(when.methods)
    if when.path is not None:
        yield _path_check(when.path)
    if when.consumer is not None:
        yield _consumer_check(when.consumer)
    if when.query:
        yield _query_check([(name.encode(), condition_of(value)) for name, value in when.query.items()])
    if when.headers:
        fields = when.headers.items()
        yield _fields_check([(name.lower().encode(), field_condition_of(name, value)) for name, value in fields])
    if when.claims:
        yield _claims_check(when.claims)


def _method_check(methods: Sequence[str]) -> Check:
    taken = frozenset({*methods, *(["HEAD"] if "GET" in methods else [])})
    return lambda exchange: exchange.method in taken


def _path_check(path: str) -> Check:
    fits = by_path(_path_question(path))
    return lambda exchange: fits(exchange.match.path)


def by_path(question: Callable[[str], T]) -> Callable[[str], T]:
    """The same function of paths, which remembers what it said of those that come again."""
    known = remembered(_REMEMBERED)(question)
    return lambda path: known(path) if len(path) <= _REMEMBERED_SIZE else question(path)


def _path_question(path: str) -> Callable[[str], bool]:
    if is_pattern(path):
        return _pattern_question(pattern_of(path))
    wanted = _segments(literal_of(path))
    if is_exact(path):
        return lambda path: _segments(path) == wanted
    if wanted == (b"",):
        return lambda path: True  # noqa: ARG005
    size = len(wanted)
    return lambda path: _segments(path)[:size] == wanted


def _pattern_question(pattern: Pattern) -> Callable[[str], bool]:
    patterns = PatternSet([pattern])

    def fits(path: str) -> bool:
        try:
            return bool(patterns.matches(path_text(segments_of(path.encode()))))
        except MessageError:  # no end can be foreseen: see `PatternSet`
            return False

    return fits


def _segments(path: str) -> tuple[bytes, ...]:
    try:
        return segments_of(path.encode())
    except MessageError:  # of a request that takes no route
        return ()


def _consumer_check(names: Literal[True] | Sequence[str]) -> Check:
    if names is True:
        return lambda exchange: exchange.consumer is not None
    taken = frozenset(names)
    return lambda exchange: exchange.consumer in taken


def _query_check(conditions: Sequence[tuple[bytes, Condition]]) -> Check:
    def query_fits(exchange: Exchange) -> bool:
        assert exchange.request is not None
        query = exchange.request.target.partition(b"?")[2]
        return all(any(meets(wanted, value) for value in parameter_values(query, name)) for name, wanted in conditions)

    return query_fits


def _fields_check(conditions: Sequence[tuple[bytes, Condition]]) -> Check:
    def fields_fit(exchange: Exchange) -> bool:
        assert exchange.request is not None
        fields = as_received(exchange.request).fields
        return all(_field_fits(fields, name, wanted) for name, wanted in conditions)

    return fields_fit


def _field_fits(fields: Fields, name: bytes, wanted: Condition) -> bool:
    """Whether a field has a value: on one of its lines, or joined, as some services read it."""
    value = fields.get(name)
    return value is not None and (meets(wanted, value) or any(meets(wanted, line) for line in fields.all(name)))


def _claims_check(claims: Mapping[str, list[Any] | bool]) -> Check:
    wanted = [(claim_path(name), values) for name, values in claims.items()]

    def claims_fit(exchange: Exchange) -> bool:
        held = exchange.claims
        return all(claim_fits(value_at(held, path), values) for path, values in wanted)

    return claims_fit


def _content_type_check(ranges: Sequence[str]) -> Check:
    is_of = _media_pattern(ranges)

    def content_type_fits(exchange: Exchange) -> bool:
        assert exchange.request is not None
        value = as_received(exchange.request).fields.get(b"content-type")
        return value is not None and is_of(media_type(value.decode("latin-1"))) is not None

    return content_type_fits


def _media_pattern(ranges: Sequence[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(re.escape(each).replace(r"\*", r"[^/]+") for each in ranges)).fullmatch
