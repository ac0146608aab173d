"""Which service a request reaches, and as which path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from support.backend import Backend, Connection
from support.world import Gateway


def route(service: str, path: str, rewrite: str, **narrowed: Any) -> dict[str, Any]:
    """A route with a name of its own."""
    name = re.sub(r"[^a-z]+", "-", f"{path[1:]}{rewrite}").strip("-")
    return {"name": name, "service": service, "path": path, "rewrite": rewrite, **narrowed}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend(name="one") as one, Backend(name="two") as two:
        routes = [
            route("one", "/kept", "/kept/{path}"),
            route("one", "/fixed", "/always/this"),
            route("one", "/suffix", "/a/{path}/z"),
            route("one", "/deep", "/{path}"),
            route("two", "/deep/er", "/longer/{path}"),
            route("one", "/deep/er/est", "/longest/{path}"),
            route("two", "/where", "/host/{path}", hosts=["api.test", "[::1]"]),
            route("two", "/where", "/wild/{path}", hosts=["*.wild.test"]),
            route("two", "/where", "/very/{path}", hosts=["*.very.wild.test"]),
            route("one", "/where", "/any/{path}"),
            route("one", "/split", "/read/{path}", methods=["GET"]),
            route("two", "/split", "/write/{path}", methods=["POST", "PUT"]),
            route("two", "/feature", "/beta/{path}", headers={"X-Stage": "beta"}),
            route("one", "/feature", "/live/{path}"),
        ]
        with Gateway({"services": {"one": one, "two": two}, "routes": routes}) as own:
            yield own


@pytest.fixture(scope="module")
def defaults() -> Iterator[Gateway]:
    with Backend(name="one") as one, Backend(name="two") as two:
        services = {
            "one": {"url": one.url, "health_check": False, "versions": {"v1": {}, "v2": {"url": two.url}}},
            "two": {"url": two.url, "health_check": False},
        }
        with Gateway({"services": services}) as own:
            yield own


def reached(gateway: Gateway, target: str, *lines: str, method: str = "GET") -> tuple[str, str]:
    """The name of the backend that answered, and the target that it saw."""
    answer = gateway.ask(method, target, *lines)
    assert answer.status == 200, answer
    described = answer.json()
    return described["backend"], described["target"]


@pytest.mark.parametrize(
    ("target", "backend", "seen"),
    [
        ("/api/one", "one", "/"),
        ("/api/one/", "one", "/"),
        ("/api/one/health", "one", "/health"),
        ("/api/two/api/health", "two", "/api/health"),
        ("/v1/one/x/y?z=1", "one", "/api/x/y?z=1"),
        ("/v1/one", "one", "/api/"),
        ("/v2/one/x", "two", "/api/x"),
    ],
)
def test_default_routes(defaults: Gateway, target: str, backend: str, seen: str) -> None:
    assert reached(defaults, target) == (backend, seen)


@pytest.mark.parametrize(
    "target", ["/api/three/x", "/api/on", "/api/onex", "/api", "/v3/one/x", "/v1/two/x", "/nowhere", "/api//one"]
)
def test_no_route(defaults: Gateway, target: str) -> None:
    answer = defaults.get(target)
    assert (answer.status, answer.json()["reason"]) == (404, "no_route")
    assert answer.get("content-type") == "application/problem+json"


@pytest.mark.parametrize(
    ("target", "backend", "seen"),
    [
        ("/kept/a/b", "one", "/kept/a/b"),
        ("/fixed/a/b?q=1", "one", "/always/this?q=1"),
        ("/suffix/a/b", "one", "/a/a/b/z"),
        ("/deep/x", "one", "/x"),
        ("/deep/er", "two", "/longer/"),
        ("/deep/er/x", "two", "/longer/x"),
        ("/deep/erx", "one", "/erx"),
        ("/deep/er/est/x", "one", "/longest/x"),
    ],
)
def test_prefixes_and_rewrites(gateway: Gateway, target: str, backend: str, seen: str) -> None:
    assert reached(gateway, target) == (backend, seen)


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("api.test", "/host/x"),
        ("API.TEST:8000", "/host/x"),
        ("api.test.", "/host/x"),
        ("[::1]:80", "/host/x"),
        ("a.wild.test", "/wild/x"),
        ("a.b.wild.test", "/wild/x"),
        ("a.very.wild.test", "/very/x"),
        ("wild.test", "/any/x"),
        ("other.test", "/any/x"),
        ("notapi.test", "/any/x"),
    ],
)
def test_hosts(gateway: Gateway, host: str, seen: str) -> None:
    assert reached(gateway, "/where/x", f"Host: {host}")[1] == seen


def test_methods(gateway: Gateway) -> None:
    assert reached(gateway, "/split/x") == ("one", "/read/x")
    assert reached(gateway, "/split/x", method="POST") == ("two", "/write/x")
    assert gateway.ask("HEAD", "/split/x").status == 200
    refused = gateway.ask("DELETE", "/split/x")
    assert (refused.status, refused.json()["reason"]) == (405, "method_not_allowed")
    assert sorted((refused.get("allow") or "").split(", ")) == ["GET", "HEAD", "POST", "PUT"]


def test_header_values(gateway: Gateway) -> None:
    assert reached(gateway, "/feature/x", "x-stage: beta") == ("two", "/beta/x")
    assert reached(gateway, "/feature/x", "X-Stage: gamma") == ("one", "/live/x")
    assert reached(gateway, "/feature/x") == ("one", "/live/x")


@pytest.mark.parametrize("lines", [("X-Stage: beta", "X-Stage: live"), ("X-Stage: live", "x-stage: beta")])
def test_a_header_that_may_or_may_not_have_its_value_is_refused(gateway: Gateway, lines: tuple[str, ...]) -> None:
    refused = gateway.get("/feature/x", *lines)
    assert (refused.status, refused.json()["reason"]) == (400, "malformed_request")
    assert "x-stage comes more than once" in refused.json()["detail"]
    assert reached(gateway, "/feature/x", "X-Stage: live", "X-Stage: old") == ("one", "/live/x")
    assert reached(gateway, "/split/x", *lines) == ("one", "/read/x"), "here nothing depends on it"


@pytest.mark.parametrize(
    "rest",
    [
        "a%2Fb",
        "a%2fb",
        "/a",
        "a//b",
        "a///",
        "a?",
        "?",
        "??",
        "a?x=%2F&y=a/../b",
        "a%20b",
        "%E2%82%AC",
        "%e2%82%ac",
        "a;v=1",
        "a:b@c,d'(e)!*+=&$~",
        "...",
        ".hidden",
        "a..b",
        "a%3Fb%23c",
        "%01",
        'a|b"<>^`{}',
    ],
)
def test_what_follows_the_prefix_survives_byte_for_byte(defaults: Gateway, rest: str) -> None:
    target = f"/api/one{rest}" if rest.startswith("?") else f"/api/one/{rest}"
    seen = f"/{rest}"
    assert reached(defaults, target) == ("one", seen)


def test_an_encoded_letter_of_the_prefix_is_the_letter(defaults: Gateway) -> None:
    assert reached(defaults, "/api/%6Fne/%6F") == ("one", "/%6F")
    assert reached(defaults, "/%61pi/one/x") == ("one", "/x")
    assert defaults.get("/api%2Fone/x").status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/api/one/../two/x",
        "/api/one/..",
        "/api/one/./x",
        "/api/one/%2e%2e/x",
        "/api/one/%2E./x",
        "/api/one/.%2e",
        "/api/one/..%2Fx",
        "/api/one/x%2F..%2Fy",
        "/api/one/..%5Cx",
        "/api/one/..\\x",
        "/api/one/..;a=b/x",
        "/api/one/..%3Ba=b/x",
        "/api/one/%252e%252e/x",
        "/api/one/%00",
        "/api/one/%",
        "/api/one/%2",
        "/api/one/%zz",
        "/api/one/#frag",
        "/..",
        "api/one",
    ],
)
def test_a_path_with_two_meanings_is_refused(defaults: Gateway, target: str) -> None:
    answer = defaults.get(target)
    assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")


def test_absolute_form(defaults: Gateway) -> None:
    assert reached(defaults, "http://gateway.test/api/one/x?") == ("one", "/x?")
    answer = defaults.get("http://other.test/api/one/x")
    assert answer.status == 400


def test_options_of_the_server(defaults: Gateway) -> None:
    assert defaults.ask("OPTIONS", "*").status == 204


def test_ten_thousand_routes(backend: Backend) -> None:
    def numbered(n: int) -> dict[str, Any]:
        return {"name": f"r{n}", "service": "echo", "path": f"/tenant-{n % 100}/area-{n}", "rewrite": f"/{n}/{{path}}"}

    routes = [numbered(n) for n in range(10_000)]
    with Gateway({"services": {"echo": backend}, "routes": routes}) as gateway, gateway.wire() as wire:
        for n in (0, 1, 4_999, 9_998, 9_999):
            answer = wire.ask("GET", f"/tenant-{n % 100}/area-{n}/x")
            assert answer.json()["target"] == f"/{n}/x"
        assert wire.ask("GET", "/tenant-1/area-0/x").status == 404


def test_slashes_cannot_hide_a_route(backend: Backend) -> None:
    """`//admin` may mean `/admin` to the service, whose own route asks for more."""
    routes = [
        {"service": "echo", "path": "/", "name": "open"},
        {"service": "echo", "path": "/admin", "name": "closed", "policies": {"authorize": {"scopes": ["admin"]}}},
    ]
    with Gateway({"services": {"echo": backend}, "routes": routes}) as gateway:
        assert gateway.get("/admin").status == 403
        assert gateway.get("//admin").status == 400
        assert gateway.get("/admin//x").status == 403
        assert gateway.get("/x//y").status == 200


def test_no_spelling_passes_a_guarded_route(backend: Backend) -> None:
    """A service decodes what the gateway compares undecoded: what it would take for a guarded path is refused."""
    guard = {"authorize": {"scopes": ["admin"]}}
    routes = [
        route("echo", "/shop", "keep"),
        route("echo", "/shop/admin", "keep", policies=guard),
        route("echo", "/shop/v1:admin", "keep", policies=guard),
        route("echo", "/shop/keys", "keep", encoded_slashes=True),
    ]
    services = {
        "echo": {"url": backend.url, "health_check": False, "default_routes": False},
        "folds": {"url": backend.url, "health_check": False, "default_routes": False, "case_insensitive": True},
    }
    routes += [route("folds", "/folds", "keep"), route("folds", "/folds/admin", "keep", policies=guard)]
    with Gateway({"services": services, "routes": routes}) as gateway:
        assert gateway.get("/folds/admin").status == 403
        assert gateway.get("/folds/Admin.").status == 400
        assert reached(gateway, "/folds/Other")[1] == "/folds/Other"
        assert reached(gateway, "/shop/Admin")[1] == "/shop/Admin"
        for target in ("/shop/admin/users", "/shop/v1:admin/x", "/shop/%61dmin/users"):
            assert gateway.get(target).status == 403
        for target in ("/shop/admin%2Fusers", "/shop/v1%3Aadmin/x", "/shop//admin/users", "/shop/admin;/users"):
            refused = gateway.get(target)
            assert (refused.status, refused.json()["reason"]) == (400, "malformed_request")
            assert "hide which route the path means" in refused.json()["detail"]
        for target in ("/shop/a%2Fb%3Ac", "/shop/keys/a%2Fb", "/shop/keys"):
            assert reached(gateway, target)[1] == target


def test_an_application_at_the_root_of_a_host_has_its_front_page(backend: Backend) -> None:
    routes = [
        route("echo", "/", "/app/{path}", hosts=["app.test"]),
        route("echo", "/", "/wild/{path}", hosts=["*.wild.test"]),
        route("echo", "/", "/header/{path}", headers={"X-App": "1"}),
        route("echo", "/", "/post/{path}", methods=["POST"]),
    ]
    with Gateway({"services": {"echo": backend}, "routes": routes}) as gateway:
        for host, seen in (("app.test", "/app/"), ("APP.test:80", "/app/"), ("a.wild.test", "/wild/")):
            assert reached(gateway, "/", f"Host: {host}")[1] == seen
            assert reached(gateway, "/?x", f"Host: {host}")[1] == seen + "?x"
            assert reached(gateway, "/x", f"Host: {host}")[1] == seen + "x"
        assert reached(gateway, "/", "X-App: 1")[1] == "/header/"
        assert reached(gateway, "/", method="POST")[1] == "/post/"
        assert gateway.get("/", "Host: other.test").json()["message"] == "Portico API Gateway"
        assert gateway.get("/x", "Host: other.test").status == 405
        assert "gateway" in gateway.get("/health", "Host: app.test").json()


def test_a_browser_at_a_bare_prefix_is_redirected_to_its_slash(backend: Backend) -> None:
    """There the relative links of the page lead below the prefix; programs get what they ask for."""
    browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
    routes = [
        route("echo", "/app", "/{path}"),
        route("echo", "/kept", "keep"),
        route("echo", "/off", "/{path}", redirect_slash=False),
        route("echo", "/closed", "/{path}", policies={"authorize": {"scopes": ["admin"]}}),
    ]
    config = {"services": {"echo": backend}, "routes": routes, "gateway": {"trusted_proxies": ["127.0.0.1"]}}
    with Gateway(config) as gateway:
        for path in ("/app", "/api/echo"):
            redirect = gateway.get(f"{path}?a=b", browser, "X-Forwarded-Prefix: /outer")
            location = urljoin(f"http://a.test/outer{path}?a=b", redirect.get("location") or "")
            assert (redirect.status, location) == (307, f"http://a.test/outer{path}/?a=b")
            assert redirect.get("vary") == "Accept"
            assert redirect.body == b""
            assert reached(gateway, f"{path}?a=b") == ("backend", "/?a=b")
            assert reached(gateway, f"{path}/", browser) == ("backend", "/")
            assert reached(gateway, path, browser, method="POST") == ("backend", "/")
        assert gateway.ask("HEAD", "/app", browser).status == 307
        for path in ("/kept", "/kept/", "/kept/a%2Fb//c;d?e", "/kept?"):
            assert reached(gateway, path, browser)[1] == path
        assert reached(gateway, "/off", browser)[1] == "/"
        assert gateway.get("/closed", browser).status == 403, "policies come first"


def test_what_a_pattern_took_apart_is_put_together_in_locations(backend: Backend) -> None:
    """Where a service's path says which public one it is, also by the address of the instance."""

    def redirecting(connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            connection.answer(b"", "302 Found", f"Location: {request.start.split()[1].partition('to=')[2]}")

    backend.script = redirecting
    routes = [
        {"name": "user", "service": "echo", "path": "~ ^/users/(?P<id>[^/]+)$", "rewrite": "/u/{id}"},
        {"name": "any", "service": "echo", "path": "~ ^/any/(?P<id>[a-z]+)", "rewrite": "/x/{id}"},
    ]
    with Gateway({"services": {"echo": backend}, "routes": routes}) as gateway:
        for path, location, public in (
            ("/users/7", "/u/8?a=b", "/users/8?a=b"),
            ("/users/7", f"{backend.url}/u/a%2Fb", "http://gateway.test/users/a%2Fb"),
            ("/users/7", "/users/8", "/users/8"),
            ("/users/7", "/elsewhere", "/elsewhere"),
            ("/any/a", "/x/b", "/x/b"),
        ):
            assert gateway.get(f"{path}?to={location}").get("location") == public


def test_a_kept_path_has_lost_no_prefix(backend: Backend) -> None:
    with Gateway({"services": {"echo": backend}, "routes": [route("echo", "/kept", "keep")]}) as gateway:
        gateway.get("/kept/x")
        assert backend.requests[-1].get("x-forwarded-prefix") is None
