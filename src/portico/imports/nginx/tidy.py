"""What all routes say alike is said once: of a service, or of all."""

from __future__ import annotations

from typing import Any, Final

from portico.imports.draft import Draft, Part

_OF_SERVICE: Final = ("timeout", "retries", "preserve_host")


def tidied(draft: Draft) -> None:
    """Move what all routes of a service say to the service, and what all routes say to the top."""
    by_service: dict[str, list[Part]] = {}
    for route in draft.routes:
        names = (
            [route.data["service"]]
            if "service" in route.data
            else [side["service"] for side in route.data.get("split", ())]
        )
        for name in names:
            by_service.setdefault(name, []).append(route)
    used = {*by_service, *(name for route in draft.routes for name in mirrored(route.data))}
    draft.services = {name: part for name, part in draft.services.items() if name in used}
    split = {name for name, routes in by_service.items() if any("split" in route.data for route in routes)}
    _policies(draft)
    for name, routes in by_service.items():
        if name not in split:
            for key in _OF_SERVICE:
                _moved(draft.services[name], routes, key)
            _policies_of(draft.services[name], routes)


def _moved(service: Part, routes: list[Part], key: str) -> None:
    first = routes[0].data.get(key)
    if first is None or any(route.data.get(key) != first for route in routes):
        return
    service.data[key] = first
    for route in routes:
        del route.data[key]


def mirrored(route: dict[str, Any]) -> list[str]:
    """The services that get copies of a route's requests."""
    said = route.get("mirror")
    return [] if said is None else [said if isinstance(said, str) else said["service"]]


def _policies_of(service: Part, routes: list[Part]) -> None:
    """Policies that all of a service's routes have alike."""
    if len(routes) < 2:
        return
    for key, value in [*routes[0].data.get("policies", {}).items()]:
        if all(route.data.get("policies", {}).get(key) == value for route in routes):
            service.data.setdefault("policies", {})[key] = value
            for route in routes:
                _dropped(route, key)


def _dropped(route: Part, key: str) -> None:
    del route.data["policies"][key]
    if not route.data["policies"]:
        del route.data["policies"]


def _policies(draft: Draft) -> None:
    """Policies that every route has alike."""
    if len(draft.routes) < 2:
        return
    first: dict[str, Any] = draft.routes[0].data.get("policies", {})
    for key, value in [*first.items()]:
        if all(route.data.get("policies", {}).get(key) == value for route in draft.routes):
            draft.policies.data[key] = value
            for route in draft.routes:
                _dropped(route, key)
