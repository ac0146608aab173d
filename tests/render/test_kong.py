"""What `portico render kong` writes takes the requests that Portico takes, by a model of Kong's rules."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from live.render_beside import load, lost_routes, route_of
from live.render_cases import CASES, HOST, Case, configuration
from portico.config import Config, ConfigError, load_text
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.proxy.routing.router import Router
from portico.render import Rendering, render_kong
from portico.render.kong.keys import TABLE
from portico.snapshot.routing import rule_of
from render.kong_model import Found, Kong, expression
from render.test_written import SHAPES
from support.forged_tokens import pem

BEGIN: Final = "services: {a: {url: 'http://10.0.0.1:9001', default_routes: false}}\nroutes:\n"


def rendered(text: str) -> Rendering:
    return render_kong(load_text(text, "edge.yaml", {}))


def tree(rendering: Rendering) -> Any:
    return yaml.safe_load(rendering.files["kong.yaml"])


def entities(rendering: Rendering) -> dict[str, dict[str, Any]]:
    """The routes by their names."""
    found = tree(rendering)
    return {route["name"]: route for part in (found, *found.get("services", ())) for route in part.get("routes", ())}


def plugins(entity: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["config"] for each in entity.get("plugins", ())}


def router(config: Config) -> Router[str]:
    return Router(rule_of(route, route.name) for route in config.all_routes if not route.is_variant)


# ---- the cases that all targets answer


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Rendering, Kong]:
    config = load(configuration("http://10.0.0.1:9001", tmp_path_factory.mktemp("kong")), 8000)
    rendering = render_kong(config)
    return config, rendering, Kong(rendering.files["kong.yaml"])


def asked(kong: Kong, case: Case) -> Found | None:
    fields: dict[str, list[str]] = {}
    for line in case.lines:
        name, _, value = line.partition(": ")
        fields.setdefault(name.lower(), []).append(value)
    return kong.asked(case.method, case.target, case.host, fields, case.size or 0)


def is_otherwise(case: Case) -> bool:
    """Whether it is of what the page of the documentation says of all of Kong's answers."""
    is_unclear = any(part in case.target.partition("?")[0] for part in ("//", "..", "%2e"))
    is_slash = case.status == 307 and any("text/html" in line for line in case.lines)
    return is_unclear or is_slash or case.method == "OPTIONS"


def test_kong_takes_the_shared_cases_as_portico_does(shared: tuple[Config, Rendering, Kong]) -> None:
    config, rendering, kong = shared
    routes, lost, compared = router(config), lost_routes(config, rendering), 0
    for case in CASES:
        route = route_of(routes, case)
        if route in lost or is_otherwise(case):
            continue
        found = asked(kong, case)
        if route is None:
            assert found is None or found.route["name"].startswith("portico-"), case
        else:
            assert found is not None, case
            assert not found.others
            assert found.route["name"].removesuffix("-2").startswith(route), case
            if case.sees is not None:
                assert found.path == case.sees.partition("?")[0], case
            elif found.status is not None and case.status != 401:  # who asks, the reader of routes does not check
                assert found.status == case.status, case
            compared += 1
    assert compared >= 80


def test_what_is_closed_is_named(shared: tuple[Config, Rendering, Kong]) -> None:
    config, rendering, kong = shared
    closed = [loss for loss in rendering.losses if "closed" in loss.why]
    assert closed
    places = {("routes", int(loss.what.partition("[")[2].partition("]")[0])) for loss in closed}
    for route in config.all_routes:
        if route.source in places:
            found = kong.asked("GET", route.path, HOST, {})
            assert found is not None
            assert (found.status, found.service) == (503, None)


# ---- any routes

PATHS: Final = (
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "= /a",
    "= /a/b",
    "= /a/",
    "~ ^/a",
    "~ ^/a/(?P<id>[a-z]+)$",
    "~ c$",
    "~* /B",
)
HOSTS: Final = ("h.test", "x.h.test", "y.x.h.test", "*.h.test", "*.x.h.test")
METHODS: Final = ("GET", "POST")
VALUES: Final = ({"X-A": "1"}, {"X-B": "2"}, {"X-A": "~ ^[12]$"}, {"X-A": "1", "X-B": "2"})


def some_routes(chance: random.Random) -> str:
    routes, known = [], set()
    for number in range(chance.randint(1, 9)):
        route: dict[str, Any] = {"path": chance.choice(PATHS)}
        if chance.random() < 0.4:
            route["hosts"] = chance.sample(HOSTS, chance.randint(1, 2))
        if chance.random() < 0.3:
            route["methods"] = [chance.choice(METHODS)]
        if chance.random() < 0.3:
            route["headers"] = chance.choice(VALUES)
        if (key := str(route)) not in known:
            known.add(key)
            routes.append({"name": f"r{number}", "service": "a", "rewrite": f"/r{number}/{{path}}", **route})
    return BEGIN.replace("routes:\n", "") + yaml.safe_dump({"routes": routes})


