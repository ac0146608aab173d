"""`failover` of routes: what is taken, and what is said of what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from portico.config import ConfigError, load_text

SERVICES = "services: {a: {url: 'http://a'}, b: {url: 'http://b'}, v: {versions: {v1: {url: 'http://v'}}}}\n"


def load(route: str) -> Any:
    return load_text(f"{SERVICES}routes: [{{service: a, path: /x, {route}}}]\n", "portico.yaml", {})


def test_the_forms() -> None:
    (route, *_) = load("failover: b").all_routes
    ((settings, other),) = route.failovers
    assert (settings.on, other.service, other.rewrite) == (("connect", 429, 503), "b", "/{path}")
    (route, *_) = load("failover: [b, {service: v, version: v1, on: [500, timeout], rewrite: keep}]").all_routes
    assert [(other.service, other.version, other.rewrite) for _, other in route.failovers] == [
        ("b", None, "/{path}"),
        ("v", "v1", "keep"),
    ]
    assert load("failover: false").all_routes[0].failovers == ()


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ("failover: c", 'there is no service "c"'),
        ("failover: a", "a is the route's own service, which has failed by then: name another one"),
        ("failover: [b, b]", "b is asked already: write it once"),
        ("failover: v", "only the versions of v have instances; write version: one of v1"),
        ("failover: {service: b, on: [200]}", "has to be 400 or more"),
        ("failover: {service: b, on: [never]}", "connect"),
        ("failover: http://b", "expected the name of a service"),
        ("failover: b, policies: {cache: {ttl: 5}}", "would be stored as the route's own"),
        ("failover: b, canary: {to: b}", "a canary has its sides for that"),
    ],
)
def test_what_cannot_be(route: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(route)
