"""What the admin API shows: services with their instances, and the workers."""

from __future__ import annotations

from typing import Any

from portico.processes.control.admin.instances import all_drained, override_document
from portico.processes.control.admin.registry import described
from portico.processes.control.check import Check
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.registration import Entry
from portico.processes.control.state import State


def services_overview(state: State, states: InstanceStates) -> list[dict[str, Any]]:
    """Every service, and every version with instances of its own, in the order of the configuration.

    `status` is the result of active checks, unless no worker can open a connection; the state in the workers is beside
    it, in `states`.
    """
    services: dict[str, dict[str, Any]] = {}
    registered = {(entry.service, entry.url): entry for entry in state.discovery.registry.entries.values()}
    for check in state.health.in_order():
        entry = services.setdefault(check.key, {"name": check.key, "status": "unhealthy", "instances": []})
        instance = _instance(check, registered.get((check.service, check.instance.url)))
        problem = states.problem(*check.identity)
        if problem is not None and check.shown_healthy:
            instance |= {"status": "unhealthy", "error": problem}
        elif check.shown_healthy:
            entry["status"] = "healthy"
        if said := override_document(state, *check.identity):
            instance["override"] = said
        entry["instances"].append(instance | states.described(*check.identity))
    for key, entry in services.items():
        if warning := states.warning(key, [instance["url"] for instance in entry["instances"]]):
            entry["warning"] = warning
        if all_drained(state, key):
            entry["warning"] = "no instance gets requests: somebody has drained them"
    for name, service in state.config.services.items():
        if service.discover is not None and name not in services:
            services[name] = {"name": name, "status": "unhealthy", "instances": []}
    for name, problem in state.discovery.problems().items():
        if name in services:
            services[name].setdefault("warning", problem)
    return list(services.values())


def _instance(check: Check, registered: Entry | None) -> dict[str, Any]:
    status = "unchecked" if check.settings is None else "healthy" if check.shown_healthy else "unhealthy"
    entry = {"url": check.instance.url, "weight": check.instance.weight, "status": status}
    if check.instance.backup:
        entry["backup"] = True
    if check.error:
        entry["error"] = check.error
    if registered is not None:
        known = described(registered)
        entry |= {key: known[key] for key in ("id", "version", "source", "expires_in", "lost") if key in known}
    else:
        entry["source"] = "config"
    return entry


def workers_overview(live: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every worker that is connected, by name; each name ends with the process id.

    `redis_up` is there where limits are in Redis.
    """
    keys = ("generation", "connections", "in_flight", "tunnels")
    return [
        {"name": name, **{key: totals[key] for key in keys}}
        | ({} if totals["redis_up"] is None else {"redis_up": bool(totals["redis_up"])})
        for name, totals in sorted(live.items())
    ]
