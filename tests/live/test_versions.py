"""Versions of a service: which one a request gets, and what clients of one that ends are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import ask
from support.documented import example
from support.messages import Message
from support.metrics import metric
from support.tokens import SECRET, token
from support.world import Gateway, until

DATES = {"deprecated": "2026-12-01", "sunset": "2027-06-01"}
DEPRECATION, SUNSET = "@1796083200", "Tue, 01 Jun 2027 00:00:00 GMT"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
SHOP = "application/vnd.shop"


def saying(connection: Connection) -> None:
    """A service that says of itself what the gateway says of its versions, and may be cached."""
    while (asked := connection.next_request()) is not None:
        own = ("Deprecation: @1", "Sunset: Thu, 01 Jan 1970 00:00:00 GMT", 'ETag: "one"', "Cache-Control: max-age=60")
        unchanged = asked.get("if-none-match") == '"one"'
        body = f"{asked.target} {asked.get('api-version')} {len(connection.backend.requests)}".encode()
        if unchanged:
            connection.send("\r\n".join(["HTTP/1.1 304 Not Modified", *own, "", ""]).encode())
        else:
            connection.answer(body, "404 Not Found" if "missing" in asked.target else "200 OK", *own)


def configuration(one: Backend, two: Backend, gone: str) -> dict[str, Any]:
    both = {"v1": {"url": one.url}, "v2": {"url": two.url}}
    ending = {"v1": {**both["v1"], **DATES}, "v2": both["v2"]}
    unchecked = {"health_check": False}
    spoken = {"url": one.url, **unchecked}
    return {
        "services": {
            "shop": {**unchecked, "version_by": ["media_type"], "versions": both},
            "latest": {**unchecked, "version_by": "header", "default_version": "latest", "versions": both},
            "asked": {**unchecked, "version_by": ["header", "query"], "default_version": False, "versions": both},
            "first": {**unchecked, "version_by": ["header", "path"], "versions": ending},
            "paths": {**unchecked, "versions": ending},
            "guarded": {
                **unchecked,
                "version_by": ["header", "query"],
                "versions": {**ending, "v1": {**ending["v1"], "policies": {"auth": {"jwt": {"secret": SECRET}}}}},
            },
            "tight": {
                **unchecked,
                "versions": {
                    **ending,
                    "v1": {**ending["v1"], "policies": {"rate_limit": {"requests_per_minute": 1, "burst": 1}}},
                },
            },
            "pages": {
                **spoken,
                "versions": {
                    "v1": {
                        "deprecated": {"at": "2026-12-01T01:00:00+01:00", "url": "https://example.com/old"},
                        "sunset": {"at": "2027-06-01T00:00:00", "url": "https://example.com/end"},
                    }
                },
            },
            "gone": {
                **spoken,
                "version_by": ["path", "header"],
                "versions": {
                    "v1": {"sunset": gone},
                    "v2": {"sunset": {"at": gone, "keep_serving": True}},
                    "v3": {},
                },
            },
            "limited": {
                **spoken,
                "version_by": "header",
                "versions": {
                    "v1": {"body_size": 10, "case_insensitive": True},
                    "v2": {"body_size": 100, "maintenance": True},
                },
            },
            "stored": {
                **spoken,
                "version_by": "header",
                "versions": {"v1": DATES, "v2": {}},
                "policies": {"cache": {}},
            },
        },
        "routes": [
            {"service": "limited", "path": "/api/limited/Admin", "policies": {"auth": {"jwt": {"secret": SECRET}}}}
        ],
        "policies": {"cors": {"allow_origins": ["https://app.example"]}},
    }


@pytest.fixture(scope="module")
def backends() -> Iterator[tuple[Backend, Backend]]:
    with Backend(saying) as one, Backend(saying) as two:
        yield one, two
        assert not one.errors + two.errors


GONE_AFTER = 4.0
"""Seconds until the version ends whose end is awaited."""


@pytest.fixture(scope="module")
def gateway(backends: tuple[Backend, Backend]) -> Iterator[Gateway]:
    gone = datetime.fromtimestamp(time.time() + GONE_AFTER, UTC).isoformat()
    with Gateway(configuration(*backends, gone)) as own:
        own.wait_for_control()
        yield own


def served_by(answer: Message, backends: tuple[Backend, Backend]) -> str | None:
    """The version that the answer names; the instances agree."""
    for version, backend in zip(("v1", "v2"), backends, strict=True):
        if answer.status == 200 and answer.get("api-version") == version:
            with backend.lock:
                assert answer.body.decode().partition(" ")[0] == backend.requests[-1].target
            return version
    return None


def varies(answer: Message) -> list[str]:
    """What it varies by, beside the origin of pages."""
    return [value for value in answer.all("vary") if value != "Origin"]


# ---- the best version that exists


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (f"{SHOP}.v3+json, {SHOP}.v2+json;q=0.9, {SHOP}.v1+json;q=0.8", "v2"),
        (f"{SHOP}.v1+json;q=0.8, {SHOP}.v2+json;q=0.7", "v1"),
        (f"{SHOP}.v1+json, {SHOP}.v2+json", "v2"),
        (f"{SHOP}.2+json", "v2"),
        (f"{SHOP}.V2", "v2"),
        (f"{SHOP}.v3+json, */*;q=0.1", "v1"),
        (f"{SHOP}.v2+json;q=0.5, application/json", "v1"),
        (f"{SHOP}.v1+json;q=0, */*", "v2"),
        (f"{SHOP}.order+json", "v1"),
        ("application/json", "v1"),
        (BROWSER, "v1"),
        ("application/vnd.other.v2+json", "v1"),
        (None, "v1"),
    ],
)
def test_by_media_type(gateway: Gateway, backends: tuple[Backend, Backend], accept: str | None, version: str) -> None:
    for _ in range(2):  # what is remembered is the same
        answer = gateway.get("/api/shop/x", *([f"Accept: {accept}"] if accept else []))
        assert served_by(answer, backends) == version
        assert varies(answer) == ["Accept"]
        assert answer.all("api-version") == [version]


@pytest.mark.parametrize("accept", [f"{SHOP}.v3+json", f"{SHOP}.v3+json, {SHOP}.v1+json;q=0, {SHOP}.v2+json;q=0.0"])
def test_a_media_type_of_no_version(gateway: Gateway, accept: str) -> None:
    answer = gateway.get("/api/shop/x", f"Accept: {accept}", "Origin: https://app.example")
    assert (answer.status, answer.json()["reason"]) == (406, "version_not_acceptable")
    assert f"{SHOP}.v1+json, {SHOP}.v2+json" in answer.json()["detail"]
    assert answer.all("vary") == ["Accept", "Origin"]
    assert answer.get("api-version") is None
    assert answer.get("access-control-allow-origin") == "https://app.example", "a page can read it"
    assert "version" not in gateway.logged(answer.get("x-request-id"))


def test_one_connection_asks_for_several(gateway: Gateway, backends: tuple[Backend, Backend]) -> None:
    """Heads that repeat are one object, of which more than the version is remembered."""
    with gateway.wire() as wire:
        for version in ("v1", "v1", "v2", "v2", "v1"):
            answer = wire.ask("GET", "/api/shop/x", f"Accept: {SHOP}.{version}+json")
            assert served_by(answer, backends) == version
            answer = wire.ask("GET", "/api/latest/x", f"Accept: {SHOP}.{version}+json")
            assert served_by(answer, backends) == "v2", "another service chooses by something else"


def test_by_header(gateway: Gateway, backends: tuple[Backend, Backend]) -> None:
    for lines, version in (
        ([], "v2"),
        (["API-Version: v1"], "v1"),
        (["Accept-Version: 1"], "v1"),
        (["Accept-Version: v2", "API-Version: v1"], "v1"),
        (["API-Version: latest"], "v2"),
    ):
        answer = gateway.get("/api/latest/x", *lines)
        assert served_by(answer, backends) == version, lines
        assert varies(answer) == ["API-Version, Accept-Version"]


@pytest.mark.parametrize("lines", [["API-Version: v3"], ["API-Version:"], ["API-Version: v1", "API-Version: v2"]])
def test_a_header_of_no_version(gateway: Gateway, lines: list[str]) -> None:
    answer = gateway.get("/api/latest/x", *lines)
    assert (answer.status, answer.json()["reason"]) == (400, "version_unknown")
    assert answer.json()["detail"] == "latest has no such version; there is v1, v2"
    assert varies(answer) == ["API-Version, Accept-Version"]


def test_one_has_to_be_named(gateway: Gateway, backends: tuple[Backend, Backend]) -> None:
    answer = gateway.get("/api/asked/x")
    assert (answer.status, answer.json()["reason"]) == (400, "version_missing")
    assert answer.json()["detail"] == "say which version of asked you want: v1 or v2"
    assert served_by(gateway.get("/api/asked/x?a&version=v2"), backends) == "v2"
    assert served_by(gateway.get("/api/asked/x?%76ersion=%562"), backends) == "v2"
    assert served_by(gateway.get("/api/asked/x?version=v2", "API-Version: v1"), backends) == "v1"
    for query in ("version=v3", "version=", "version=v1&version=v2"):
        assert gateway.get(f"/api/asked/x?{query}").json()["reason"] == "version_unknown", query
    preflight = ("Origin: https://app.example", "Access-Control-Request-Method: GET")
    assert gateway.ask("OPTIONS", "/api/asked/x", *preflight).status == 204


def test_what_comes_before_the_path(gateway: Gateway, backends: tuple[Backend, Backend]) -> None:
    for target, lines, version in (
        ("/v2/first/x", [], "v2"),
        ("/v2/first/x", ["API-Version: v1"], "v1"),
        ("/api/first/x", ["API-Version: v2"], "v2"),
    ):
        answer = gateway.get(target, *lines)
        assert served_by(answer, backends) == version
        assert varies(answer) == ["API-Version, Accept-Version"]
    assert gateway.get("/v1/latest/x").status == 404, "version_by has no path"


# ---- a version that ends


def says_so(answer: Message, link: str) -> None:
    assert answer.all("deprecation") == [DEPRECATION]
    assert answer.all("sunset") == [SUNSET]
    assert link in answer.all("link")


def says_nothing(answer: Message) -> None:
    assert answer.get("link") is None
    assert (answer.get("deprecation"), answer.get("sunset")) == ("@1", "Thu, 01 Jan 1970 00:00:00 GMT")


def test_every_response_says_that_it_ends(gateway: Gateway) -> None:
    for target, lines, status in (
        ("/v1/paths/x?a=b", [], 200),
        ("/v1/paths/x?a=b", ['If-None-Match: "one"'], 304),
        ("/v1/paths/missing", [], 404),
        ("/v1/paths/", [], 200),
        ("/v1/tight/x", [], 200),
        ("/v1/tight/x", [], 429),
    ):
        answer = gateway.get(target, *lines)
        assert answer.status == status
        says_so(answer, f'<{target.replace("v1", "v2")}>; rel="successor-version"')
        assert (varies(answer), answer.get("api-version")) == ([], None), "the path says which it is"
    for target in ("/v2/paths/x", "/v2/paths/missing", "/v2/tight/x"):
        says_nothing(gateway.get(target))


def test_the_same_by_header_and_query(gateway: Gateway) -> None:
    link = '</api/guarded/x?a&version=v2>; rel="successor-version"; title="v2"'
    for lines, status in (([], 401), ([f"Authorization: Bearer {token()}"], 200)):
        answer = gateway.get("/api/guarded/x?version=v1&a", *lines)
        assert answer.status == status
        assert answer.get("api-version") == "v1"
        says_so(answer, link)
    says_nothing(gateway.get("/api/guarded/x?version=v2"))


def test_what_is_refused_before_all_policies_says_so_too(gateway: Gateway) -> None:
    answer = gateway.ask("POST", "/v1/paths/x", "Content-Length: 99999999999")
    assert answer.status == 413
    says_so(answer, '</v2/paths/x>; rel="successor-version"')


def test_a_successor_is_no_way_out_of_the_link(gateway: Gateway) -> None:
    answer = gateway.get('/v1/paths/x>;rel="start"?y>')
    assert answer.all("link") == ['</v2/paths/x%3E;rel=%22start%22?y%3E>; rel="successor-version"']


def test_pages_about_it(gateway: Gateway) -> None:
    answer = gateway.get("/v1/pages/x")
    assert (answer.all("deprecation"), answer.all("sunset")) == ([DEPRECATION], [SUNSET]), "in any zone"
    assert answer.all("link") == [
        '<https://example.com/old>; rel="deprecation"; type="text/html"',
        '<https://example.com/end>; rel="sunset"; type="text/html"',
    ], "and there is no later version"


def test_a_version_that_has_ended(gateway: Gateway) -> None:
    until(lambda: gateway.get("/v1/gone/x").status == 410, "its sunset passes")
    answer = gateway.get("/v1/gone/x", "Origin: https://app.example")
    assert (answer.status, answer.json()["reason"]) == (410, "version_gone")
    assert answer.json()["detail"] == "v1 of gone has ended; use v3"
    assert answer.get("link") == '</v3/gone/x>; rel="successor-version"'
    assert answer.get("sunset")
    assert answer.get("api-version") == "v1"
    assert answer.get("access-control-allow-origin") == "https://app.example"
    assert gateway.get("/v2/gone/x").status == 200, "keep_serving"
    assert gateway.get("/api/gone/x", "API-Version: v1").status == 410
    unknown = gateway.get("/api/gone/x", "API-Version: v9")
    assert unknown.json()["detail"] == "gone has no such version; there is v2, v3"
    assert gateway.logged(answer.get("x-request-id"))["version"] == "v1", "who still calls it is seen"


# ---- beside the rest of the gateway


def test_a_cache_keeps_versions_apart(gateway: Gateway) -> None:
    """Both have the same instance and the same path there."""
    first = {version: gateway.get("/api/stored/x", f"API-Version: {version}") for version in ("v1", "v2")}
    again = {version: gateway.get("/api/stored/x", f"API-Version: {version}") for version in ("v1", "v2")}
    for version, answer in again.items():
        assert gateway.logged(answer.get("x-request-id"))["cache"] == "hit"
        assert answer.body == first[version].body
        assert f" {version} " in answer.body.decode()
        assert answer.all("api-version") == [version]
        assert "API-Version, Accept-Version" in answer.all("vary")
    unchanged = gateway.get("/api/stored/x", "API-Version: v1", 'If-None-Match: "one"')
    assert unchanged.status == 304
    for answer in (first["v1"], again["v1"], unchanged):
        says_so(answer, '</api/stored/x>; rel="successor-version"; title="v2"')
    says_nothing(again["v2"])


def test_settings_of_a_version(gateway: Gateway) -> None:
    """Whatever the version: a path that one of them reads as that of another route is refused."""
    for lines, size, status in (
        ([], 10, 200),
        ([], 11, 413),
        (["API-Version: v2"], 11, 503),
        (["API-Version: v2"], 101, 503),
    ):
        answer = gateway.ask("POST", "/api/limited/x", *lines, body=b"x" * size)
        assert answer.status == status, (lines, size)
        assert answer.get("api-version") == ("v2" if lines else "v1")
        assert varies(answer) == ["API-Version, Accept-Version"]
    for lines in ([], ["API-Version: v2"], ["API-Version: v9"]):
        assert gateway.get("/api/limited/a%64min", *lines).status == 400
        assert gateway.get("/api/limited/x%2F..%2FAdmin", *lines).status == 400


def test_who_still_calls_what(gateway: Gateway) -> None:
    counted = metric(gateway, "gateway_version_requests_total", service="latest", version="v1") or 0
    answer = gateway.get("/api/latest/x", "API-Version: 1")
    assert gateway.logged(answer.get("x-request-id"))["version"] == "v1"
    until(
        lambda: metric(gateway, "gateway_version_requests_total", service="latest", version="v1") == counted + 1,
        "it is counted",
    )
    assert "version" not in gateway.logged(gateway.get("/livez").get("x-request-id"))


def test_a_reload_takes_over_versions(backends: tuple[Backend, Backend]) -> None:
    one, two = backends
    service: dict[str, Any] = {"url": one.url, "health_check": False}
    with Gateway({"services": {"s": service}}) as own, own.wire() as wire:
        own.wait_for_control()
        assert wire.ask("GET", "/api/s/x", "API-Version: v2").get("api-version") is None
        service |= {"version_by": "header", "versions": {"v1": {}, "v2": {"url": two.url, "rewrite": "/2/{path}"}}}
        for default, lines in (("v1", []), ("v2", []), ("v2", ["API-Version: v2"])):
            own.write({"services": {"s": {**service, "default_version": default}}})
            assert ask(own.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
            answer = wire.ask("GET", "/api/s/x", *lines)
            assert served_by(answer, backends) == default
            assert answer.body.startswith(b"/2/x" if default == "v2" else b"/x")


def test_the_documented_example_and_what_it_replaces(backends: tuple[Backend, Backend]) -> None:
    before, _ = example("configuration.md", "version: v1, path: /api/shop, headers", "")
    after, (shown,) = example("configuration.md", "deprecated: 2026", "")
    for config in (before, after):
        del config["services"]["shop"]["url"]
        for version, backend in zip(config["services"]["shop"]["versions"].values(), backends, strict=True):
            version["url"] = backend.url
    asked = (
        ("API-Version: v1", "v1"),
        ("Accept-Version: 1", "v1"),
        (f"Accept: {SHOP}.v1+json", "v1"),
        (f"Accept: {SHOP}.v2+json", "v2"),
        ("API-Version: v2", "v2"),
        (f"Accept: {BROWSER}", "v2"),
    )
    with Gateway(before) as own:
        own.wait_for_control()
        for line, version in asked:
            assert own.logged(own.get("/api/shop/x", line).get("x-request-id"))["version"] == version
        assert own.get("/api/shop/x", "API-Version: v3").status == 200
        own.write(after)
        assert ask(own.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
        for line, version in asked:
            assert served_by(own.get("/api/shop/x", line), backends) == version
        assert own.get("/api/shop/x", "API-Version: v3").status == 400
        names = {line.partition(":")[0] for line in shown}
        answer = own.get("/api/shop/x", f"Accept: {SHOP}.v1+json")
        assert [f"{name}: {value}" for name, value in answer.fields if name in names] == shown
