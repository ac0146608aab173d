"""Virtual hosts: the routes for each set of hosts, in the order in which they are asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from portico.config import ListenerSettings, ResolvedRoute
from portico.config.endpoints import PATHS
from portico.render.envoy.answers import LARGEST, answered
from portico.render.envoy.cors import cors_of, marking, preflights
from portico.render.envoy.fields import headers_of, told
from portico.render.envoy.guards import limits, networks
from portico.render.envoy.matches import methods_of, path_match, regex, with_conditions, words
from portico.render.envoy.names import FILTERS, OFF, Names, Section, header
from portico.render.envoy.readings import read_otherwise
from portico.render.envoy.routes import routes_of
from portico.render.envoy.text import Noted
from portico.render.sites import Place, Site, is_open, own_paths, sites_of

_SEPARATOR: Final = r"(?:[/\\]|%2[Ff]|%5[Cc])"
_NEEDLESS: Final = "%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|5[0-9Aa]|5[Ff]|7[0-9Aa]|7[Ee])"
_BROKEN: Final = "%(?:[^0-9A-Fa-f].*|[0-9A-Fa-f][^0-9A-Fa-f].*|[0-9A-Fa-f]?)"
_READING: Final = ("GET", "HEAD")
_AUTHORITY: Final = r"(?i)(?:[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]*)?"
REFUSED: Final = {
    "a dot segment": rf".*{_SEPARATOR}\.\.?(?:(?:;|%3[Bb]|{_SEPARATOR}).*)?",
    "a percent-encoding of what needs none": f".*{_NEEDLESS}.*",
    "a NUL, or a percent sign without two hexadecimal digits": f".*(?:%00.*|{_BROKEN})",
}
"""Paths by which requests could get around a route that guards them."""


def route_config(names: Names, listener: ListenerSettings) -> Section:
    """The routes of a listener."""
    hosts = [*_virtual_hosts(names, listener)]
    common = _take_common(names, [route for host in hosts for route in host["routes"]])
    for host in hosts:
        _take_retries(host)
        host["routes"] = [*map(_noted, host["routes"])]
    return {
        "name": "routes",
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": LARGEST,
        "request_headers_to_add": told(),
        **(
            {FILTERS: Noted("what is so on most routes; one that says otherwise does so itself", common)}
            if common
            else {}
        ),
        "virtual_hosts": [Noted(host.pop("note"), host) for host in hosts],
    }


def _take_retries(host: Section) -> None:
    """Puts the policy that most routes have for requests that failed at the host, which they need not say then."""
    actions = [route["route"] for route in host["routes"] if "route" in route]
    counts = Counter(id(action["retry_policy"]) for action in actions)
    if not counts:
        return
    most, _ = counts.most_common(1)[0]
    routes = host.pop("routes")
    host["retry_policy"] = next(each["retry_policy"] for each in actions if id(each["retry_policy"]) == most)
    host["routes"] = routes
    for action in actions:
        if id(action["retry_policy"]) == most:
            del action["retry_policy"]


def _noted(route: Section) -> Section | Noted:
    note = route.pop("note", "")
    return Noted(note, route) if note else route


def _take_common(names: Names, routes: Sequence[Section]) -> Section:
    """What most routes say of filters, which they need not say then."""
    counts: dict[str, dict[str, int]] = {}
    known: dict[str, Any] = {}
    keys: dict[int, str] = {}

    def key_of(config: Any) -> str:
        if id(config) not in keys:
            keys[id(config)] = repr(config)
            known.setdefault(keys[id(config)], config)
        return keys[id(config)]

    asked = [route for route in routes if "portico:" not in route["name"]]
    for route in asked or routes:
        for name, config in route[FILTERS].items():
            own = counts.setdefault(name, {})
            own[key_of(config)] = own.get(key_of(config), 0) + 1
    common: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (names.filters[name].order, name)):
        text, count = max(counts[name].items(), key=lambda found: found[1])
        adds_up = names.filters[name].adds_up and len(counts[name]) > 1
        if 2 * count > len(asked or routes) and not adds_up:
            common[name] = text
    for route in routes:
        said = route.pop(FILTERS)
        left_out: Section = dict.fromkeys([name for name in common if name not in said], OFF)
        own = {name: config for name, config in said.items() if common.get(name) != key_of(config)} | left_out
        if own:
            route[FILTERS] = dict(sorted(own.items()))
    return {name: known[text] for name, text in common.items()}


def _virtual_hosts(names: Names, listener: ListenerSettings) -> Iterator[Section]:
    variants: dict[str, list[ResolvedRoute]] = {}
    for route in names.config.all_routes:
        if route.is_variant and route.split is not None:
            variants.setdefault(route.name, []).append(route)
    for index, site in enumerate(sites_of(names.config.served_by(listener))):
        hosts = ", ".join(site.hosts[:3]) + (", …" if len(site.hosts) > 3 else "")
        yield {
            "note": f"hosts {hosts}" if site.hosts else "any other host",
            "name": f"hosts_{index}" if site.hosts else "any",
            "domains": [*site.hosts] or ["*"],
            "routes": [*_site(names, listener, site, variants)],
        }


def _site(
    names: Names, listener: ListenerSettings, site: Site, variants: Mapping[str, Sequence[ResolvedRoute]]
) -> Iterator[Section]:
    config = names.config
    own, marked = _own_filters(names), headers_of(names, config.own_policies, None)
    yield from _refused(own)
    places = [*site.exact, *site.patterns, *sorted(site.prefixes, key=lambda place: -len(place.path))]
    cors = cors_of(config.own_policies)
    for_all = cors is not None and _is_for_all(cors, places)
    if cors is not None:
        match = {"prefix": "/"} if for_all else regex_of_own(config.gateway.endpoints_of(listener).served())
        for each in preflights(names, cors, match):
            yield {**each, FILTERS: {**each[FILTERS], **marked}}
    yield from _endpoints(names, listener, site)
    seen: set[str] = set()
    prefixes = {
        place.path: [*_own_routes(place), *(each for each in place.routes if each.is_fallback)]
        for place in site.prefixes
    }
    for place in places:
        for route in _own_routes(place):
            if route.name in seen:
                continue
            seen.add(route.name)
            yield from _noted_route(names, route, variants, preflight=not for_all)
            for each in read_otherwise(route, prefixes):
                yield {**each, FILTERS: own}
    fallbacks = {route.name: route for place in places for route in place.routes if route.is_fallback}
    for route in fallbacks.values():
        yield from _noted_route(names, route, variants, preflight=not for_all)
    if fallbacks:
        return
    yield from _closers(places, own)
    paths = config.gateway.endpoints_of(listener).served()
    yield _closer(regex_of_own(path for path in paths if path in ("/", "/health")), _READING, own)
    if cors is not None and not for_all:
        for each in preflights(names, cors, {"prefix": "/"}):
            yield {**each, FILTERS: {**each[FILTERS], **marked}}
    if not any(place.path == "/" and any(map(is_open, place.routes)) for place in places):
        yield {**answered("no_route", {"prefix": "/"}), FILTERS: own}


def _refused(own: Section) -> Iterator[Section]:
    """What no route takes."""
    foreign = {"prefix": "/", "headers": [{**regex(":authority", _AUTHORITY), "invert_match": True}]}
    yield {"note": "refused: what is no host", **answered("malformed_request", foreign), FILTERS: own}
    traced: Section = {"prefix": "/", "headers": [words(":method", ["CONNECT", "TRACE"])]}
    yield {"note": "refused: methods for proxies", **answered("not_implemented", traced), FILTERS: own}
    for note, expression in REFUSED.items():
        match: Section = {"safe_regex": {"regex": expression}}
        yield {"note": f"refused: {note}", **answered("malformed_request", match), FILTERS: own}


def _own_routes(place: Place) -> list[ResolvedRoute]:
    """Those that are written for its path: the others have places of their own."""
    return [route for route in place.routes if route.path == place.path and not route.is_fallback]


def _is_for_all(cors: object, places: Iterable[Place]) -> bool:
    """Whether all routes have these settings, and take what they take whatever is asked."""
    routes = [route for place in places for route in place.routes]
    said = {id(settings): settings for route in routes for settings in [route.policies.get("cors", (None, ""))[0]]}
    return all(each == cors for each in said.values()) and all(
        is_open(route) and route.maintenance is None for route in routes
    )


def regex_of_own(paths: Iterable[str]) -> Section:
    """A match for the gateway's own endpoints."""
    found = sorted({"/livez", "/readyz", *paths})
    return {"safe_regex": {"regex": "|".join(found)}}


