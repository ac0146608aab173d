"""The gateway's own endpoints, as a FastAPI application that workers proxy to like any other service."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Response

from portico import __version__
from portico.processes.control.exposition import RegistryGauges, render_metrics
from portico.processes.control.state import State


def create_app(state: State) -> FastAPI:
    """The application for one control process."""
    app = FastAPI(title="Portico", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def front_page() -> dict[str, Any]:
        """What there is behind this gateway."""
        endpoints: dict[str, str] = {}
        for route in state.config.all_routes:
            endpoints.setdefault(route.name, f"{route.path.rstrip('/')}/...")
        own = {name: f"/{name}" for name in ("health", "livez", "readyz", "metrics")}
        return {
            "message": state.config.gateway.title,
            "services": list(state.config.services),
            "endpoints": {**endpoints, **own},
        }

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> dict[str, Any]:
        """The gateway and every service, looked at now."""
        return {"gateway": "healthy", "services": await state.health.report()}

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Prometheus metrics of all workers."""
        live, ended = await state.workers.totals()
        page, content_type = render_metrics(live, ended, state.health.states(), accept, _gauges(state))
        return Response(page, headers={"Content-Type": content_type})

    return app


def _gauges(state: State) -> RegistryGauges | None:
    """What metrics say of the registry; nothing where there is none."""
    if not state.config.sources:
        return None
    registry = state.discovery.registry
    names = [name for name in state.config.services if registry.wanted(name) is not None]
    counts = dict.fromkeys(names, 0)
    for entry in registry.entries.values():
        if entry.service in counts:
            counts[entry.service] += 1
    return RegistryGauges(registry.up if state.discovery.uses_redis else None, counts)
