"""What `/` says: the services, and where their routes are."""

from __future__ import annotations

from typing import Any

from portico.config import Config, ListenerSettings
from portico.config.endpoints import PATHS
from portico.core.route_paths import is_prefix


def front_page(config: Config, listener: ListenerSettings | None = None) -> dict[str, Any]:
    """The page of a whole gateway, or of one listener, which names nothing that it does not serve."""
    routes = config.all_routes if listener is None else config.served_by(listener)
    services = list(config.services)
    if listener is not None and listener.routes is not None:
        own = {route.service for route in routes}
        services = [name for name in services if name in own]
    endpoints: dict[str, str] = {}
    for route in routes:
        endpoints.setdefault(route.name, f"{route.path.rstrip('/')}/..." if is_prefix(route.place) else route.place)
    hidden = {path.strip("/") for path in PATHS} - {path.strip("/") for path in config.gateway.endpoints.served()}
    names = ("health", "livez", "readyz", "metrics", "docs", "openapi.json")
    shown = {name.removesuffix(".json"): f"/{name}" for name in names if name not in hidden}
    return {"message": config.gateway.title, "services": services, "endpoints": {**endpoints, **shown}}
