"""How much a service is asked at once, and what becomes of the rest."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from portico.config.section import Section, Whole
from portico.core.settings import Duration

Places = Annotated[Whole, Field(ge=1, le=1_000_000)]
"""A number of exchanges under way at once."""


class AdaptiveSettings(Section):
    """Between which bounds a limit may move that follows the latencies of a service."""

    least: Places = 10
    most: Places = 1000

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least, {self.least}, is more than most, {self.most}")
        return self


class MovingSettings(Section):
    """A limit that is found rather than given."""

    adaptive: AdaptiveSettings = AdaptiveSettings()


class QueueSettings(Section):
    """How many requests wait for a place at a service, and for how long."""

    size: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    timeout: Duration = 1.0


def _long_max_requests(value: Any) -> Any:
    return {"adaptive": {}} if value == "adaptive" else value


def _long_queue(value: Any) -> Any:
    return value if isinstance(value, (dict, Section)) else {"size": value}


MaxRequests = Annotated[
    Places | MovingSettings,
    BeforeValidator(_long_max_requests, json_schema_input_type=int | str | MovingSettings),
]
QueueField = Annotated[QueueSettings, BeforeValidator(_long_queue, json_schema_input_type=int | QueueSettings)]
