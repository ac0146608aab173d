"""How many requests a service gets at once, and what happens to those above that."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from portico.config.section import Section, Whole
from portico.core.settings import Duration

Permits = Annotated[Whole, Field(ge=1, le=1_000_000)]
"""A number of concurrent exchanges."""


class AdaptiveSettings(Section):
    """The bounds of a limit that adapts to the latencies of a service."""

    least: Permits = 10
    """What the limit begins with, and does not go below."""
    most: Permits = 1000
    """What it does not go beyond."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least, {self.least}, is more than most, {self.most}")
        return self


class MovingSettings(Section):
    """A limit that is measured rather than given."""

    adaptive: AdaptiveSettings = AdaptiveSettings()
    """The bounds of a limit that is found by how fast responses begin; `adaptive` alone is short for the defaults."""


class QueueSettings(Section):
    """How many requests may wait for a permit of a service, and for how long."""

    size: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    """Requests that wait, first come, first served. A number instead of the section is short for this."""
    timeout: Duration = 1.0
    """How long one waits at most; then it gets 503. It counts towards `timeout.total`."""


def _long_max_requests(value: Any) -> Any:
    return {"adaptive": {}} if value == "adaptive" else value


def _long_queue(value: Any) -> Any:
    return value if isinstance(value, (dict, Section)) else {"size": value}


MaxRequests = Annotated[
    Permits | MovingSettings,
    BeforeValidator(_long_max_requests, json_schema_input_type=int | str | MovingSettings),
]
QueueField = Annotated[QueueSettings, BeforeValidator(_long_queue, json_schema_input_type=int | QueueSettings)]
