"""The admin API, as a FastAPI application on its own address."""

from __future__ import annotations

from typing import Final

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

from portico import __version__
from portico.processes.control.admin.audited import Audited, audit_routes
from portico.processes.control.admin.bodies import Bounded
from portico.processes.control.admin.cache import cache_routes
from portico.processes.control.admin.canaries import canary_routes
from portico.processes.control.admin.certificates import certificate_routes
from portico.processes.control.admin.configuration import configuration_routes
from portico.processes.control.admin.consumers import consumer_routes
from portico.processes.control.admin.explain import explain_routes
from portico.processes.control.admin.failures import answer_errors
from portico.processes.control.admin.gateway import gateway_routes
from portico.processes.control.admin.guard import Guard
from portico.processes.control.admin.instances import instance_routes
from portico.processes.control.admin.keys import api_key_routes
from portico.processes.control.admin.limits import limit_routes
from portico.processes.control.admin.live import live_routes
from portico.processes.control.admin.openapi import add_documentation, name_of
from portico.processes.control.admin.places import Places
from portico.processes.control.admin.registry import registry_routes
from portico.processes.control.admin.routes import route_routes
from portico.processes.control.admin.services import service_routes
from portico.processes.control.admin.tokens import token_routes
from portico.processes.control.app import own_endpoints
from portico.processes.control.bound import Bound
from portico.processes.control.dashboard.app import Dashboard
from portico.processes.control.dashboard.prefixes import Unprefixed
from portico.processes.control.reloading import Reloading
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
        redirect_slashes=False,  # it would name the address without the prefix of a proxy
        generate_unique_id_function=name_of,
    )
    bounded, places = [Depends(Bound(_AT_ONCE))], Places(state)

    app.include_router(gateway_routes(state, reloading, bounded))
    app.include_router(service_routes(state, places, bounded))
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
    answer_errors(app)

    guard = Guard(Bounded(app), lambda: state.config.gateway.admin_callers, is_local=is_local)
    admin = Audited(guard, state.audit)
    return Unprefixed(Dashboard(admin, state, is_local=is_local))
