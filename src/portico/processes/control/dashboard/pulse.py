"""What stands at the head of every page: whether all is well."""

from __future__ import annotations

from portico.processes.control.dashboard.page import Context, Visit


async def pulse(visit: Visit) -> Context:
    """How many services are healthy, and what else needs somebody."""
    found, status = await visit.tried("/admin/services"), await visit.tried("/admin/status")
    services, workers = found.get("services", []), found.get("workers", [])
    generation = found.get("generation")
    healthy = sum(service["status"] == "healthy" for service in services)
    behind = sum(worker["generation"] != generation for worker in workers)
    troubles = []
    if status.get("refused"):
        troubles.append("the file on disk is wrong: an older configuration is in force")
    if behind:
        troubles.append(f"{behind} of {len(workers)} workers do not serve by it yet")
    return {
        "generation": generation,
        "healthy": healthy,
        "services": len(services),
        "workers": len(workers),
        "troubles": troubles,
        "problem": found.get("problem") or status.get("problem"),
        "version": status.get("version"),
        "is_well": healthy == len(services) and not troubles,
    }
