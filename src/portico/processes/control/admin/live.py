"""What happens now over the admin API: figures, exchanges as they end, and events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from portico.core.settings import DurationOrZero
from portico.observe.record_filter import RecordFilter, numbers_of
from portico.processes.control.admin.live_models import EventsPage, LivePage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.live.events import Kind
from portico.processes.control.live.live import MOST
from portico.processes.control.live.streams import EVENT_STREAM
from portico.processes.control.live.watcher import EVENTS, LINES, Form
from portico.processes.control.state import State

_LINES: Final = "application/x-ndjson"


def _statuses(words: list[str]) -> list[str]:
    tuple(numbers_of(words))
    return words


_Word = Annotated[str, StringConstraints(max_length=1000)]
_Words = Annotated[list[_Word], Field(max_length=20)]
_Accept = Annotated[str, Header()]


class WantedExchanges(BaseModel):
    """A filter, as a query says it: one of each that is given; those in lists may be given several times."""

    model_config = ConfigDict(extra="forbid")

    service: _Words = []
    route: _Words = []
    method: _Words = []
    status: Annotated[_Words, AfterValidator(_statuses)] = []
    """Such as 404, or 5xx."""
    reason: _Words = []
    consumer: _Words = []
    path: _Word = ""
    """The beginning of it."""
    client_ip: _Word = ""
    slower: DurationOrZero = 0.0
    """What took at least this long: `500ms`."""
    id: _Word = ""
    """Of the request, or of its trace."""
    errors: bool = False
    """What failed: 5xx, and what has a reason."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """After how many the answer ends."""

    def filter(self) -> RecordFilter:
        """The same for workers."""
        return RecordFilter(
            services=_sorted(self.service),
            routes=_sorted(self.route),
            methods=_sorted(map(str.upper, self.method)),
            statuses=_sorted(map(str.lower, self.status)),
            reasons=_sorted(self.reason),
            consumers=_sorted(self.consumer),
            path=self.path,
            client_ip=self.client_ip,
            slower=self.slower,
            id=self.id,
            errors=self.errors,
        )


class WantedEvents(BaseModel):
    """Which events, as a query says it."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[list[Kind], Field(max_length=20)] = []
    """May be given several times; by default all."""
    after: _Word | None = None
    """The id of the last event that is known already: those that are kept since come first."""


def _sorted(words: Iterable[str]) -> tuple[str, ...]:
    """So that two that want the same share a filter."""
    return tuple(sorted({*words}))


_EXCHANGES: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {
        200: {
            "description": "Exchanges as they end, an object each, with the fields of the access log.",
            "content": {kind: {"schema": {"type": "string"}} for kind in (EVENT_STREAM, _LINES)},
        }
    },
}


def live_routes(state: State) -> APIRouter:
    """The routes that show what happens."""
    router = APIRouter(prefix="/admin", tags=["live"])

    @router.get("/live", **shows(LivePage, stream="The same each second."))
    async def figures(most: Annotated[int, Query(ge=1, le=10_000)] = MOST, accept: _Accept = "") -> Response:
        """Rates, latencies and errors of the last 10 seconds; each second, to those who accept `text/event-stream`."""
        if EVENT_STREAM in accept:
            return state.live.streams.response(state.live.pages(lambda: state.config, most))
        return Response(await state.live.page(state.config, most), media_type="application/json")

    @router.get("/exchanges", **_EXCHANGES)
    async def exchanges(wanted: Annotated[WantedExchanges, Query()], accept: _Accept = "") -> Response:
        """Exchanges as they end, as the access log has them: those that the query asks for, as an event stream or, to
        those who accept `application/x-ndjson`, as lines of JSON.
        """
        form, media_type = _form(accept)
        stream = state.live.exchanges.stream(wanted.filter(), form, wanted.limit)
        return state.live.streams.response(stream, media_type)

    @router.get("/events", **shows(EventsPage, stream="Events as they happen, an object each."))
    async def events(
        wanted: Annotated[WantedEvents, Query()],
        accept: _Accept = "",
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Events as they happen, as an event stream or, to those who accept `application/x-ndjson`, as lines of JSON;
        to those who accept `application/json`, the last ones.
        """
        known = state.live.events
        after = wanted.after if last_event_id is None else last_event_id
        if "application/json" in accept:
            return JSONResponse({"events": known.kept(wanted.kind, after or ""), "last": known.last()})
        form, media_type = _form(accept)
        return state.live.streams.response(known.stream(wanted.kind, after, form), media_type)

    return router


def _form(accept: str) -> tuple[Form, str]:
    """How a stream is written, and its media type."""
    return (LINES, _LINES) if _LINES in accept else (EVENTS, EVENT_STREAM)
