"""Services over the admin API: their instances, and the documents that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.params import Depends
from fastapi.responses import JSONResponse

from portico.config.problems import nearest
from portico.processes.control.admin.models import DocumentsPage, ServicePage, ServicesPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.admin.overview import services_overview, workers_overview
from portico.processes.control.admin.places import Places
from portico.processes.control.admin.routes import routes_to
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.problems import problem
from portico.processes.control.state import State


def service_routes(state: State, places: Places, bounded: Sequence[Depends]) -> APIRouter:
    """`/admin/services`, and `/admin/openapi`."""
    router = APIRouter(prefix="/admin", tags=["services"])

    @router.get("/services", dependencies=bounded, **shows(ServicesPage))
    async def services() -> Response:
        """Services, their instances with their state, and the workers with the configuration that each uses."""
        live = await state.workers.running()
        return JSONResponse(  # FastAPI would look at each of the values first: thousands of instances have many
            {
                "generation": state.generation,
                "services": services_overview(state, InstanceStates([*live.values()])),
                "workers": workers_overview(live),
            }
        )

    @router.get("/services/{name}", dependencies=bounded, **shows(ServicePage))
    async def service(name: str) -> dict[str, Any] | Response:
        """One service, or `NAME@VERSION`, with the routes that lead to it."""
        live = await state.workers.running()
        known = {each["name"]: each for each in services_overview(state, InstanceStates([*live.values()]))}
        if name not in known:
            close = nearest(name, known)
            return problem(404, f"there is no service {name}" + (f"; did you mean {close}?" if close else ""))
        own, _, version = name.partition("@")
        where = (await places.where())(("services", own, *(("versions", version) if version else ())))
        detail = {**known[name], "routes": routes_to(state.config, name), "where": where}
        return {"generation": state.generation, "service": detail}

    @router.get("/openapi", **shows(DocumentsPage))
    async def documents() -> dict[str, Any]:
        """The documents of services, what changed in them, and what has no room in the merged one."""
        return state.documents.states()

    return router
