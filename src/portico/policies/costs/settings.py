"""Where the cost of a response is found, as it is written."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from portico.core.json_text.pointers import inner_names_of
from portico.core.settings import HeaderName, NotEmpty, Settings

_FORMS = "/usage/total_tokens, a list of pointers whose numbers are added, or {/usage/output_tokens: 5} with weights"
_MOST = 16


def _weights(value: Any) -> Any:
    """A pointer, some, or pointers with weights: always as the last of these."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise ValueError(f"expected {_FORMS}")
        value = dict.fromkeys(value, 1.0)
    if not isinstance(value, dict):
        raise ValueError(f"expected {_FORMS}")
    return value


def _check(weights: dict[str, float]) -> None:
    if not 0 < len(weights) <= _MOST:
        raise ValueError(f"name from one to {_MOST} pointers: {_FORMS}")
    names = {pointer: inner_names_of(pointer) for pointer in weights}
    for pointer, own in names.items():
        for other, longer in names.items():
            if other != pointer and longer[: len(own)] == own:
                raise ValueError(f"{other} is inside {pointer}, which therefore is no number; keep one of them")


_Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Weights: TypeAlias = Annotated[
    dict[str, _Weight],
    BeforeValidator(_weights, json_schema_input_type=str | list[str] | dict[str, float]),
]


def _stream(value: Any) -> Any:
    return value if isinstance(value, bool) else _weights(value)


class CostSettings(Settings):
    """Where the cost of a response is found: in its JSON, in the events of a stream, or in a field.

    A response is not held back for it, nor kept. What an answer of the gateway's own, one from the cache, or a
    service's error costs is nothing.
    """

    json_: Annotated[Weights | None, Field(alias="json"), NotEmpty(f"write {_FORMS}")] = None
    """JSON pointer of the number: `/usage/total_tokens`. Of a list the numbers are added, of `{pointer: weight}` each
    is multiplied by its weight first, which may be negative (`{/usage/total_tokens: 1, /usage/cached_tokens: -1}`); one
    that is not there counts 0.
    """
    stream: Annotated[
        bool | dict[str, _Weight],
        BeforeValidator(_stream, json_schema_input_type=bool | str | list[str] | dict[str, float]),
    ] = False
    """Whether it is also looked for in streams: the events of `text/event-stream`, the lines of `application/x-ndjson`
    and its like. Of each number the last one counts. In place of `true`, pointers as in `json`, where events have other
    ones than whole responses: `/response/usage/total_tokens`.
    """
    header: HeaderName | None = None
    """A field of the service's response that has the number; it counts before all else, also where `headers` removes
    it.
    """
    default: Annotated[int, Field(ge=0, le=10**9)] = 0
    """What a response costs in which none of these is a number, and a request whose client left before it was known:
    set it where clients decide whether the service says what it cost.
    """

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.json_ is None and self.header is None and isinstance(self.stream, bool):
            raise ValueError("says nothing of where the cost is: write json: /usage/total_tokens, or header: X-Cost")
        for weights in (self.json_, self.stream):
            if isinstance(weights, dict):
                _check(weights)
        return self

    @property
    def in_streams(self) -> dict[str, float]:
        """The pointers into events, with their weights; none where streams are not looked at."""
        if isinstance(self.stream, dict):
            return self.stream
        return (self.json_ or {}) if self.stream else {}
