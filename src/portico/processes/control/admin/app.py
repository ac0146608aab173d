"""The admin API, as a FastAPI application on its own address."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from portico import __version__
from portico.config.problems import nearest
from portico.net.redis.connection import masked
from portico.processes.control.admin.audited import Audited, audit_routes
from portico.processes.control.admin.cache import cache_routes
from portico.processes.control.admin.canaries import canary_routes
from portico.processes.control.admin.certificates import certificate_routes
from portico.processes.control.admin.configuration import cause_of, configuration_routes
from portico.processes.control.admin.consumers import consumer_routes
from portico.processes.control.admin.explain import explain_routes
from portico.processes.control.admin.guard import Guard
from portico.processes.control.admin.instances import instance_routes
from portico.processes.control.admin.keys import api_key_routes
from portico.processes.control.admin.limits import limit_routes
from portico.processes.control.admin.live import live_routes
from portico.processes.control.admin.models import DocumentsPage, Reloaded, ServicePage, ServicesPage, StatusPage
from portico.processes.control.admin.openapi import add_documentation, name_of, shows
from portico.processes.control.admin.overview import services_overview, workers_overview
from portico.processes.control.admin.places import Places
from portico.processes.control.admin.registry import registry_routes
from portico.processes.control.admin.routes import route_routes, routes_to
from portico.processes.control.admin.tokens import token_routes
from portico.processes.control.app import own_endpoints
from portico.processes.control.bound import Bound
from portico.processes.control.dashboard.app import Dashboard
from portico.processes.control.dashboard.prefixes import Unprefixed
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.problems import problem
from portico.processes.control.reloading import AdoptionError, ReloadError, Reloading
from portico.processes.control.state import State

_AT_ONCE: Final = 64
"""Concurrent requests to the endpoints that ask the workers."""


def create_admin(state: State, reloading: Reloading, *, is_local: bool) -> ASGIApp:
    """The application for one control process; `is_local` says that only this machine can connect."""
    app = FastAPI(
        title="Portico admin",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=name_of,
    )
    bounded, places = [Depends(Bound(_AT_ONCE))], Places(state)

    @app.post("/admin/reload", tags=["gateway"], **shows(Reloaded))
    async def reload(request: Request) -> dict[str, Any] | Response:
        """Read the configuration again; answers once every worker uses it."""
        try:
            return {"generation": await reloading.reload(cause_of(request, "reload"))}
        except ReloadError as error:
            return problem(422, str(error))
        except AdoptionError as error:
            return problem(500, str(error))

    @app.get("/admin/services", tags=["services"], dependencies=bounded, **shows(ServicesPage))
    async def services() -> dict[str, Any]:
        """Services, their instances with their state, and the workers with the configuration that each uses."""
        live = await state.workers.running()
        return {
            "generation": state.generation,
            "services": services_overview(state, InstanceStates([*live.values()])),
            "workers": workers_overview(live),
        }

    @app.get("/admin/services/{name}", tags=["services"], dependencies=bounded, **shows(ServicePage))
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

    @app.get("/admin/status", tags=["gateway"], dependencies=bounded, **shows(StatusPage))
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

    @app.get("/admin/openapi", tags=["services"], **shows(DocumentsPage))
    async def documents() -> dict[str, Any]:
        """The documents of services, what changed in them, and what has no room in the merged one."""
        return state.documents.states()

    app.include_router(configuration_routes(state))
    app.include_router(registry_routes(state.discovery))
    app.include_router(instance_routes(state))
    app.include_router(route_routes(state, places))
    app.include_router(limit_routes(state, places))
    app.include_router(consumer_routes(state, places))
    app.include_router(audit_routes(state))
    app.include_router(cache_routes(state))
    app.include_router(certificate_routes(state))
    app.include_router(explain_routes(state, places))
    app.include_router(canary_routes(state))
    app.include_router(token_routes(state))
    app.include_router(api_key_routes(state))
    app.include_router(live_routes(state))
    app.include_router(own_endpoints(state), dependencies=bounded, include_in_schema=False)
    add_documentation(app)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}", error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
        found = error.errors()[0]
        return problem(422, f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}")

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:  # noqa: ARG001 - it is raised again, and logged
        return problem(500, "the admin API failed on this request: the event log has the traceback")

    guard = Guard(app, lambda: state.config.gateway.admin_callers, is_local=is_local)
    admin = Audited(guard, state.audit)
    return Unprefixed(Dashboard(admin, state, is_local=is_local))
