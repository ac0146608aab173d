"""Routes as Envoy's: what each matches, what becomes of its requests, and what it says of the filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil

from portico.config import RedirectSettings, ResolvedRoute, Upstream
from portico.core.conditions import is_value_pattern
from portico.core.route_paths import is_exact, is_pattern
from portico.render.envoy.answers import answered, problem, redirecting, responding
from portico.render.envoy.auth import guarding
from portico.render.envoy.compress import compressing
from portico.render.envoy.cors import cors_of, marking, preflights
from portico.render.envoy.denied import denied
from portico.render.envoy.fields import headers_of
from portico.render.envoy.forwarding import forwarding
from portico.render.envoy.guards import limits, networks, size
from portico.render.envoy.matches import methods_of, route_match, with_conditions, with_twice
from portico.render.envoy.names import FILTERS, PORTICO, CannotError, Names, Section, header
from portico.render.envoy.splits import split_routes

_ASKS = "access-control-request-method"


def routes_of(
    names: Names, route: ResolvedRoute, sides: Sequence[ResolvedRoute], *, preflight: bool
) -> Iterator[Section]:
    """Envoy's routes for one of Portico's, in their order; `sides` are those of a split, the first one included."""
    match = route_match(route)
    cors = cors_of(route.policies)
    if preflight and cors is not None and route.maintenance is None:
        asks = with_conditions({**match, "headers": []}, route, methods_of(route), _ASKS)
        for own in preflights(names, cors, asks):
            marks = {**networks(names, route.policies), **headers_of(names, route.policies, None)}
            yield {**own, FILTERS: {**own[FILTERS], **marks}}
    try:
        refused = [*denied(route, match)]
    except CannotError:  # which closes the route
        refused = []
    marks = {**marking(names, route.policies), **headers_of(names, route.policies, None)}
    for own in refused:
        yield {**own, FILTERS: {**networks(names, route.policies), **marks}}
    for doubled in with_twice(match, route):
        yield {**answered("malformed_request", doubled), FILTERS: marks}
    for name, value in route.query.items():
        if value is not True and is_value_pattern(value):
            why = "Envoy compares a parameter as it was sent, percent-encoded or not, and the first of several"
            names.losses.add((*route.source, "query", name), why)
    if len(sides) > 1:
        yield from split_routes(names, sides, match, partial(_route, names))
    else:
        yield _route(names, route, match)


def _route(names: Names, route: ResolvedRoute, match: Section, cluster: Section | None = None) -> Section:
    found: Section = {"name": route.name, "match": match}
    filters = {**marking(names, route.policies), **headers_of(names, route.policies, route)}
    filters |= networks(names, route.policies)
    if route.maintenance is not None:
        detail = "the service is being maintained: try again later"
        found["direct_response"] = problem(503, "maintenance", detail)
        found["response_headers_to_add"] = [header("Retry-After", str(ceil(route.maintenance.retry_after)))]
        return {**found, FILTERS: filters}
    try:
        list(denied(route, match))
        guards, told = guarding(names, route)
    except CannotError as error:
        names.losses.add(error.path, error.why)
        found["direct_response"] = problem(503, "auth_unavailable", "what guards this route cannot be checked here")
        return {**found, FILTERS: filters}
    filters |= {**guards, **limits(names, route.policies, route)}
    if isinstance(route.answer, RedirectSettings):
        found["redirect"], about = redirecting(route, route.answer)
        told |= about
    elif route.answer is not None:
        found |= responding(names, route, route.answer)
    else:
        filters |= {**size(names, route), **compressing(names, route)}
        upstream = names.service(str(route.service), route.version)
        action, cookie = forwarding(names, route, upstream, cluster)
        found["route"] = action
        filters |= cookie
        told |= _about_paths(route, upstream)
    if told:
        found["metadata"] = {"filter_metadata": {PORTICO: told}}
    return {**found, FILTERS: filters}


def _about_paths(route: ResolvedRoute, upstream: Upstream) -> Section:
    """What `portico` is told of a route's prefix."""
    if route.rewrite == "keep" or is_pattern(route.path) or is_exact(route.path):
        return {}
    prefix = ("" if route.path == "/" else route.path).removesuffix(route.rewrite.removesuffix("/{path}"))
    told: Section = {"prefix": prefix} if prefix else {}
    if route.redirect_slash and route.path != "/":
        told["slash"] = route.path
    if prefix and route.rewrite.endswith("/{path}"):
        told["base"] = route.rewrite.removesuffix("{path}")
        told["instances"] = [each.authority for each in upstream.instances]
        kept = [key for key in ("location", "cookies") if route.policies.get(f"rewrite_{key}", (True, ""))[0] is None]
        if kept:
            told["kept"] = kept
    return told
