"""What a route asks of a header field or a query parameter: a value, a pattern, or that it is there."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, PlainValidator

from portico.core.caches import remembered
from portico.core.patterns.pattern import Pattern, value_pattern

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
