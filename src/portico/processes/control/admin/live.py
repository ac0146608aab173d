"""What happens now over the admin API: figures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from portico.processes.control.live.live import MOST
from portico.processes.control.live.streams import EVENT_STREAM
from portico.processes.control.state import State


def live_routes(state: State) -> APIRouter:
    """The routes below `/admin/live`."""
    router = APIRouter(prefix="/admin")

    @router.get("/live", response_model=None)
    async def figures(
        most: Annotated[int, Query(ge=1, le=10_000)] = MOST, accept: Annotated[str, Header()] = ""
    ) -> Response:
        """Rates, latencies and errors of the last 10 seconds; each second, to those who accept `text/event-stream`."""
        if EVENT_STREAM in accept:
            return state.live.streams.response(state.live.pages(lambda: state.config, most))
        return Response(await state.live.page(state.config, most), media_type="application/json")

    return router
