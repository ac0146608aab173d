"""Routes to several services at once, as they are written."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report

SERVICES = """
services:
  shop: {url: http://shop}
  next: {url: http://next}
  old: {url: http://old, versions: {v1: {}, v2: {url: http://two}}}
  asked: {url: http://asked, version_by: header, versions: {v1: {}, v2: {}}}
  guarded: {url: http://guarded, body_size: 1MiB, policies: {auth: {jwt: {secret: a-secret-of-32-bytes-or-more-123}}}}
"""
SIDES = "{service: shop, weight: 95}, {service: next, weight: 5}"


def split(sides: str = SIDES, more: str = "") -> str:
    return f"{SERVICES}routes: [{{path: /shop, split: [{sides}]{more}}}]"


@pytest.mark.parametrize(
    ("sides", "more", "message"),
    [
        ("", "", "split: has to hold 1 or more"),
        ("{service: shop}", "", 'split[0]: the key "weight" has to be written'),
        ("{service: shop, weight: 90%}", "", "weight: expected a number, in proportion to the other weights"),
        ("{service: shop, weight: true}", "", "split[0].weight: expected a number"),
        ("{service: shop, weight: -1}", "", "split[0].weight: has to be 0 or more"),
        ("{service: shop, weight: 0}, {service: next, weight: 0}", "", "split: the weights are all 0"),
        ("{service: shop, weight: 1}, {service: next, weight: 0.00001}", "", "split[1].weight: is 0.001 % of the sum"),
        ("{service: shopp, weight: 1}", "", 'split[0].service: there is no service "shopp"; did you mean "shop"?'),
        ("{service: old, version: v3, weight: 1}", "", 'split[0].version: the service old has no version "v3"'),
        ("{service: asked, weight: 1}", "", "split[0].service: write the version of asked, too: one of v1, v2"),
        (f"{SIDES}, {{service: shop, weight: 1}}", "", "split[2].service: is a side already"),
        (SIDES, ", version: v1", "routes[0].version: of several services each has its own: write it into the split"),
        (SIDES, ", service: shop", "split: the route has a service already: keep one of them"),
        (SIDES, ", respond: {status: 200}", "respond: the route has a split already: keep one of them"),
        (SIDES, ", sticky: cookies", "sticky: expected consumer, cookie, client_ip, {cookie: NAME}, {header: NAME} or"),
        (SIDES, ", sticky: {}", "sticky: says nothing of how a client is known again: write consumer, cookie"),
        (SIDES, ", sticky: {max_age: 1h}", "sticky: says nothing of how a client is known again: write consumer"),
        (SIDES, ", sticky: {header: X-User, cookie: user}", "sticky: has both cookie and header; keep one of them"),
        (SIDES, ", sticky: {header: X-User, max_age: 1h}", "sticky: max_age is for cookie alone; leave it out"),
        (SIDES, ", otherwise: drop", "otherwise: expected one of others, refuse"),
        (
            "{service: shop, weight: 1, headers: }",
            "",
            'headers: nothing is written after the colon: write headers: {X-Canary: "1"}',
        ),
        ("{service: shop, weight: 1, cookies: {a b: x}}", "", "split[0].cookies"),
        (
            "{service: shop, weight: 1}, {service: guarded, weight: 1}",
            ", body_size: 1KiB",
            "split: the policies auth of shop and guarded differ, and apply before one of them is chosen: write "
            "policies: {auth: …} at the route",
        ),
        (
            "{service: shop, weight: 1}, {service: guarded, weight: 1}",
            ", policies: {auth: false}",
            "split: body_size of shop and guarded differ, and apply before one of them is chosen: write body_size at",
        ),
    ],
)
def test_what_makes_no_sense(report: Report, sides: str, more: str, message: str) -> None:
    (line,) = report(split(sides, more))
    assert message in line


@pytest.mark.parametrize("key", ["sticky: cookie", "otherwise: refuse"])
def test_keys_that_need_a_split(report: Report, key: str) -> None:
    (line,) = report(f"{SERVICES}routes: [{{path: /shop, service: shop, {key}}}]")
    assert f"{key.partition(':')[0]}: is for routes with a split or a canary: leave it out" in line


def test_a_route_to_each_side(load: Load) -> None:
    routes = load(split("{service: shop, weight: 9}, {service: old, version: v2, weight: 1}")).all_routes
    sides = [route for route in routes if route.path == "/shop"]
    assert [(route.name, route.service, route.version, route.is_variant) for route in sides] == [
        ("shop", "shop", None, False),
        ("shop", "old", "v2", True),
    ]
    assert sides[0].split is not None
    assert sides[0].split.weights == {"shop": 9, "old@v2": 1}


def test_in_place_of_a_default_route(load: Load) -> None:
    routes = load(split().replace("/shop,", "/api/shop,")).all_routes
    assert [(route.name, route.service) for route in routes if route.path == "/api/shop"] == [
        ("shop", "shop"),
        ("shop", "next"),
    ]
