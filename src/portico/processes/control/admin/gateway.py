"""The gateway itself over the admin API: what it is, and how it reads its configuration again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.params import Depends

from portico import __version__
from portico.net.redis.connection import masked
from portico.processes.control.admin.configuration import cause_of
from portico.processes.control.admin.models import Reloaded, StatusPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.admin.overview import workers_overview
from portico.processes.control.problems import problem
from portico.processes.control.reloading import AdoptionError, ReloadError, Reloading
from portico.processes.control.state import State


def gateway_routes(state: State, reloading: Reloading, bounded: Sequence[Depends]) -> APIRouter:
    """`/admin/status` and `/admin/reload`."""
    router = APIRouter(prefix="/admin", tags=["gateway"])

    @router.post("/reload", **shows(Reloaded))
    async def reload(request: Request) -> dict[str, Any] | Response:
        """Read the configuration again; answers once every worker uses it."""
        try:
            return {"generation": await reloading.reload(cause_of(request, "reload"))}
        except ReloadError as error:
            return problem(422, str(error))
        except AdoptionError as error:
            return problem(500, str(error))

    @router.get("/status", dependencies=bounded, **shows(StatusPage))
    async def status() -> dict[str, Any]:
        """The gateway itself."""
        url = state.config.gateway.redis_url
        return {
            "version": __version__,
            "config": str(state.config_path.absolute()) if state.config_path else None,
            "generation": state.generation,
            "refused": state.refused,
            "redis": masked(url.get_secret_value()) if url is not None else None,
            "plugins": [
                {"use": each.use, "scope": scope} for scope, level in state.config.plugins.items() for each in level
            ],
            "issuers": state.issuers.states(),
            "api_keys": state.api_keys.state(),
            "tokens": state.tokens.state(),
            "certificates": state.certificates.states(),
            "listeners": [{"name": key or None, "url": url} for key, url in state.listening().urls.items()],
            "documents": state.documents.states()["documents"],
            "maintenance": state.config.in_maintenance,
            "overrides": len(state.overrides) if state.overrides is not None else 0,
            "control_uptime": round(time.time() - state.started, 3),
            "workers": workers_overview(await state.workers.running()),
        }

    return router
