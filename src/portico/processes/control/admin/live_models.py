"""What the admin API shows of what happens now, as types."""

from __future__ import annotations

from portico.processes.control.admin.models import Shown
from portico.processes.control.live.events import Kind


class FiguresModel(Shown):
    """Exchanges of the last seconds; rates are numbers a second."""

    rate: float
    in_flight: int
    """Those under way."""
    error_rate: float
    """Those with a status of 500 and up."""
    limited_rate: float
    """Those with 429."""
    p50: float | None
    """The milliseconds that half of them took at most, estimated from a histogram; null where there were none."""
    p95: float | None
    """The same of 95 per cent."""
    p99: float | None
    """The same of 99 per cent."""
    statuses: dict[str, float]
    """Rates by class of status: `2xx`."""
    errors: dict[str, float]
    """Rates by reason."""


class ServiceFiguresModel(FiguresModel):
    """Those of a service; `gateway` is what the gateway answers itself, `none` what matches no route."""

    name: str


class RouteFiguresModel(Shown):
    """What is seen of a route while somebody watches."""

    name: str
    rate: float
    """Of the last minute."""
    last_hit: float | None
    """In seconds since the epoch; null where there was none since somebody watches."""


class NamedRateModel(Shown):
    """A consumer, a path or an address."""

    name: str
    rate: float


class TopModel(Shown):
    """Who comes most, and where."""

    window: float
    """The seconds that the rates are of."""
    consumers: list[NamedRateModel]
    paths: list[NamedRateModel]
    clients: list[NamedRateModel]


class LivePage(Shown):
    """The figures of now."""

    at: float
    """In seconds since the epoch."""
    window: float
    """The seconds that the figures of `total` and `services` are of."""
    workers: int
    """Workers that are counted."""
    total: FiguresModel
    services: list[ServiceFiguresModel]
    services_left_out: int
    """How many more there are: `most` says how many are shown."""
    routes: list[RouteFiguresModel]
    routes_left_out: int
    """The same of routes."""
    top: TopModel
    since: float | None
    """Since when routes and `top` are counted, in seconds since the epoch."""


class EventModel(Shown):
    """Something that happened."""

    id: str
    """What `Last-Event-ID` and `after` take."""
    at: float
    """In seconds since the epoch."""
    kind: Kind
    level: str
    """`INFO`, `WARNING` or `ERROR`."""
    source: str
    """`control`, or the worker's name."""
    text: str
    fields: dict[str, str]
    """What there is to say beside it."""


class EventsPage(Shown):
    """The events that are kept, from the oldest to the latest."""

    events: list[EventModel]
    last: str
    """The id of the last one, also where it is not among these."""
