"""What the admin API shows: services with their instances, and the workers."""

from __future__ import annotations

from typing import Any

from portico.control.health import Check, HealthChecks


def services_overview(health: HealthChecks) -> list[dict[str, Any]]:
    """Every service, and every version with instances of its own, in the order of the configuration."""
    services: dict[str, dict[str, Any]] = {}
    for check in health.checks.values():
        entry = services.setdefault(check.key, {"name": check.key, "status": "unhealthy", "instances": []})
        entry["instances"].append(_instance(check))
        if check.healthy:
            entry["status"] = "healthy"
    return list(services.values())


def _instance(check: Check) -> dict[str, Any]:
    status = "unchecked" if check.settings is None else "healthy" if check.healthy else "unhealthy"
    entry = {"url": check.instance.url, "weight": check.instance.weight, "status": status}
    return {**entry, "error": check.error} if check.error else entry


def workers_overview(live: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every worker that is connected, by name; each name ends with the process id."""
    keys = ("generation", "connections", "in_flight", "tunnels")
    return [{"name": name, **{key: totals[key] for key in keys}} for name, totals in sorted(live.items())]
