"""The index of guarded routes finds what a look at every pair of routes finds."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from portico.config import Config, load_text
from portico.config.problems import Finding
from portico.config.resolve import ResolvedRoute
from portico.config.unguarded import unguarded_defaults, unguarded_prefixes, unguarded_slashes
from portico.core.route_paths import beginning_of, is_pattern, is_prefix

GUARDS = {"auth": {"jwt": {"secret": "k" * 32}}, "authorize": {"scopes": ["x"]}, "ip_filter": {"deny": ["10.0.0.1"]}}
PATHS = ("/", "/a", "/a/b", "/a/b/c", "/ab", "/a-b/c", "= /a/b", "~ ^/a/[0-9]+$", "~ ^/a/b/[^/]+/x", "~ /b$", "~ ^/a$")


@st.composite
def routes(draw: st.DrawFn) -> dict[str, object]:
    guards = draw(st.sets(st.sampled_from(sorted(GUARDS)), max_size=2))
    return {
        "service": draw(st.sampled_from(("one", "two"))),
        "path": draw(st.sampled_from(PATHS)),
        "encoded_slashes": draw(st.booleans()),
        "hosts": draw(st.lists(st.sampled_from(("a.x", "b.x", "*.x", "c.y")), max_size=2, unique=True)),
        "policies": {guard: GUARDS[guard] for guard in guards},
    }


def configuration(written: list[dict[str, object]], guarded: list[str]) -> Config:
    each = [{**route, "headers": {"X-Number": str(number)}} for number, route in enumerate(written)]
    services = {name: {"url": "http://h"} for name in ("one", "two")}
    for name in guarded:
        services[name] |= {"policies": {"auth": GUARDS["auth"]}}  # type: ignore[dict-item]
    return load_text(json.dumps({"services": services, "routes": each}), "portico.yaml", {})


def beginning(route: ResolvedRoute) -> str:
    return beginning_of(route.path).rstrip("/") + "/"


def missing(other: ResolvedRoute, route: ResolvedRoute) -> set[str]:
    return GUARDS.keys() & other.policies.keys() - route.policies.keys()


def pairs(all_routes: tuple[ResolvedRoute, ...]) -> Iterator[tuple[ResolvedRoute, ResolvedRoute]]:
    """A route and one below it, of the same service and for the same host, with a guard that the former has not."""
    for route in all_routes:
        for other in all_routes:
            names = {*route.hosts, *other.hosts}
            meet = not (route.hosts and other.hosts) or "*.x" in names or set(route.hosts) & set(other.hosts)
            is_below = beginning(other).startswith(beginning(route)) and beginning(other) != beginning(route)
            if missing(other, route) and is_below and meet and route.service == other.service:
                yield route, other


def named(findings: Iterator[Finding]) -> list[tuple[object, str]]:
    """The route that each finding is for, and what it misses of which."""
    return [(each.path[1], each.message.partition(" passes without ")[2].partition(":")[0]) for each in findings]


@given(st.lists(routes(), max_size=8), st.lists(st.sampled_from(("one", "two")), max_size=2))
@settings(max_examples=60, deadline=None)
def test_it_finds_what_a_look_at_every_pair_finds(written: list[dict[str, object]], guarded: list[str]) -> None:
    config = configuration(written, guarded)
    each = config.all_routes
    said = [(a.source[1], f"{' and '.join(sorted(missing(b, a)))} of the route {b.name}", a, b) for a, b in pairs(each)]
    slashes = [(index, words) for index, words, route, _ in said if route.encoded_slashes]
    assert named(unguarded_slashes(each)) == slashes
    patterns = [(index, words) for index, words, route, b in said if is_pattern(route.path) and is_prefix(b.path)]
    found = iter(patterns)  # those without a path in common are left out
    assert all(any(finding == other for other in found) for finding in named(unguarded_prefixes(each)))
    open_ways = [
        index
        for index, route in enumerate(config.routes)
        if any(
            other.is_default
            and other.service == route.service
            and GUARDS.keys() & route.policies.model_fields_set - other.policies.keys()
            for other in each
        )
    ]
    assert [finding.path[1] for finding in unguarded_defaults(config)] == open_ways