@pytest.mark.parametrize("seed", range(40))
def test_any_routes_take_the_same_requests(seed: int) -> None:
    chance = random.Random(seed)
    try:
        config = load_text(some_routes(chance), "edge.yaml", {})
    except ValueError:
        pytest.skip("two of the routes are one")
    rendering = render_kong(config)
    kong, routes = Kong(rendering.files["kong.yaml"]), router(config)
    places = {("routes", int(loss.what.partition("[")[2].partition("]")[0])) for loss in rendering.losses}
    listed = {route.name for route in config.all_routes if route.source in places}
    for _ in range(150):
        path = chance.choice(("/", "/a", "/a/", "/a/b", "/a/x", "/a/b/c", "/ab", "/c", "/q/B/x"))
        host, method = chance.choice((*HOSTS[:3], "other.test")), chance.choice((*METHODS, "PUT"))
        fields = {
            name.lower(): value
            for name, value in (("X-A", chance.choice("123")), ("X-B", "2"))
            if chance.random() < 0.5
        }
        lines = [f"{name}: {value}".encode() for name, value in fields.items()]
        names = [name.encode() for name in fields]
        ours = routes.match(segments_of(path.encode()), host.encode(), method.encode(), Fields(names, lines), b"")
        theirs = kong.asked(method, path, host, {name: [value] for name, value in fields.items()})
        if path == "/":  # the gateway's own
            continue
        name = None if ours is None else ours[0]
        if name in listed:
            continue
        assert theirs is None or not theirs.others
        assert (None if theirs is None else theirs.route["name"].partition("-")[0]) == name, (
            path,
            host,
            method,
            fields,
        )


# ---- what is listed, and what is not opened


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (r"^/excel/([^\/]+)$", "~/excel/[^/]+$"),
        (r"^/x[\s\S]*$", "~/x.*$"),
        (r"^/(benchmark|estimation)/api/(.*)$", "~/(?:benchmark|estimation)/api/.*$"),
        (r"^/users/(?P<id>\d{1,9})/$", "~/users/(?<id>[0-9]{1,9})/$"),
        (r"\.php$", r"~/.*\.php$"),
        (r"/b$", "~/?.*/b$"),
        (r"^/a|/b$", "~/?(?:/a|.*/b$)"),
        (r"^/caf%C3%A9$", "~/café$"),
        (r"^/a%2Fb$", "~/a%2Fb$"),
        (r"^/a\-b~$", "~/a-b~$"),
    ],
)
def test_a_pattern_is_written_in_kong_s_dialect(pattern: str, path: str) -> None:
    rendering = rendered(BEGIN + yaml.safe_dump([{"name": "x", "path": f"~ {pattern}", "service": "a"}]))
    assert entities(rendering)["x"]["paths"] == [path]
    assert rendering.losses == ()
    assert expression(path[1:])


@pytest.mark.parametrize("pattern", ["^/a[%2F%20]b$", "^/%FF", "^//a"])
def test_a_pattern_that_kong_would_read_otherwise_is_listed(pattern: str) -> None:
    text = BEGIN + yaml.safe_dump([{"name": "x", "path": f"~ {pattern}", "service": "a"}])
    try:
        rendering = rendered(text)
    except ConfigError:
        return  # nor is it one of Portico's
    assert "x" not in entities(rendering)
    assert [loss.line for loss in rendering.losses] == [4]


def test_a_prefix_takes_whole_segments_and_its_base_keeps_the_slash() -> None:
    rendering = rendered(BEGIN + "  - {name: x, path: /x, service: a, rewrite: '/base/{path}'}\n")
    kong = Kong(rendering.files["kong.yaml"])
    for path, sent in (("/x", "/base/"), ("/x/", "/base/"), ("/x/y", "/base/y"), ("/x/a%2Fb%20c", "/base/a%2Fb%20c")):
        found = kong.asked("GET", path, HOST, {})
        assert found is not None
        assert found.path == sent
    assert kong.asked("GET", "/xy", HOST, {}) is None


