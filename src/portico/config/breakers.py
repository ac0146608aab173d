"""When an instance that fails is ejected, and for how long."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from portico.config.section import Section, Share, Whole, is_word
from portico.core.settings import Duration, NotEmpty


class CircuitBreakerSettings(Section):
    """The breaker of an instance opens after `failures` in a row, or once `error_rate` of its exchanges failed.

    The rate is that of the last `window` seconds, if there were `volume` exchanges. The breaker stays open for
    `open_for` seconds, doubled each time in a row up to `open_for_most`; then one trial request decides.
    """

    failures: Annotated[Whole, Field(ge=1, le=10_000)] = 5
    """Failures in a row that open it."""
    error_rate: Annotated[Share, Field(gt=0)] | None = None
    """The share of failures among the requests of the last `window` that opens it too."""
    volume: Annotated[Whole, Field(ge=1, le=1_000_000)] = 20
    """How many requests there have to be for `error_rate` to count."""
    window: Duration = 10.0
    """How far back the rate looks, about."""
    open_for: Duration = 10.0
    """How long it stays open, +10 % at most; doubled each time that no response came between."""
    open_for_most: Duration = 300.0
    """The longest that becomes."""


class PassiveHealthSettings(CircuitBreakerSettings):
    """The same, as long as at most the share `max_ejected` of a service's instances is ejected; else all are used."""

    max_ejected: Share = 0.5
    """The share of a service's instances beyond which breakers hold no request back."""


def _long(value: Any) -> Any:
    if is_word(value, False):
        return None
    return {} if is_word(value, True) else value


CircuitBreakerField = Annotated[
    CircuitBreakerSettings | None,
    BeforeValidator(_long, json_schema_input_type=bool | CircuitBreakerSettings),
    NotEmpty("write circuit_breaker: true, or false to turn it off"),
]
PassiveHealthField = Annotated[
    PassiveHealthSettings | None, BeforeValidator(_long, json_schema_input_type=bool | PassiveHealthSettings)
]
