"""A canary as it is written: the share of a route's traffic that a new service gets, step by step."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from portico.config.section import Section, Share, Whole, written_as
from portico.core.settings import Duration, NotEmpty, parse_duration

_PERCENT: Final = re.compile(r"\s*(\d{1,3}(?:\.\d+)?)\s*%?\s*")
_FACTOR: Final = re.compile(r"\s*(\d{1,3}(?:\.\d+)?)\s*x\s*")
_YEAR: Final = 31_536_000


class LatencyLimit(NamedTuple):
    """Seconds, or how many times as long as the old side's: `value` is a factor then."""

    value: float
    is_factor: bool


def _percent(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected per cent of the traffic, such as 5 or 5%")
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        return float(match[1])
    return value


def _latency(value: Any) -> LatencyLimit:
    if isinstance(value, LatencyLimit):
        return value
    if isinstance(value, str) and (match := _FACTOR.fullmatch(value)):
        factor = float(match[1])
        if factor <= 1:
            raise ValueError("expected more than 1x: the new side is as slow as the old one then")
        return LatencyLimit(factor, is_factor=True)
    expected = "expected a multiple of the old side's, such as 2x, or a duration, such as 500ms"
    if not isinstance(value, str) or not value.strip()[-1:].isalpha():  # 2 may be meant as either
        raise ValueError(expected)
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError(expected) from None
    if not 0 < seconds <= _YEAR:
        raise ValueError(expected)
    return LatencyLimit(seconds, is_factor=False)


def _climbing(steps: tuple[float, ...]) -> tuple[float, ...]:
    for lower, higher in pairwise(steps):
        if higher <= lower:
            raise ValueError(
                f"each step has to be more than the one before it, and {higher:g} is not more than {lower:g}"
            )
    return steps


Step = Annotated[
    float, BeforeValidator(_percent, json_schema_input_type=float | str), Field(ge=0.01, le=100, allow_inf_nan=False)
]


class AbortConditions(Section):
    """When the new side loses its traffic: too large a part of its requests fails, or the slowest take too long.

    `errors` is a part of the new side's requests. `p99` is what 99 of 100 of them may take until their response begins:
    a multiple of the old side's, such as `2x`, or a time, such as `500ms`.
    """

    errors: Annotated[Share, Field(gt=0, lt=1)] | None = None
    """The part of the new side's requests that may fail: `2%`, or 0.02."""
    p99: Annotated[
        LatencyLimit | None,
        PlainValidator(lambda value: None if value is None else _latency(value)),
        WithJsonSchema({"type": "string"}),
        Field(),
    ] = None
    """What 99 of 100 of them may take until their response begins: a multiple of the old side's, such as `2x`, or a
    time, such as `500ms`.
    """


class CanarySettings(Section):
    """A new service beside the one of the route: its share grows by `steps`, in per cent, or falls back to nothing.

    A step lasts for `every`, and for as long as the new side has had fewer than `min_requests`, unless `if_fewer` says
    `continue`. As soon as a condition of `abort_if` is met, the new side gets nothing any more.
    """

    to: str
    """The new service; its `version`, where it has several. Both may be versions of one service."""
    version: str | None = None
    """Its version, where it has several."""
    steps: Annotated[
        tuple[Step, ...],
        Field(min_length=1, max_length=100),
        AfterValidator(_climbing),
    ] = (1.0, 5.0, 25.0, 100.0)
    """The shares of the requests that it gets, one after the other: `5` or `5%`, from 0.01 to 100."""
    every: Duration = 600.0
    """How long a step lasts, at least."""
    abort_if: Annotated[
        AbortConditions,
        NotEmpty("write abort_if: {errors: 2%, p99: 2x}, or leave it out"),
        Field(),
    ] = AbortConditions()
    """When it gets nothing any more."""
    min_requests: Annotated[Whole, Field(ge=0, le=10**9)] = 100
    """Requests that it has to have had in a step before that is over."""
    if_fewer: Annotated[Literal["wait", "continue"], Field()] = "wait"
    """Whether a step that had fewer of them at its end lasts on."""


CanaryField = Annotated[
    CanarySettings | None,
    written_as(dict, "canary: {to: SERVICE}"),
    NotEmpty("write canary: {to: SERVICE}, or leave it out"),
]
