"""Hosts and paths, and which routes are asked for each, in the order of Portico's router."""

from __future__ import annotations

from portico.config import load_text
from portico.render.sites import Site, sites_of

BEGIN = "services: {a: {url: 'http://127.0.0.1:9001', default_routes: false}}\nroutes:\n"


def sites(*routes: str) -> list[Site]:
    lines = "".join(f"  - {{service: a, {route}}}\n" for route in routes)
    return sites_of(load_text(BEGIN + lines, "edge.yaml", {}).all_routes)


def asked(site: Site) -> dict[str, list[str]]:
    return {place.path: [route.name for route in place.routes] for place in site.places}


def test_conditions_come_before_what_takes_everything_and_prefixes_above_after() -> None:
    (site,) = sites(
        "name: all, path: /",
        "name: open, path: /x/y, methods: [GET]",
        "name: exact, path: = /x/y, headers: {A: b}",
        "name: two, path: /x/y, headers: {A: b}, methods: [GET]",
    )
    assert asked(site) == {
        "= /x/y": ["exact", "two", "open", "all"],
        "/": ["all"],
        "/x/y": ["two", "open", "all"],
    }


def test_an_exact_path_without_its_conditions_goes_to_patterns_first() -> None:
    (site,) = sites("name: all, path: /", "name: like, path: '~ ^/x'", "name: exact, path: = /x, methods: [GET]")
    assert asked(site)["= /x"] == ["exact", "like"]


def test_hosts_with_the_same_routes_are_one_site_and_wildcards_are_asked_after_names() -> None:
    found = sites(
        "name: any, path: /",
        "name: both, path: /, methods: [GET], hosts: [a.test, b.test]",
        "name: wild, path: /, methods: [GET], hosts: ['*.x.test']",
        "name: one, path: /, methods: [PUT], hosts: [y.x.test]",
    )
    assert {site.hosts: asked(site)["/"] for site in found} == {
        ("a.test", "b.test"): ["both", "any"],
        ("*.x.test",): ["wild", "any"],
        ("y.x.test",): ["one", "wild", "any"],
        (): ["any"],
    }


def test_a_fallback_comes_last() -> None:
    (site,) = sites("name: rest, fallback: true", "name: x, path: /x, methods: [GET]")
    assert asked(site) == {"/x": ["x", "rest"], "/": ["rest"]}


def test_a_pattern_with_conditions_may_go_on_to_others() -> None:
    (site,) = sites("name: like, path: '~ ^/x', methods: [GET]", "name: all, path: /")
    assert [place.may_fall for place in site.patterns] == [True]
