"""Services that are asked in place of a route's own, where that fails."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from portico.config.mirror import other_service_findings
from portico.config.problems import Finding, KeyPath
from portico.config.rewrites import Rewrite
from portico.config.section import Section, is_word
from portico.config.services import ServiceSettings
from portico.core.settings import Name, NotEmpty, Size


def _cause(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Cause = Annotated[
    Literal["connect", "reset", "timeout"] | Annotated[int, Field(ge=400, le=599)],
    BeforeValidator(_cause),
]


class FailoverSettings(Section):
    """A `service` that is asked in place of the route's own, once that has failed for one of the causes in `on` and
    its retries are used up.

    It gets the request as the route's service would have, with what `headers` says at its own service, and by its own
    `rewrite`, `timeout`, `retries`, `preserve_host` and limits. Nothing of a response has gone to the client by then.
    """

    service: Name
    """Who is asked; `failover: NAME` is short for it, and a list of names for several, one after the other."""
    version: str | None = None
    """A version of that service."""
    on: Annotated[tuple[Cause, ...], NotEmpty("write on: [connect, 429, 503]")] = ("connect", 429, 503)
    """Why: `connect` (nothing was sent: no connection, nothing healthy, the breaker open, too much to do), `reset`,
    `timeout`, or a status. Whatever the method: with `reset`, `timeout` and statuses such as 500, the route's service
    may have done what it was asked for.
    """
    rewrite: Rewrite | None = None
    """The path that it sees, in place of what the route says."""
    max_body: Size = 1024 * 1024
    """Bytes of a request's body up to which it can be asked: so much is kept until there is a response."""


def _long_failover(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError("expected the name of a service: write its url under services")
    return {"service": value} if isinstance(value, str) else value


def _none_if_off(value: Any) -> Any:
    return None if is_word(value, False) else value


_Failover = Annotated[FailoverSettings, BeforeValidator(_long_failover, json_schema_input_type=str | FailoverSettings)]
FailoverField = Annotated[
    _Failover | tuple[_Failover, ...] | None,
    BeforeValidator(_none_if_off, json_schema_input_type=Literal[False] | _Failover | tuple[_Failover, ...]),
    NotEmpty("write failover: SERVICE, or failover: {service: SERVICE, on: [connect, 429, 503]}"),
]
"""One of them, or several."""


def failovers_of(written: FailoverSettings | tuple[FailoverSettings, ...] | None) -> tuple[FailoverSettings, ...]:
    """All that are written."""
    return (written,) if isinstance(written, FailoverSettings) else written or ()


def failover_findings(
    at: KeyPath,
    written: FailoverSettings | tuple[FailoverSettings, ...] | None,
    services: Mapping[str, ServiceSettings],
    own: Container[tuple[str | None, str | None]],
) -> Iterator[Finding]:
    """As for mirrors."""
    entries = failovers_of(written)
    paths = [at if isinstance(written, FailoverSettings) else (*at, index) for index in range(len(entries))]
    anyway = "{} is the route's own service, which has failed by then: name another one"
    yield from other_service_findings(zip(paths, entries, strict=True), services, own, anyway, "is asked already")
