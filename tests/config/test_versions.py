"""Versions of services, as they are written."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report

SERVICE = "services: {{shop: {{url: http://h, {}}}}}"


def routes(load: Load, service: str, more: str = "") -> list[tuple[str, str, str | None, str]]:
    return [
        (route.name, route.path, route.version, route.rewrite)
        for route in load(SERVICE.format(service) + "\n" + more).all_routes
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("version_by: header", "shop: has no versions to choose from: write versions: {v1: {}, v2: {}}"),
        ("default_version: v1", "shop: has no versions to choose from: write versions: {v1: {}, v2: {}}"),
        ("versions: {v1: {}}, default_version: v1", "shop: default_version needs a version_by with header, media_type"),
        ("versions: {v1: {}}, version_by: header, default_version: v2", "write one of v1, latest"),
        ("versions: {v1: {}}, version_by: []", "shop.version_by: has to hold 1 or more"),
        ("versions: {v1: {}}, version_by: [header, {header: X}]", "shop: version_by has the same kind twice"),
        ("versions: {v1: {}}, version_by: [heder]", 'did you mean "header"?'),
        (
            "versions: {v1: {}, V1: {}}, version_by: header",
            "shop: versions need names that differ in more than the case",
        ),
        ("versions: {latest: {}}, version_by: header", "shop: versions need names that differ"),
        ("versions: {v1: {deprecated: soon}}", "v1.deprecated: expected a date such as 2026-12-01, midnight UTC"),
        ("versions: {v1: {deprecated: 2026-13-01}}", "v1.deprecated: expected a date such as 2026-12-01, midnight UTC"),
        ("versions: {v1: {deprecated: true}}", "v1.deprecated: expected a date such as 2026-12-01, midnight UTC"),
        ("versions: {v1: {sunset: }}", "v1.sunset: nothing is written after the colon: write a date"),
        ("versions: {v1: {sunset: {at: 2027-01-01, url: /x}}}", "sunset.url: expected the URL of a page"),
        ("versions: {v1: {deprecated: 2026-12-02, sunset: 2026-12-01}}", "versions.v1: its sunset comes before it is"),
        ("versions: {v1: {rewrite: /x}}", "v1.rewrite: expected a path with {path} in it"),
        ("versions: {v1: {rewrite: '/{name}/{path}'}}", "v1.rewrite: expected a path with {path} in it"),
    ],
)
def test_what_makes_no_sense(report: Report, written: str, message: str) -> None:
    (line,) = report(SERVICE.format(written))
    assert message in line


def test_a_plain_date_is_midnight_utc(load: Load) -> None:
    versions = "versions: {v1: {deprecated: 2026-12-01, sunset: {at: '2027-06-01T02:00:00+02:00', keep_serving: true}}}"
    version = load(SERVICE.format(versions)).services["shop"].versions["v1"]
    assert version.deprecated
    assert version.sunset
    assert version.deprecated.at.timestamp() == 1796083200
    assert version.sunset.at.isoformat() == "2027-06-01T02:00:00+02:00"


def test_by_path_alone_all_is_as_it_was(load: Load) -> None:
    assert routes(load, "versions: {v1: {}, v2: {rewrite: '/two/{path}'}}") == [
        ("shop", "/api/shop", None, "/{path}"),
        ("shop-v1", "/v1/shop", "v1", "/api/{path}"),
        ("shop-v2", "/v2/shop", "v2", "/two/{path}"),
    ]


def test_a_route_is_there_for_each_version_with_one_name(load: Load) -> None:
    found = routes(
        load,
        "version_by: [header, path, query], versions: {v1: {}, v2: {rewrite: keep}}, default_version: latest",
        "routes: [{service: shop, path: /shop}, {service: shop, version: v1, path: /one}]",
    )
    assert found == [
        ("shop", "/shop", "v2", "keep"),
        ("shop", "/shop", "v1", "/{path}"),
        ("shop-v1", "/one", "v1", "/{path}"),
        ("shop-2", "/api/shop", "v2", "keep"),
        ("shop-2", "/api/shop", "v1", "/{path}"),
        ("shop-v1-2", "/v1/shop", "v1", "/api/{path}"),
        ("shop-v1-2", "/v1/shop", "v2", "keep"),
        ("shop-v2", "/v2/shop", "v2", "keep"),
        ("shop-v2", "/v2/shop", "v1", "/api/{path}"),
    ]


def test_versions_that_have_instances_need_no_others(load: Load) -> None:
    versions = "version_by: header, versions: {v1: {url: http://one}, v2: {url: http://two}}"
    found = load(f"services: {{shop: {{{versions}}}}}\nroutes: [{{service: shop, path: /shop}}]").all_routes
    assert [(route.path, route.version, route.is_variant) for route in found] == [
        ("/shop", "v1", False),
        ("/shop", "v2", True),
        ("/api/shop", "v1", False),
        ("/api/shop", "v2", True),
    ]


def test_what_is_in_maintenance_is_counted_by_written_routes(load: Load) -> None:
    service = SERVICE.format("version_by: header, versions: {v1: {}, v2: {maintenance: true}}")
    written = "routes: [{service: shop, path: /a}, {service: shop, path: /b, name: b, maintenance: true}]"
    assert load(f"{service}\n{written}").in_maintenance == ["shop@v2", "route b"]
