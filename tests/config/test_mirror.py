"""`mirror` of routes: what may be written, and what is said of what may not."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import MirrorSettings, json_schema, warnings_for

SERVICES = """\
services:
  shop: {url: http://h:1, versions: {v2: {url: http://h:2}}}
  shadow: {url: http://h:3, default_routes: false}
  cut: {versions: {v1: {url: http://h:4}}}
"""


def mirrors(load: Load, written: str) -> tuple[MirrorSettings, ...]:
    return load(SERVICES + f"routes: [{{service: shop, path: /s, mirror: {written}}}]").all_routes[0].mirrors


def test_the_short_form(load: Load) -> None:
    (mirror,) = mirrors(load, "shadow")
    assert mirror == MirrorSettings(service="shadow")
    assert (mirror.share, mirror.max_body, mirror.max_in_flight, mirror.timeout) == (1.0, 65536, 100, None)


def test_everything_written(load: Load) -> None:
    (mirror,) = mirrors(
        load,
        "{service: cut, version: v1, share: 10%, methods: [get, POST], max_body: 1MiB, max_in_flight: 5, "
        "timeout: 500ms, remove_headers: [Authorization, X-API-Key, X-Consumer-Username]}",
    )
    assert (mirror.service, mirror.version, mirror.share) == ("cut", "v1", 0.1)
    assert mirror.methods == ("GET", "POST")
    assert (mirror.max_body, mirror.max_in_flight, mirror.timeout) == (1 << 20, 5, 0.5)
    assert mirror.remove_headers == ("Authorization", "X-API-Key", "X-Consumer-Username")


def test_several_and_none(load: Load) -> None:
    assert [each.service for each in mirrors(load, "[shadow, {service: cut, version: v1}]")] == ["shadow", "cut"]
    assert mirrors(load, "false") == ()
    assert [each.version for each in mirrors(load, "{service: shop, version: v2}")] == ["v2"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("shado", 'mirror.service: there is no service "shado"; did you mean "shadow"?'),
        ("{service: shop}", "mirror.service: requests go to shop anyway, which would get them twice: name another"),
        ("{service: cut, version: v3}", 'mirror.version: the service cut has no version "v3"'),
        ("cut", "mirror.service: only the versions of cut have instances; write version: one of v1"),
        ("[shadow, shadow]", "mirror[1].service: shadow gets copies already: write it once"),
        ("", "mirror: nothing is written after the colon: write mirror: SERVICE, or mirror: {service: SERVICE"),
        ("{share: 10%}", 'mirror: the key "service" has to be written'),
        ("{service: shadow, share: 200%}", "mirror.share: has to be 1 or less"),
        ("{service: shadow, share: 10}", "mirror.share: has to be 1 or less: write 10% or 0.1"),
        ("http://h", "mirror: expected the name of a service: write its url under services"),
        ("{service: shadow, max_in_flight: 0}", "mirror.max_in_flight: has to be 1 or more"),
        ("{service: shadow, timeout: 0}", "mirror.timeout: has to be more than 0"),
        (
            "{service: shadow, methods: }",
            "mirror.methods: nothing is written after the colon: write methods: [GET, HEAD]",
        ),
        ("{service: shadow, remove_headers: [Host]}", "mirror.remove_headers[0]: Host"),
        ("{service: shadow, remove_headers: [Content-Length]}", "mirror.remove_headers[0]: Content-Length"),
        ("{service: shadow, bodies: 1}", "mirror.bodies: unknown key"),
        ("true", "mirror: expected keys and values or a list"),
    ],
)
def test_what_is_wrong(report: Report, written: str, message: str) -> None:
    (line,) = report(SERVICES + f"routes:\n  - service: shop\n    path: /s\n    mirror: {written}\n")
    assert f"routes[0].{message}" in line


@pytest.mark.parametrize(
    "targets",
    [
        "split: [{service: shop, version: v2, weight: 1}, {service: shadow, weight: 1}]",
        "service: shop, version: v2, canary: {to: shadow}",
    ],
)
def test_no_side_gets_copies_of_what_it_gets_anyway(report: Report, load: Load, targets: str) -> None:
    (line,) = report(SERVICES + f"routes: [{{{targets}, path: /s, mirror: [{{service: cut, version: v1}}, shadow]}}]")
    assert "routes[0].mirror[1].service: requests go to shadow anyway" in line
    routes = load(SERVICES + f"routes: [{{{targets}, path: /s, mirror: {{service: cut, version: v1}}}}]").all_routes
    assert [[each.service for each in route.mirrors] for route in routes if route.path == "/s"] == [["cut"], ["cut"]]


def test_a_route_that_answers_itself_has_none(report: Report) -> None:
    (line,) = report(SERVICES + "routes: [{path: /s, respond: 204, mirror: shadow}]")
    assert "routes[0].mirror: is about a service, and a route with respond has none: leave it out" in line


@pytest.mark.parametrize(("default_routes", "is_warned"), [("", True), (", default_routes: true", False)])
def test_a_mirror_that_clients_reach(load: Load, default_routes: str, is_warned: bool) -> None:
    services = f"services: {{shop: {{url: http://h:1}}, shadow: {{url: http://h:2{default_routes}}}}}\n"
    config = load(services + "routes: [{service: shop, path: /s, mirror: shadow}]")
    lines = [str(problem) for problem in warnings_for(config) if "gets copies" in str(problem)]
    assert len(lines) == is_warned
    assert all(
        "services.shadow: it gets copies of requests, and clients reach it as /api/shadow" in each for each in lines
    )


def test_a_version_that_only_gets_copies_is_used(load: Load) -> None:
    mirror = "mirror: [shadow, {service: cut, version: v1}]"
    config = load(SERVICES + f"routes: [{{service: shop, path: /s, {mirror}}}]")
    assert not [each for each in warnings_for(config) if "no route leads" in str(each)]


def test_it_is_described(load: Load) -> None:
    described = json_schema()["$defs"]["MirrorSettings"]["description"]
    assert "its answers are read and dropped" in described
