"""What a rule asks of header fields and query parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.patterns.pattern import Pattern
from portico.core.patterns.pattern_set import PatternSet

Condition: TypeAlias = "bytes | Callable[[bytes], bool]"
"""A value, or what says whether a value will do."""
Conditions: TypeAlias = "tuple[tuple[bytes, Condition], ...]"
"""Each with the name of a field, in lower case, or of a parameter, decoded."""


def is_there(value: bytes) -> bool:  # noqa: ARG001
    """The condition that any value meets."""
    return True


def matching(pattern: Pattern) -> Callable[[bytes], bool]:
    """The condition that those values meet that match a pattern."""
    patterns = PatternSet([pattern])
    return lambda value: bool(patterns.matches(value.decode("latin-1")))


def fields_fit(conditions: Conditions, fields: Fields) -> bool:
    """Whether the fields have these values; a field on several lines is one value.

    Raises MessageError where it is in doubt which of its lines a service takes.
    """
    for name, condition in conditions:
        value = fields.get(name)
        fits = value is not None and _meets(condition, value)
        if fields.names.count(name) > 1:
            each = {_meets(condition, line) for line in fields.all(name)}
            if (True in each and not fits) or (False in each and fits and callable(condition)):
                shown = name.decode("latin-1")
                raise MessageError("malformed_request", f"{shown} comes more than once, and a route depends on it")
        if not fits:
            return False
    return True


def query_fits(conditions: Conditions, query: bytes) -> bool:
    """Whether a query has these parameters.

    Raises MessageError where one comes more than once, and it is in doubt which of its values a service takes.
    """
    for name, condition in conditions:
        found = {_meets(condition, value) for value in parameter_values(query, name)}
        if len(found) > 1:
            shown = ascii(name.decode("utf-8", "replace"))[1:-1]
            raise MessageError(
                "malformed_request", f"{shown} comes more than once in the query, and a route depends on it"
            )
        if found != {True}:
            return False
    return True


def _meets(condition: Condition, value: bytes) -> bool:
    return condition(value) if callable(condition) else value == condition


def parameter_values(query: bytes, name: bytes) -> Sequence[bytes]:
    """The decoded values of a parameter, as forms send them (WHATWG URL, application/x-www-form-urlencoded)."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return [_unquoted(value) for own, _, value in pairs if own == name or _unquoted(own) == name]


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
