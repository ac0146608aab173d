"""Splits: a route for each side that requests may name, and one for the shares, or one for each share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from portico.config import ConsistentHashSettings, ResolvedRoute
from portico.config.services import preserved
from portico.config.split import SplitChoice
from portico.render.envoy.clusters import cluster_of
from portico.render.envoy.forwarding import fraction
from portico.render.envoy.matches import asked, regex
from portico.render.envoy.names import ADD, FILTERS, Names, Section, duration, header
from portico.render.envoy.regexes import whole_value
from portico.render.expressions import literal

Make: TypeAlias = Callable[[ResolvedRoute, Section, Section | None], Section]
"""Makes a route: of what it matches, and of its clusters where they are not its service's."""


def split_routes(names: Names, sides: Sequence[ResolvedRoute], match: Section, make: Make) -> Iterator[Section]:
    """The routes of a split, of which `sides` are the sides."""
    route = sides[0]
    split = route.split
    assert split is not None
    if split.canary is not None:
        names.losses.add((*route.source, "canary"), "Envoy moves no weights: they stay as they begin")
    vary = _varying(split)
    for own in (*_named(sides, match, make), *_shared(names, sides, split, match, make)):
        yield _varied(own, vary)


def _named(sides: Sequence[ResolvedRoute], match: Section, make: Make) -> Iterator[Section]:
    """The routes of requests that say which side they take."""
    for side in sides:
        assert side.side is not None
        conditions = [asked(name, condition) for name, condition in side.side.headers.items()]
        conditions += [regex("cookie", _cookie(name, condition)) for name, condition in side.side.cookies.items()]
        for condition in conditions:
            yield make(side, {**match, "headers": [*match.get("headers", ()), condition]}, None)


def _shared(
    names: Names, sides: Sequence[ResolvedRoute], split: SplitChoice, match: Section, make: Make
) -> Iterator[Section]:
    """Those of all other requests."""
    shared = [side for side in sides if _weight(side) > 0] or [*sides[:1]]
    hashed = _hashed(split, sides[0].name)
    if len(shared) == 1:
        yield make(shared[0], match, None)
        return
    if len({_treatment(names, side) for side in shared}) == 1:
        yield make(sides[0], match, _weighted(names, shared, hashed))
        return
    if hashed is not None:
        why = "Envoy keeps no client at a side whose services are treated otherwise"
        names.losses.add((*sides[0].source, "sticky"), why)
    total, so_far = sum(map(_weight, shared)), 0.0
    for side in shared:  # all of them are asked with the same number at random
        so_far += _weight(side) / total
        yield make(
            side, match if side is shared[-1] else {**match, "runtime_fraction": fraction(min(so_far, 1.0))}, None
        )


def _weight(side: ResolvedRoute) -> float:
    assert side.side is not None
    return side.side.weight


def _hashed(split: SplitChoice, route: str) -> Section | None:
    """What keeps a client at its side."""
    sticky = split.sticky
    if sticky is None:
        return None
    if sticky.by == "client_ip":
        return {"connection_properties": {"source_ip": True}}
    if sticky.by == "consumer":
        return {"header": {"header_name": "x-consumer-username"}}
    if sticky.header is not None:
        return {"header": {"header_name": sticky.header.lower()}}
    name = f"portico_split_{route}" if sticky.cookie == "auto" else str(sticky.cookie)
    return {"cookie": {"name": name, "path": "/", "ttl": duration(sticky.max_age or 0)}}


def _varied(route: Section, fields: Sequence[str]) -> Section:
    if not fields:
        return route
    added = [*route.get("response_headers_to_add", ()), header("Vary", ", ".join(fields), ADD)]
    filters = route.pop(FILTERS)
    return {**route, "response_headers_to_add": added, FILTERS: filters}


def _varying(split: SplitChoice) -> list[str]:
    """The fields of requests on which the side depends."""
    found: dict[str, None] = {name: None for side in split.sides for name in side.headers}
    if split.sticky is not None and split.sticky.header is not None:
        found[split.sticky.header] = None
    if any(side.cookies for side in split.sides):
        found["Cookie"] = None
    return list(found)


def _cookie(name: str, condition: str | bool) -> str:
    value = "[^;]*" if condition is True else whole_value(str(condition))
    return rf"(?:.*; *)?{literal(name)}=(?:{value})(?:;.*)?"


def _treatment(names: Names, side: ResolvedRoute) -> tuple[Any, ...]:
    """Equal for sides whose requests are treated the same, but for where they go."""
    upstream = names.service(str(side.service), side.version)
    policies = tuple(sorted((key, id(settings)) for key, (settings, _) in side.policies.items()))
    hosts = {"" if preserved(side.preserve_host, each) else each.authority for each in upstream.instances}
    settings = (side.timeouts, side.retry, side.maintenance, side.sticky, upstream.hedge)
    hashes = isinstance(upstream.load_balancing, ConsistentHashSettings)
    return (side.rewrite, side.body_size, side.upgrades, policies, *sorted(hosts), repr(settings), hashes)


def _weighted(names: Names, sides: Sequence[ResolvedRoute], hashed: Section | None) -> Section:
    total, clusters = sum(map(_weight, sides)), []
    for side in sides:
        name = cluster_of(names, str(side.service), side.version, names.service(str(side.service), side.version))
        clusters.append({"name": name, "weight": max(1, round(_weight(side) / total * 10_000))})
    found: Section = {"weighted_clusters": {"clusters": clusters}}
    if hashed is None:
        return found
    found["weighted_clusters"]["use_hash_policy"] = True
    return {**found, "hash_policy": [hashed]}