@pytest.mark.parametrize(
    "guard",
    [
        "deny: [{name: bots, when: {headers: {User-Agent: '~* bot'}}}]",
        "auth: {forward: {url: 'http://auth:1/'}}",
        "auth: {jwt: {jwks_url: 'https://id.example/keys'}}",
        f"auth: {{jwt: {{secret: {'s' * 40}, audience: api}}}}",
        f"auth: {{jwt: {{secret: {'s' * 40}}}, api_key: {{}}}}",
        "auth: {api_key: {}, optional: true}",
        f"auth: {{jwt: {{secret: {'s' * 40}}}}}, authorize: {{scopes: [a]}}",
        "auth: {api_key: {}}, authorize: {scopes: [a, b]}",
        "auth: {api_key: {}}, authorize: {roles: [a]}",
    ],
)
def test_a_route_whose_guard_kong_cannot_check_is_closed(guard: str) -> None:
    rendering = rendered(BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{{guard}}}}}\n")
    route = entities(rendering)["x"]
    assert plugins(route)["request-termination"]["status_code"] == 503
    assert "services" not in tree(rendering)
    assert any("closed and answer 503" in loss.why for loss in rendering.losses)


@pytest.mark.parametrize(
    ("route", "method", "target", "fields"),
    [
        ("path: /h, headers: {Host: a.b}", "GET", "/h/x", {"host": ["a.b"]}),
        ("path: /h, headers: {X-Empty: ''}", "GET", "/h", {"x-empty": [""]}),
        ("path: '/h/%FF'", "GET", "/h/%FF", {}),
        ('path: "~ ^/h/(?P<x>[a-z]+)$", rewrite: "/{path}/{x}"', "GET", "/h/abc", {}),
    ],
)
def test_no_other_route_takes_what_a_guarded_one_would_refuse(
    route: str, method: str, target: str, fields: dict[str, list[str]]
) -> None:
    guard = "service: a, policies: {ip_filter: {allow: [192.0.2.0/24]}}"
    others = "  - {name: all, path: /, service: a}\n  - {name: get, path: /h, methods: [GET], service: a}\n"
    rendering = rendered(f"{BEGIN}{others}  - {{name: x, {route}, {guard}}}\n")
    found = Kong(rendering.files["kong.yaml"]).asked(method, target, HOST, fields, 0)
    assert found is not None
    assert found.status == 503
    assert any("closed" in loss.why for loss in rendering.losses)


def test_a_guarded_route_that_some_listeners_do_not_have_is_closed() -> None:
    routes = "  - {name: all, path: /, service: a}\n  - {name: one, path: /one, service: a}\n"
    guarded = "  - {name: admin, path: /admin, service: a, policies: {auth: {api_key: {}}}}\n"
    listen = "gateway: {listen: [{port: 8000}, {port: 9000, name: inner, routes: [all]}]}\n"
    rendering = rendered(listen + BEGIN + routes + guarded)
    assert plugins(entities(rendering)["admin"])["request-termination"]["status_code"] == 503
    assert "one" not in entities(rendering)


def test_no_secret_is_written_and_no_token_is_taken_without_one() -> None:
    secret = "a-secret-of-more-than-thirty-two-bytes"
    rendering = rendered(
        BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{auth: {{jwt: {{secret: {secret}}}}}}}}}\n"
    )
    assert secret not in rendering.files["kong.yaml"]
    (consumer,) = tree(rendering)["consumers"]
    assert consumer["jwt_secrets"] == [{"key": "HS256", "algorithm": "HS256"}]
    found = tree(rendering)["services"][0]
    own = {**plugins(found), **plugins(found["routes"][0])}
    assert own["jwt"]["key_claim_name"] == "alg"
    assert own["acl"]["allow"] == [each["group"] for each in consumer["acls"]]


