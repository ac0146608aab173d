"""What has to fit together within a route, and between it and the services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from portico.config.answers import redirect_target
from portico.config.failover import failover_findings
from portico.config.mirror import mirror_findings
from portico.config.problems import Finding, KeyPath, nearest
from portico.config.resolve import ResolvedRoute
from portico.config.rewrites import KEEP, strips
from portico.config.routes import ABOUT_SERVICES, RouteSettings
from portico.config.services import ServiceSettings
from portico.core.placeholders import PATH, names_in
from portico.core.route_paths import is_pattern, names_of
from portico.policies.auth import AuthSettings
from portico.policies.editable import plain_key
from portico.policies.headers import HeadersSettings, about_consumers
from portico.policies.transform import TransformSettings, consumer_fields


def route_findings(services: Mapping[str, ServiceSettings], routes: Sequence[RouteSettings]) -> Iterator[Finding]:
    """Paths and targets that are missing or too many, names that lead nowhere, keys that mean nothing."""
    for index, route in enumerate(routes):
        at: KeyPath = ("routes", index)
        yield from _path_findings(at, route)
        yield from _target_findings(at, route, services)
        if route.mirror:
            yield from mirror_findings((*at, "mirror"), route.mirror, services, route.targets)
        if route.failover:
            yield from failover_findings((*at, "failover"), route.failover, services, route.targets)
        if route.failover and route.choice is not None:
            kind = "split" if route.split else "canary"
            yield Finding((*at, "failover"), f"a {kind} has its sides for that (see otherwise): leave one of them out")
        yield from _placeholder_findings(at, route)
        if route.redirect_slash and (route.fallback or not strips(route.place, route.becomes)):
            message = "needs a path other than / and a rewrite that ends with /{path}; leave it out"
            yield Finding((*at, "redirect_slash"), message)


def trailer_findings(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Fields that the gateway writes for a service, and that clients could send once more behind their content."""
    for route in routes:
        if not route.trailers:
            continue
        written = {plain_key(name) for name in _written_for_service(route)}
        for name in route.trailers:
            if plain_key(name) in written:
                message = f"{name} is set by the route's policies, and a client could send it too: leave it out"
                yield Finding((*route.source, "trailers"), message)


def failover_route_findings(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """What the response of another service would be kept for, and whom it would be shown."""
    for route in routes:
        if route.failovers and route.policies.get("cache", (None, ""))[0]:
            message = "a response of another service would be stored as the route's own: write cache: false there"
            yield Finding((*route.source, "failover"), message)


def _written_for_service(route: ResolvedRoute) -> Iterator[str]:
    auth, _ = route.policies.get("auth", (None, ""))
    if isinstance(auth, AuthSettings) and auth.forward is not None:
        yield from auth.forward.pass_headers
    headers, _ = route.policies.get("headers", (None, ""))
    if isinstance(headers, HeadersSettings):
        yield from (*headers.request.set, *about_consumers(headers.request.add))
    transform, _ = route.policies.get("transform", (None, ""))
    if isinstance(transform, TransformSettings):
        yield from consumer_fields(transform)


def _path_findings(at: KeyPath, route: RouteSettings) -> Iterator[Finding]:
    if route.path is None and not route.fallback:
        yield Finding(at, 'the key "path" has to be written, or fallback: true for what no other route takes')
    elif route.path is not None and route.fallback:
        yield Finding((*at, "fallback"), "a fallback takes what no other route takes, by any path: leave path out")


def _target_findings(at: KeyPath, route: RouteSettings, services: Mapping[str, ServiceSettings]) -> Iterator[Finding]:
    targets = [key for key in ("service", "split", "respond", "redirect") if getattr(route, key) is not None]
    if not targets:
        own = "or respond or redirect for a route that answers itself"
        yield Finding(at, f'the key "service" has to be written, or split, {own}')
    elif len(targets) > 1:
        yield Finding((*at, targets[1]), f"the route has a {targets[0]} already: keep one of them")
    elif route.split is not None:
        return  # split_checks.py has what is to be said
    elif route.service is None:
        for key in ABOUT_SERVICES:
            if key in route.model_fields_set:
                yield Finding((*at, key), f"is about a service, and a route with {targets[0]} has none: leave it out")
    else:
        yield from _service_findings(at, route, services, route.service)


def _service_findings(
    at: KeyPath, route: RouteSettings, services: Mapping[str, ServiceSettings], name: str
) -> Iterator[Finding]:
    service = services.get(name)
    if service is None:
        yield Finding((*at, "service"), f'there is no service "{name}"', nearest(name, services))
    elif route.version is not None and route.version not in service.versions:
        message = f'the service {name} has no version "{route.version}"'
        yield Finding((*at, "version"), message, nearest(route.version, service.versions))
    elif route.version is None and not service.has_instances and not service.choosing:
        versions = ", ".join(service.versions)
        message = f"only the versions of {name} have instances; write version: one of {versions}"
        yield Finding((*at, "service"), message)


def _placeholder_findings(at: KeyPath, route: RouteSettings) -> Iterator[Finding]:
    """Names in a rewrite or a redirect that nothing captures."""
    used: list[tuple[KeyPath, str]] = []
    if route.rewrite is not None and route.rewrite != KEEP:
        used += [((*at, "rewrite"), name) for name in names_in(route.rewrite) if name != PATH]
    if route.redirect is not None:
        used += [((*at, "redirect", "to"), name) for name in redirect_target(route.redirect.to).names]
    captured = names_of(route.place)
    for path, name in used:
        if name in captured:
            continue
        if is_pattern(route.place):
            message = f"no group of the path is called {name}: write (?P<{name}>…) there"
            yield Finding(path, message, nearest(name, captured))
        else:
            message = (
                f"of a prefix there is {{path}}; {{{name}}} is captured by a pattern: ~ ^/users/(?P<{name}>[^/]+)$"
            )
            yield Finding(path, message)
