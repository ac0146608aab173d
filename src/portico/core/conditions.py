"""What is asked of a header field or a query parameter: a value, a pattern, or that it is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, PlainValidator

from portico.core.caches import remembered
from portico.core.mcp import decoded, is_coded
from portico.core.patterns.pattern import Pattern, value_pattern
from portico.core.patterns.pattern_set import PatternSet

_MARKED: Final = re.compile(r"(~\*?)\s*(.*)", re.DOTALL)
_PATTERN: Final = re.compile(r"/?\^.*|\*|.*(?:\.[*+]|\\[dwsDWS][+*{]|\\\.|\[\w-\w|\w\|\w).*|.*(?:[\w-]\*|\\[dws]|\w\$)")
_FIELD_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")


def _condition(text: str) -> str:
    """A value as it is written, or `~ pattern` and `~* pattern`."""
    if marked := _MARKED.fullmatch(text):
        condition = f"{marked[1]} {marked[2]}"
        value_pattern_of(condition)
        return condition
    if _PATTERN.fullmatch(text):
        raise ValueError("this is compared as it stands: a pattern is written as ~ and then a regular expression")
    return text


def _field_value(text: str) -> str:
    if not _FIELD_VALUE.fullmatch(text) or text != text.strip(" \t"):
        raise ValueError("not the value of a header field")
    return _condition(text)


def _parameter_value(value: Any) -> str | Literal[True]:
    if value is True:
        return value
    if not isinstance(value, str):
        raise ValueError("expected text, in quotes where it is a number, or true for any value")
    return _condition(value)


def _parameter_name(name: str) -> str:
    if not name or re.search(r"[&=#]", name):
        raise ValueError("not the name of a query parameter")
    return name


FieldCondition: TypeAlias = Annotated[str, AfterValidator(_field_value)]
ParameterName: TypeAlias = Annotated[str, AfterValidator(_parameter_name)]
ParameterCondition: TypeAlias = Annotated[
    str | Literal[True], PlainValidator(_parameter_value, json_schema_input_type=str | Literal[True])
]


def is_value_pattern(condition: str) -> bool:
    """Whether a condition is a pattern."""
    return condition.startswith("~")


@remembered(2048)
def value_pattern_of(condition: str) -> Pattern:
    """The pattern in a condition that is one. Raises ValueError."""
    mark, _, text = condition.partition(" ")
    return value_pattern(text, ignores_case=mark == "~*")


# ---- compiled

Condition: TypeAlias = "bytes | Callable[[bytes], bool]"
"""A value, or what says whether a value will do."""


def condition_of(written: str | Literal[True]) -> Condition:
    """What a condition is compiled to."""
    if written is True:
        return is_there
    return matching(value_pattern_of(written)) if is_value_pattern(written) else written.encode()


def field_condition_of(name: str, written: str | Literal[True]) -> Condition:
    """The same of a header field."""
    condition = condition_of(written)
    return _Coded(condition) if is_coded(name.lower().encode()) else condition


class _Coded:
    """A condition of what a value means."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    def __call__(self, value: bytes) -> bool:
        return meets(self.condition, decoded(value))


def value_of(condition: Condition) -> bytes | None:
    """The one value that meets a condition, as it is once it is decoded; None where others may."""
    if isinstance(condition, _Coded):
        condition = condition.condition
    return None if callable(condition) else condition


def is_there(value: bytes) -> bool:  # noqa: ARG001
    """The condition that any value meets."""
    return True


def matching(pattern: Pattern) -> Callable[[bytes], bool]:
    """The condition that those values meet that match a pattern."""
    patterns = PatternSet([pattern])
    return lambda value: bool(patterns.matches(value.decode("latin-1")))


def meets(condition: Condition, value: bytes) -> bool:
    """Whether a value meets a condition."""
    return condition(value) if callable(condition) else value == condition


def parameter_values(query: bytes, name: bytes) -> Sequence[bytes]:
    """The decoded values of a parameter, as forms send them (WHATWG URL, application/x-www-form-urlencoded)."""
    known, parameters = _last[0]
    if known != query:
        parameters = {}
        for pair in query.split(b"&"):
            own, _, value = pair.partition(b"=")
            parameters.setdefault(_unquoted(own), []).append(_unquoted(value))
        _last[0] = query, parameters
    return parameters.get(name, ())


_last: Final[list[tuple[bytes, dict[bytes, list[bytes]]]]] = [(b"", {b"": [b""]})]
"""The last query, read: thousands of rules may ask the same one."""


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
