"""The gateway's own endpoints, as a FastAPI application that workers proxy to like any other service."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Header, Response

from portico import __version__
from portico.processes.control.front_page import front_page
from portico.processes.control.health_report import states_only
from portico.processes.control.openapi.endpoints import documentation
from portico.processes.control.scrapes import Scrapes
from portico.processes.control.state import State
from portico.processes.control.tokens.endpoints import token_endpoints


def create_app(state: State) -> FastAPI:
    """The application for one control process."""
    app = FastAPI(title="Portico", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(own_endpoints(state))
    app.include_router(token_endpoints(state.tokens))

    @app.api_route("/listeners/{key}", methods=["GET", "HEAD"])
    async def page_of_listener(key: str) -> dict[str, Any]:
        """`/` of a listener that serves some of the routes."""
        listeners = {listener.key: listener for listener in state.config.gateway.listeners}
        return front_page(state.config, listeners.get(key))

    return app


def own_endpoints(state: State) -> APIRouter:
    """`/`, `/health`, `/metrics`, `/docs`: which of them a gateway's port has is decided by its workers' routes."""
    app = APIRouter()
    scrapes = Scrapes(state)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def root() -> dict[str, Any]:
        """The services and endpoints of this gateway."""
        return front_page(state.config)

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        """The gateway and every service, checked now where these are few."""
        services = await state.health.report()
        if state.config.gateway.endpoints.health.detail == "states":
            services = {name: states_only(entry) for name, entry in services.items()}
        document = msgspec.json.encode({"gateway": "healthy", "services": services})
        return Response(document, media_type="application/json")

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Prometheus metrics of all workers."""
        page, content_type = await scrapes.page(accept)
        return Response(page, headers={"Content-Type": content_type})

    app.include_router(documentation(state))
    return app