def _noted_route(
    names: Names, route: ResolvedRoute, variants: Mapping[str, Sequence[ResolvedRoute]], *, preflight: bool
) -> Iterator[Section]:
    source = "default route" if route.is_default else "route"
    target = f", service {route.service}" if route.service else ""
    note = f"{source} {route.name}{target}" + (f", version {route.version}" if route.version else "")
    sides = [route, *variants.get(route.name, ())] if route.split is not None else [route]
    if route.split is not None:
        note = f"route {route.name}, split"
    for own in routes_of(names, route, sides, preflight=preflight):
        yield {"note": note, **own}
        note = ""


def _closers(places: Sequence[Place], own: Section) -> Iterator[Section]:
    """What answers requests whose path has routes, though not for their method."""
    for place in places:
        if any(map(is_open, place.routes)):
            continue
        conditional = [route for route in place.routes if route.methods and (route.headers or route.query)]
        plain = sorted(
            {method for route in place.routes if not (route.headers or route.query) for method in methods_of(route)}
        )
        for route in conditional:
            allowed = sorted({*plain, *methods_of(route)})
            yield _closer(with_conditions(path_match(place.path), route, ()), allowed, own)
        if plain:
            yield _closer(path_match(place.path), plain, own)


def _closer(match: Section, methods: Sequence[str], own: Section) -> Section:
    return {
        **answered("method_not_allowed", match),
        "response_headers_to_add": [header("Allow", ", ".join(methods))],
        FILTERS: own,
    }


