"""What may be written of discovery, and whose addresses are believed."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, load_dumped, refusal
from portico.core.found import Found

REDIS = "gateway: {redis_url: redis://h}\n"


@pytest.mark.parametrize(
    ("url", "allow", "believed"),
    [
        ("http://10.1.2.3:80", None, True),
        ("http://orders.internal", None, True),
        ("http://169.254.169.254", None, False),
        ("http://[fe80::1]", None, False),
        ("http://[::ffff:169.254.169.254]", None, False),
        ("http://0.0.0.0:80", None, False),
        ("http://224.0.0.1", None, False),
        ("http://2130706433", None, False),
        ("http://0x7f000001", None, False),
        ("http://127.1", None, False),
        ("http://10.1.2.3", ["10.0.0.0/8"], True),
        ("http://11.1.2.3", ["10.0.0.0/8"], False),
        ("http://[::ffff:10.1.2.3]", ["10.0.0.0/8"], True),
        ("http://a.example.com", ["*.example.com"], True),
        ("http://example.com", ["*.example.com"], False),
        ("http://evilexample.com", ["*.example.com"], False),
        ("http://orders", ["orders"], True),
        ("http://orders", ["10.0.0.0/8"], False),
    ],
)
def test_where_an_instance_may_be(url: str, allow: list[str] | None, believed: bool) -> None:
    assert (refusal(url, allow) is None) == believed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {discover: redis}}", "services.a.discover: needs a Redis"),
        ("discover: redis", "discover: needs a Redis"),
        ("discover: {source: admin, path: /x}", "discover.path: {name} has"),
        ("discover: {source: admin, allow: [10.0.0.1/8]}", "discover.allow[0]: the address has bits"),
        ("discover: {source: admin, service: {url: http://h}}", "discover.service.url: unknown key"),
        (
            "discover: {source: admin, service: {policies: {auth: {jwt: {}}}}}",
            "discover.service.policies.auth.jwt: jwt",
        ),
    ],
)
def test_what_is_refused(report: Report, text: str, message: str) -> None:
    (line,) = report(text)
    assert message in line


def test_services_that_are_found_survive_the_way(load: Load) -> None:
    config = load("services: {a: {url: http://h}}\ndiscover: {source: admin, path: '/x/{name}/y'}")
    admitted = config.admitting(["b", "a", "c"])
    there = load_dumped(dump_config(admitted))
    assert there.admitted == admitted.admitted == ("b", "c"), "what is written wins"
    assert [route.path for route in there.all_routes] == ["/x/b/y", "/x/c/y", "/api/a"]
    assert there.all_routes == admitted.all_routes
    assert [route.path for route in there.admitting(["c"]).all_routes] == ["/x/c/y", "/api/a"]


def test_which_instances_serve_which_version(load: Load) -> None:
    written = "{discover: redis, url: http://own, versions: {v1: {}, v2: {url: http://two}}}"
    service = load(REDIS + f"services: {{a: {written}}}").services["a"]
    found = [Found("http://own", 9), Found("http://any"), Found("http://1", 2, "v1"), Found("http://2", 1, "v2")]

    def members(version: str | None) -> list[tuple[str, int]]:
        return [(each.url, each.weight) for each in service.upstream(version, found).instances]

    assert members(None) == [("http://own", 1), ("http://any", 1)]
    assert members("v1") == [("http://own", 1), ("http://any", 1), ("http://1", 2)]
    assert members("v2") == [("http://two", 1), ("http://2", 1)]
