"""What the admin API shows of what happens now, as types."""

from __future__ import annotations

from pydantic import ConfigDict

from portico.processes.control.admin.models import Shown


class FiguresModel(Shown):
    """Rates, a second, and latencies, in milliseconds."""

    rate: float
    in_flight: int
    error_rate: float
    """Answers with a 5xx."""
    limited_rate: float
    """Answers with a 429."""
    p50: float | None
    """Null where nothing was answered."""
    p95: float | None
    p99: float | None
    statuses: dict[str, float]
    """By class: `2xx`."""
    errors: dict[str, float]
    """By reason."""


class ServiceFigures(FiguresModel):
    """The same of one service."""

    name: str


class RouteFigures(Shown):
    """How often a route is hit."""

    name: str
    rate: float
    last_hit: float | None
    """In seconds since the epoch; null for none since it is watched."""


class NamedRate(Shown):
    """How often a consumer, a path or a client comes."""

    name: str
    rate: float


class TopModel(Shown):
    """Who comes most."""

    window: float
    consumers: list[NamedRate]
    paths: list[NamedRate]
    clients: list[NamedRate]


class LivePage(Shown):
    """The last seconds, as far as workers have reported them."""

    at: float
    """In seconds since the epoch."""
    window: float
    """The seconds that these are the figures of."""
    workers: int
    total: FiguresModel
    services: list[ServiceFigures]
    services_left_out: int
    routes: list[RouteFigures]
    routes_left_out: int
    top: TopModel
    since: float | None
    """Since when `routes` and `top` are watched."""


class EventModel(Shown):
    """Something that happened; it has further fields, of its kind."""

    model_config = ConfigDict(extra="allow")

    id: str
    at: float
    kind: str
    level: str
    text: str
    source: str


class EventsPage(Shown):
    """The last events."""

    events: list[EventModel]
    last: str
    """The id of the last one."""