def test_tokens_of_one_issuer_do_not_open_the_routes_of_another(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.pem").write_bytes(pem("RS256"))
    routes = [
        {
            "name": name,
            "path": f"/{name}",
            "service": "a",
            "policies": {
                "auth": {"jwt": {"issuer": f"https://{name}.example", "public_key_file": str(tmp_path / f"{name}.pem")}}
            },
        }
        for name in "ab"
    ]
    rendering = rendered(BEGIN + yaml.safe_dump(routes))
    allowed = [plugins(route)["acl"]["allow"] for name, route in entities(rendering).items() if name in "ab"]
    assert len({*map(tuple, allowed)}) == 2
    for consumer in tree(rendering)["consumers"]:
        (entry,) = consumer["jwt_secrets"]
        assert (entry["key"], entry["algorithm"]) == (f"https://{consumer['username'][-9]}.example", "RS256")


def test_two_secrets_for_tokens_that_kong_cannot_tell_apart_close_the_second_route() -> None:
    routes = [
        {"name": name, "path": f"/{name}", "service": "a", "policies": {"auth": {"jwt": {"secret": name * 40}}}}
        for name in "ab"
    ]
    found = entities(rendered(BEGIN + yaml.safe_dump(routes)))
    assert "request-termination" not in plugins(found["a"])
    assert plugins(found["b"])["request-termination"]["status_code"] == 503


def test_a_route_of_one_listener_is_shown_on_no_other() -> None:
    text = (
        "gateway:\n  listen:\n    - {name: web, port: 8000, routes: [x]}\n"
        "    - {name: inside, host: 127.0.0.1, port: 8001}\n" + BEGIN
    )
    rendering = rendered(text + "  - {name: x, path: /x, service: a}\n  - {name: y, path: /y, service: a}\n")
    assert "x" in entities(rendering)
    assert "y" not in entities(rendering)
    assert [loss.what for loss in rendering.losses] == ["routes[1]"]


def test_odd_names_and_values_are_read_as_they_are_written() -> None:
    odd = "a: b # c \"d\" 'e' é 1e3 - {x} [y] & * ! % @ `"
    routes = [{"name": "no", "path": "= /true", "respond": {"body": odd, "headers": {"X-A": "yes: it #is"}}}]
    routes += [{"name": "1.0", "path": "/1", "service": "no.-x"}, {"name": "2", "path": "/2", "service": "10.0.0.1"}]
    services = {
        "no.-x": {"instances": [{"url": "http://a:1"}, {"url": "http://b:2"}], "default_routes": False},
        "10.0.0.1": {"instances": [{"url": "http://a:1"}, {"url": "http://b:2"}], "default_routes": False},
    }
    rendering = rendered(yaml.safe_dump({"services": services, "routes": routes}))
    found = entities(rendering)
    assert {"no", "1.0", "2"} <= found.keys()
    assert plugins(found["no"])["request-termination"]["body"] == odd
    assert plugins(found["no"])["response-transformer"]["add"]["headers"] == ["X-A:yes: it #is"]
    for upstream in tree(rendering)["upstreams"]:
        labels = upstream["name"].split(".")
        assert all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) for label in labels)
        assert not re.fullmatch(r"[0-9.]+", upstream["name"])


def test_what_kong_would_fill_in_is_not_said_to_it() -> None:
    routes = [
        {"name": "x", "path": "/x", "service": "a", "rewrite": "/$(os)/fixed"},
        {
            "name": "y",
            "path": "/y",
            "service": "a",
            "policies": {"headers": {"request": {"set": {"X-A": "$(os.time())"}}}},
        },
    ]
    rendering = rendered(BEGIN + yaml.safe_dump(routes))
    assert "$(" not in rendering.files["kong.yaml"]
    assert [loss.what for loss in rendering.losses] == [
        "routes[0].path",
        "routes[1].policies.headers.request.set.X-A",
    ]


def test_each_key_is_rendered_or_listed() -> None:
    assert {shape for shape in TABLE if shape not in SHAPES} == set()


def test_options_are_guarded_as_other_methods_are() -> None:
    for guard in ("api_key: {}", f"jwt: {{secret: {'s' * 40}}}"):
        rendering = rendered(BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{auth: {{{guard}}}}}}}\n")
        assert "run_on_preflight: false" not in rendering.files["kong.yaml"]
        assert tree(rendering)["services"]


def test_an_instance_without_weight_gets_no_requests() -> None:
    services = {"a": {"instances": [{"url": "http://10.0.0.1:1", "weight": 0}]}}
    (route,) = [
        each for name, each in entities(rendered(yaml.safe_dump({"services": services}))).items() if name == "a"
    ]
    assert plugins(route)["request-termination"]["status_code"] == 503


def test_a_redirect_encodes_what_kong_has_decoded() -> None:
    rendering = rendered(BEGIN + "  - {name: x, path: /caf%C3%A9, redirect: '/{path}'}\n")
    (lua,) = plugins(entities(rendering)["x"])["post-function"]["access"]
    assert 'text:gsub("[^!-%[%]-~]"' in lua
    assert f":sub({len('/café'.encode()) + 2})" in lua  # the slash behind the prefix, too
    assert 'Location = "/" .. path ..' in lua


def test_a_guarded_route_that_kong_cannot_tell_from_others_closes_its_path() -> None:
    rendering = rendered(
        BEGIN
        + "  - {name: x, path: /x, query: {q: true}, service: a, policies: {ip_filter: {allow: [10.0.0.0/8]}}}\n"
        + "  - {name: y, path: /x, service: a}\n  - {name: z, path: /, headers: {X-A: '1'}, service: a}\n"
    )
    kong = Kong(rendering.files["kong.yaml"])
    for path in ("/x", "/x/", "/x/y"):
        for fields in ({}, {"x-a": ["1"]}):
            found = kong.asked("GET", path, HOST, fields)
            assert found is not None
            assert (found.status, found.others) == (503, ())
