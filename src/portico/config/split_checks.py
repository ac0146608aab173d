"""What has to fit together within a split: its sides, and what they leave to the route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from portico.config.problems import Finding, KeyPath, nearest
from portico.config.resolve import ResolvedRoute
from portico.config.routes import RouteSettings
from portico.config.services import ServiceSettings
from portico.config.split import SideSettings, SplitChoice

_SMALLEST: Final = 1e-4
"""The smallest share."""
_BEFORE: Final = ("body_size", "redirect_slash")
"""What holds before the side of a request is chosen, beside policies."""


def split_findings(services: Mapping[str, ServiceSettings], routes: Sequence[RouteSettings]) -> Iterator[Finding]:
    """Sides that do not exist or come twice, weights that leave nothing to choose, keys without a split."""
    for index, route in enumerate(routes):
        at: KeyPath = ("routes", index)
        choice = route.choice
        if route.canary is not None and route.service is None:
            yield Finding((*at, "canary"), "is for routes with a service, which is the old one", at_key=True)
        elif choice is None:
            for key in ("sticky", "otherwise"):
                if key in route.model_fields_set and getattr(route, key) is not None:
                    yield Finding((*at, key), "is for routes with a split or a canary: leave it out", at_key=True)
        elif choice.canary is not None:
            yield from _canary_findings(at, choice, services)
        else:
            if route.version is not None:
                yield Finding((*at, "version"), "of several services each has its own: write it into the split's sides")
            yield from _side_findings((*at, "split"), choice, services)
            yield from _weight_findings((*at, "split"), choice)


def _side_findings(at: KeyPath, choice: SplitChoice, services: Mapping[str, ServiceSettings]) -> Iterator[Finding]:
    seen = set()
    for index, side in enumerate(choice.sides):
        own = (*at, index)
        yield from _target_findings(own, "service", side, services)
        if side.label in seen:
            yield Finding((*own, "service"), "is a side already: write its weight, headers and cookies there")
        seen.add(side.label)


def _canary_findings(at: KeyPath, choice: SplitChoice, services: Mapping[str, ServiceSettings]) -> Iterator[Finding]:
    old, new = choice.sides
    if (service := services.get(old.service)) is not None and old.version is None and service.choosing:
        yield from _target_findings(at, "service", old, services)
    yield from _target_findings((*at, "canary"), "to", new, services)
    if new.label == old.label:
        yield Finding((*at, "canary", "to"), "is the service of the route itself: name the one that is new")


def _target_findings(
    at: KeyPath, key: str, side: SideSettings, services: Mapping[str, ServiceSettings]
) -> Iterator[Finding]:
    """What is wrong with the service that `key` names, or with its version."""
    service = services.get(side.service)
    if service is None:
        yield Finding((*at, key), f'there is no service "{side.service}"', nearest(side.service, services))
    elif side.version is not None and side.version not in service.versions:
        message = f'the service {side.service} has no version "{side.version}"'
        yield Finding((*at, "version"), message, nearest(side.version, service.versions))
    elif side.version is None and (service.choosing or not service.has_instances):
        versions = ", ".join(service.versions)
        yield Finding((*at, key), f"write the version of {side.service}, too: one of {versions}")


def _weight_findings(at: KeyPath, choice: SplitChoice) -> Iterator[Finding]:
    total = sum(side.weight for side in choice.sides)
    if total == 0:
        yield Finding(at, "the weights are all 0: no request would have a service", at_key=True)
        return
    for index, side in enumerate(choice.sides):
        if 0 < side.weight < _SMALLEST * total:
            message = f"is {100 * side.weight / total:.2g} % of the sum; the smallest share is 0.01 %"
            yield Finding((*at, index, "weight"), message)


def agreement_findings(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Sides that differ in what is applied before one of them is chosen."""
    for source, group in groupby((route for route in routes if route.split is not None), lambda route: route.source):
        first, *others = group
        for other in others:
            for key, where in _differing(first, other):
                message = (
                    f"{key} of {_label(first)} and {_label(other)} differ, and apply before one of them is chosen: "
                    f"write {where} at the route"
                )
                kind = "canary" if other.split is not None and other.split.canary is not None else "split"
                yield Finding((*source, kind), message, at_key=True)


def _differing(one: ResolvedRoute, other: ResolvedRoute) -> Iterator[tuple[str, str]]:
    for key in sorted({*one.policies, *other.policies}):
        if _settings(one, key) != _settings(other, key):
            yield f"the policies {key}", f"policies: {{{key}: …}}"
    for key in _BEFORE:
        if getattr(one, key) != getattr(other, key):
            yield key, key


def _settings(route: ResolvedRoute, key: str) -> Any:
    return route.policies[key][0] if key in route.policies else "off"


def _label(route: ResolvedRoute) -> str:
    return route.side.label if route.side is not None else route.name
