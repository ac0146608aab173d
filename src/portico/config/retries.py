"""When a request is retried, and when it is hedged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from portico.config.section import Section, Share, Whole
from portico.core.settings import Duration, DurationOrZero, Method


def _long_retries(value: Any) -> Any:
    return value if isinstance(value, (dict, Section)) else {"attempts": value}


def _cause(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Cause = Literal["connect", "reset", "timeout", 429, 502, 503, 504]


class RetrySettings(Section):
    """When a request is retried: at most `attempts` times after the first.

    `on` names the causes: no connection, a connection that broke, a timeout or one of four statuses. `budget` is the
    share of retries among all requests (0.2 is 20 %) beyond which none are made. `methods` are those that may be sent
    again after the service may have processed them. An attempt whose response has not begun after `per_try_timeout`
    seconds has failed. If an instance is silent for `silence` seconds while others answer, the request is sent to
    another one as well; 0 for never.
    """

    attempts: Annotated[Whole, Field(ge=0, le=10)] = 2
    """Attempts after the first one. A number instead of the section is short for this."""
    on: tuple[Annotated[Cause, BeforeValidator(_cause)], ...] = ("connect", "reset")
    """The failures that are retried."""
    budget: Share = 0.2
    """The share of retries among requests beyond which none are made."""
    methods: tuple[Method, ...] = ("GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE")
    """Methods that may be sent again although the service may have seen them."""
    per_try_timeout: Duration | None = None
    """Shortens `timeout.connect` and `timeout.response` for every attempt, and adds `timeout` to `on`: an instance that
    hangs leaves time for another.
    """
    silence: DurationOrZero = 1.0
    """After how long another instance is asked beside one that has not begun to answer while others do. 0: never."""


RetryField = Annotated[RetrySettings, BeforeValidator(_long_retries, json_schema_input_type=int | RetrySettings)]


class HedgeSettings(Section):
    """A request whose response has not begun `after` seconds is sent to a second instance too; the first one counts.

    `budget` is the share of the requests to which that may happen.
    """

    after: Duration
    """How long the first attempt has to begin its response. A good value is the time in which 95 of 100 responses have
    begun.
    """
    budget: Share = 0.1
    """The share of requests that are sent a second time; counted as that of retries is."""