def _own_filters(names: Names) -> Section:
    """What the gateway's own answers say of the filters."""
    policies = names.config.own_policies
    return {**marking(names, policies), **headers_of(names, policies, None)}


def _endpoints(names: Names, listener: ListenerSettings, site: Site) -> Iterator[Section]:
    """The gateway's own endpoints; Envoy has no metrics there, and no documents."""
    config, own = names.config, _own_filters(names)
    found = dict.fromkeys(("/livez", "/readyz"), '{"status": "ok"}')
    limited = {**own, **networks(names, config.own_policies), **limits(names, config.own_policies, None)}
    endpoints = config.gateway.endpoints_of(listener)
    note = "the gateway's own endpoints"
    for path in own_paths(site, found, names.losses):
        text = found[path]
        yield {"note": note, **_said(path, text), FILTERS: own}
        note = ""
    for path in own_paths(site, endpoints.served(), names.losses):
        if endpoints.access(path) == "internal":
            names.losses.add(
                ("gateway", "endpoints", PATHS[path]), "Envoy does not show this to some networks only here"
            )
        if path == "/health":
            yield {**_said(path, '{"status": "healthy"}'), FILTERS: limited}
        elif path == "/":
            yield {**_said(path, json.dumps({"message": config.gateway.title})), FILTERS: limited}
        else:
            match = {"path": path, "headers": [words(":method", _READING)]}
            yield {**answered("no_route", match), FILTERS: own}


def _said(path: str, text: str) -> Section:
    return {
        "name": "own",
        "match": {"path": path, "headers": [words(":method", _READING)]},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
        "response_headers_to_add": [header("Content-Type", "application/json")],
    }
