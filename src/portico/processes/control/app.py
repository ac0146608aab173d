"""The gateway's own endpoints, as FastAPI applications; that of its port workers proxy to like any other service."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Header, Response

from portico import __version__
from portico.processes.control.front_page import front_page
from portico.processes.control.openapi.endpoints import documentation
from portico.processes.control.quick_answers import health_document
from portico.processes.control.scrapes import Scrapes
from portico.processes.control.state import State
from portico.processes.control.tokens.endpoints import token_endpoints


def create_app(state: State) -> FastAPI:
    """The rest of the gateway's own endpoints, for one control process: `QuickAnswers` has the first ones."""
    app = FastAPI(title="Portico", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(documentation(state))
    app.include_router(token_endpoints(state.tokens))
    return app


def own_endpoints(state: State) -> APIRouter:
    """All of them but those for tokens, as the admin API has them, too."""
    app = APIRouter()
    scrapes = Scrapes(state)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def root() -> dict[str, Any]:
        """The services and endpoints of this gateway."""
        return front_page(state.config)

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        """The gateway and every service, checked now where these are few."""
        return Response(msgspec.json.encode(await health_document(state)), media_type="application/json")

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Prometheus metrics of all workers."""
        page, content_type = await scrapes.page(accept)
        return Response(page, headers={"Content-Type": content_type})

    app.include_router(documentation(state))
    return app
