"""What `/health` reports of services: the results of checks just now, and the state that workers know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portico.config import ServiceSettings
from portico.processes.control.check import Check
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.prober import Finding


def health_report(
    services: Mapping[str, ServiceSettings],
    found: Mapping[Check, Finding | None],
    ages: Mapping[Check, float],
    states: InstanceStates,
    directory_problems: Mapping[str, str],
) -> dict[str, Any]:
    """The state of every service, from one check of each of its instances; None where there was none.

    `ages` are the seconds since the checks that are not of now. `directory_problems` say what is wrong
    with where the instances of a service are found.
    """
    report: dict[str, dict[str, Any]] = {}
    upstreams: dict[str, dict[str, list[str]]] = {}
    for check, finding in found.items():
        entry = report.setdefault(check.service, {"status": "unhealthy", "instances": []})
        described = _described(check, finding, ages.get(check))
        entry["instances"].append(described | states.described(*check.identity))
        upstreams.setdefault(check.service, {}).setdefault(check.key, []).append(check.instance.url)
    for name, entry in report.items():
        _sum_up(entry)
        if warning := _warning(name, upstreams[name], states):
            entry["warning"] = warning
    for name, service in services.items():
        if service.maintenance is not None and name in report:
            report[name]["maintenance"] = True
        if service.discover is not None and name not in report:
            problem = directory_problems.get(name, "no instance is registered")
            report[name] = {"status": "unhealthy", "instances": [], "error": problem}
    return report


def states_only(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is reported of a service without the addresses of its instances and the texts of errors."""
    instances = [{"status": instance["status"]} for instance in entry["instances"]]
    kept = {key: entry[key] for key in ("status", "response_time") if key in entry}
    return {**kept, "instances": instances}


def _described(check: Check, finding: Finding | None, age: float | None) -> dict[str, Any]:
    if finding is None:
        return {"url": check.instance.url, "status": "unchecked", "in_rotation": check.healthy}
    entry: dict[str, Any] = {
        "url": check.instance.url,
        "status": "healthy" if finding.error is None else "unhealthy",
        "response_time": round(finding.seconds, 6),
        "in_rotation": check.healthy,
    }
    if age is not None:
        entry["age"] = round(age, 3)
    if finding.error is not None:
        entry["error"] = finding.error
    return entry


def _warning(service: str, upstreams: Mapping[str, Sequence[str]], states: InstanceStates) -> str | None:
    """The report on a service, and on its versions with instances of their own: URLs by upstream key."""
    said = {key: states.warning(key, urls) for key, urls in upstreams.items()}
    return "; ".join(text if key == service else f"{key}: {text}" for key, text in said.items() if text) or None


def _sum_up(entry: dict[str, Any]) -> None:
    """A service is healthy while one instance is, or may be; it answers as fast as its fastest healthy one."""
    instances = entry["instances"]
    healthy = [instance for instance in instances if instance["status"] != "unhealthy"]
    entry["status"] = "healthy" if healthy else "unhealthy"
    times = [each["response_time"] for each in healthy or instances if "response_time" in each]
    if times:
        entry["response_time"] = min(times)
    if not healthy:
        entry["error"] = instances[0]["error"]
