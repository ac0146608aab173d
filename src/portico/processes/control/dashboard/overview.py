"""The first page: what matters now, on one screen."""

from __future__ import annotations

from typing import Any, Final

from portico.processes.control.dashboard.page import Context, Visit

_MOST: Final = 40
"""Services on this page, those that are down first, and things that need attention."""


async def overview(visit: Visit) -> Context:
    """Figures with their charts, services, what needs attention, the busiest consumers and paths, the last events."""
    services = await visit.get("/admin/services")
    status = await visit.get("/admin/status")
    events = await visit.tried("/admin/events")
    figures = visit.history.latest()
    return {
        "figures": figures,
        "services": sorted(services["services"], key=lambda each: each["status"] != "unhealthy")[:_MOST],
        "more": max(0, len(services["services"]) - _MOST),
        "live": {each["name"]: each for each in figures.get("services", ())},
        "attention": attention(services, status),
        "events": list(reversed(events.get("events", [])))[:12],
    }


def attention(services: dict[str, Any], status: dict[str, Any]) -> list[dict[str, str]]:
    """What somebody should look at: where it is, and what is wrong there."""
    found = []
    if status.get("refused"):
        found.append({"page": "configuration", "what": "Configuration refused", "why": status["refused"]})
    for service in services["services"]:
        bad = [each for each in service["instances"] if each["status"] == "unhealthy"]
        if service["status"] == "unhealthy" or service.get("warning") or bad:
            why = service.get("warning") or (f"{bad[0]['url']}: {bad[0].get('error', 'unhealthy')}" if bad else "")
            state = "is down" if service["status"] == "unhealthy" else "has trouble"
            found.append({"page": "services", "what": f"{service['name']} {state}", "why": why or "no instance"})
    for certificate in status.get("certificates", []):
        if certificate.get("problem") or certificate["state"] != "valid":
            why = certificate.get("problem") or certificate["state"]
            found.append({"page": "certificates", "what": certificate["names"][0], "why": why})
    if status.get("maintenance"):
        found.append({"page": "services", "what": "In maintenance", "why": ", ".join(status["maintenance"])})
    if len(found) > _MOST:
        others = {"page": "services", "what": f"and {len(found) - _MOST} more", "why": ""}
        return [*found[:_MOST], others]
    return found
