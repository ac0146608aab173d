from __future__ import annotations

from typing import Any

import pytest

from config.conftest import Load, Report
from portico.config import Config, ConfigError, Level, Policies, merge_policies

KEY = {"SECRET_KEY": "k" * 32}


def levels(*written: dict[str, Any]) -> list[Level]:
    scopes = ["gateway", "service:a", "service:a@v1", "route:r"]
    return [Level(scope, Policies.model_validate(said), (scope,)) for scope, said in zip(scopes, written, strict=False)]


def by_route(config: Config, name: str) -> dict[str, tuple[Any, str]]:
    return next(route.policies for route in config.all_routes if route.name == name)


def test_policies_that_are_not_written_are_off() -> None:
    assert merge_policies(*levels({}, {})) == {}


def test_a_level_below_overrides_key_by_key() -> None:
    merged = merge_policies(
        *levels({"rate_limit": {"requests_per_minute": 100, "burst": 9}}, {"rate_limit": {"burst": 5}})
    )
    limit, scope = merged["rate_limit"]
    assert (limit.requests_per_minute, limit.burst, scope) == (100, 5, "service:a")


def test_scope_is_the_most_specific_level_that_names_the_policy() -> None:
    merged = merge_policies(*levels({"rate_limit": True, "cors": {}}, {}, {"rate_limit": True}, {}))
    assert {key: scope for key, (_, scope) in merged.items()} == {"rate_limit": "service:a@v1", "cors": "gateway"}


@pytest.mark.parametrize("off", [False, "off", "false"])
def test_off_and_on_again_with_what_was_inherited(off: object) -> None:
    said = levels({"rate_limit": {"burst": 3}}, {"rate_limit": off}, {}, {"rate_limit": True})
    assert merge_policies(*said[:2]) == {}
    limit, scope = merge_policies(*said)["rate_limit"]
    assert (limit.burst, scope) == (3, "route:r")


@pytest.mark.parametrize("on", [True, {}, "on", "true"])
def test_on_without_more_has_the_defaults(on: object) -> None:
    assert merge_policies(*levels({"rate_limit": on}))["rate_limit"][0].burst == 20


def test_lists_are_replaced() -> None:
    merged = merge_policies(*levels({"cors": {"expose_headers": ["a", "b"]}}, {"cors": {"expose_headers": ["c"]}}))
    assert merged["cors"][0].expose_headers == ["c"]
    merged = merge_policies(*levels({"rate_limit": [{"burst": 1}, {"burst": 2}]}, {"rate_limit": [{"burst": 3}]}))
    assert [limit.burst for limit in merged["rate_limit"][0]] == [3]
    merged = merge_policies(*levels({"rate_limit": [{"burst": 1}]}, {"rate_limit": {"burst": 3}}))
    assert merged["rate_limit"][0].burst == 3


def test_deep_parts_merge_before_the_whole_is_checked() -> None:
    said = levels(
        {"auth": {"jwt": {"secret": "s" * 32}}, "authorize": {}},
        {"auth": {"jwt": {"issuer": "x"}}, "authorize": {"scopes": ["a"]}},
    )
    jwt = merge_policies(*said)["auth"][0].jwt
    assert (jwt.secret.get_secret_value(), jwt.issuer) == ("s" * 32, "x")
    assert merge_policies(*said)["authorize"][0].scopes == ["a"]


def test_defaults_complete_but_turn_nothing_on() -> None:
    defaults = {"auth": {"jwt": {"secret": "d" * 32}}}
    assert merge_policies(*levels({}), defaults=defaults) == {}
    merged = merge_policies(*levels({"auth": {"jwt": {"issuer": "x"}}}), defaults=defaults)
    assert merged["auth"][0].jwt.secret.get_secret_value() == "d" * 32


def test_what_is_still_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing is asked for"):
        merge_policies(*levels({"authorize": True}))


def test_policies_of_every_level_reach_the_routes(load: Load) -> None:
    config = load(
        """\
        services:
          a:
            url: http://h
            versions: {v1: {policies: {rate_limit: {burst: 2}}}, v2: }
            policies: {auth: {jwt: {}}, authorize: {scopes: [read]}}
          b: {url: http://h, policies: {cors: false}}
        routes:
          - {service: a, path: /a}
          - {service: a, path: /a1, version: v1, policies: {authorize: {scopes: [write]}}}
          - {service: a, path: /a2, version: v2, name: open, policies: {auth: false, authorize: false}}
        policies: {cors: true, rate_limit: {burst: 1}}
        """,
        KEY,
    )
    a, a1, opened, b = (by_route(config, name) for name in ("a", "a-v1", "open", "b"))
    assert {key: scope for key, (_, scope) in a.items()} == {
        "cors": "gateway",
        "rate_limit": "gateway",
        "auth": "service:a",
        "authorize": "service:a",
    }
    assert (a1["rate_limit"][0].burst, a1["rate_limit"][1]) == (2, "service:a@v1")
    assert (a1["authorize"][0].scopes, a1["authorize"][1]) == (["write"], "route:a-v1")
    assert set(opened) == {"cors", "rate_limit"}
    assert set(b) == {"rate_limit"}


def test_routes_without_policies_of_their_own_share_settings(load: Load) -> None:
    config = load("services: {a: {url: http://h}, b: {url: http://i}}\npolicies: {rate_limit: {}}")
    first, second = (route.policies["rate_limit"][0] for route in config.all_routes)
    assert first is second


def test_a_mistake_is_reported_once_where_it_was_made(report: Report) -> None:
    text = """\
    policies:
      rate_limit: {burst: 0}
      auth: {jwt: {issuer: 5}}
    services:
      a: {url: http://h, policies: {rate_limit: {requests_per_minute: 1}}}
      b: {url: http://h, policies: {auth: {jwt: {leewy: 1}}}}
    """
    assert report(text, KEY) == [
        "portico.yaml:2:23: policies.rate_limit.burst: has to be 1 or more",
        "portico.yaml:3:24: policies.auth.jwt.issuer: expected text; put it into quotes",
        'portico.yaml:6:46: services.b.policies.auth.jwt.leewy: unknown key; did you mean "leeway"?',
    ]


def test_what_is_missing_is_reported_where_the_policy_was_turned_on(report: Report) -> None:
    text = """\
    services:
      a: {url: http://h, policies: {authorize: true}}
      b: {url: http://h, policies: {auth: {jwt: {}}}}
      c: {url: http://h, policies: {auth: true}}
    """
    assert report(text) == [
        "portico.yaml:2:44: services.a.policies.authorize: nothing is asked for: write scopes: [orders:read], "
        "any_scopes, roles, claims, methods, operations, openapi or times",
        "portico.yaml:3:40: services.b.policies.auth.jwt: jwt needs a key: set SECRET_KEY or write secret in it, or "
        "name the issuer with discovery, jwks_url, jwks_file or public_key_file",
        "portico.yaml:4:39: services.c.policies.auth: no way to prove who asks is on: write jwt: {} or "
        "api_key: {} or basic: {} or introspection: {url: …} or "
        "client_certificate: {} or forward: {url: …}",
    ]


def test_a_policy_that_no_route_uses_is_checked_all_the_same(report: Report) -> None:
    assert report("policies: {cors: {max_age: -1}}") == [
        "portico.yaml:1:28: policies.cors.max_age: has to be 0 or more"
    ]


def test_cors_is_compared_as_browsers_send_it(load: Load) -> None:
    text = "allow_origins: [https://app.example/, 'https://app.example:443'], allow_methods: [put, patch, '*']"
    settings, _ = (
        load(f"services: {{a: {{url: http://h}}}}\npolicies: {{cors: {{{text}}}}}").all_routes[0].policies["cors"]
    )
    assert settings.allow_origins == ["https://app.example", "https://app.example"]
    assert settings.allow_methods == ["PUT", "PATCH", "*"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("cors: {allow_origins: [app.example]}", "begins with its scheme: write https://app.example"),
        ("cors: {allow_origins: [https://app.example/x]}", "ends after host and port: write https://app.example"),
        ("cors: {allow_methods: ['GET, PUT']}", "one method, without commas; several are a list: [GET, POST]"),
        ("cors: {allow_methods: [P UT]}", "cors.allow_methods[0]: expected a method such as GET"),
        ("cors: {allow_headers: ['X-A, X-B']}", "without commas; several are a list: [X-One, X-Two]"),
        ("cors: {allow_headers: ['X-A:']}", "cors.allow_headers[0]: not a name of a header field"),
        ("cors: {allow_headers: ['X-*']}", "a header field is named in full: its name is not a pattern"),
        ("cors: {expose_headers: [X A]}", "cors.expose_headers[0]: not a name of a header field"),
        ("rate_limit: {by: {header: 'X-*'}}", "a header field is named in full: its name is not a pattern"),
        ("rate_limt: {}", 'rate_limt: unknown policy; did you mean "rate_limit"?'),
        ("basic_auth: {}", 'basic_auth: unknown policy; did you mean "auth"?'),
        ("auth: {key_auth: {}}", 'auth.key_auth: unknown key; did you mean "api_key"?'),
        ("ip-restriction: {}", 'ip-restriction: unknown policy; did you mean "ip_filter"?'),
        ("ip_filter: {sourceRange: []}", 'ip_filter.sourceRange: unknown key; did you mean "allow"?'),
        ("decompress: {gzip: on}", "decompress.gzip: unknown key; there are encodings, max_ratio, max_size"),
        (
            "squeeze: {}",
            "squeeze: unknown policy; there are auth, authorize, cache, compress, cors, decompress, deny, errors, "
            "headers, identity, ip_filter, mcp, plugins, rate_limit, rewrite_cookies, rewrite_location, transform, "
            "validate",
        ),
        ("rewrite_location: 5", "rewrite_location: expected keys and values, true or false"),
        ("rewrite_location: ", "write rewrite_location: true, or rewrite_location: false to turn it off"),
        ("rewrite_cookies: {path: /x}", "path: expected one of auto, off"),
        (
            "rewrite_cookies: {domain: http://gw.example}",
            "domain: a host has no scheme, port or path: write gw.example",
        ),
        (
            "rate_limit: 60",
            "rate_limit: expected keys and values, a list, true or false: write {requests_per_minute: 60}",
        ),
        (
            "cors: [a]",
            "cors: expected keys and values, true or false: write {allow_origins: [https://app.example.com]}",
        ),
        ("rate_limit: {by: clientip}", 'by: expected one of client_ip, consumer; did you mean "client_ip"?'),
        ("rate_limit: {by: {heder: X}}", 'rate_limit.by.heder: unknown key; did you mean "header"?'),
        ("rate_limit: [{burst: x}]", "rate_limit[0].burst: expected a whole number"),
        ("auth: {jwt: {audience: 5}}", "auth.jwt.audience: expected text; put it into quotes"),
        (
            "auth: {jwt: {algorithms: [none]}}",
            "auth.jwt.algorithms[0]: expected one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, "
            "ES256, ES384, ES512, EdDSA, Ed25519, Ed448",
        ),
        ("auth: {jwt: {jwks_url: x}}", "auth.jwt.jwks_url: expected an address such as https://id.example/jwks.json"),
        (
            "auth: {jwt: {algorithms: [HS256, RS256]}}",
            "auth.jwt.algorithms: RS256 has a public key, and no secret: name the issuer with discovery, jwks_url, "
            "jwks_file or public_key_file",
        ),
        (
            "auth: {jwt: {algorithms: [HS256], jwks_url: 'https://id.example/jwks.json'}}",
            "auth.jwt.algorithms: HS256 has a shared secret, and no public key: write secret in place of one",
        ),
        (
            "auth: {jwt: {jwks_file: a, public_key_file: x}}",
            "auth.jwt: jwks_file and public_key_file both say where the keys are: write one of them",
        ),
        (
            "auth: {jwt: {jwks_file: a, secret: x}}",
            "auth.jwt: secret and jwks_file both say which key signs tokens: write one of them",
        ),
        ("auth: {jwt: {discovery: true}}", "auth.jwt: discovery needs the issuer: write issuer: https://id.example"),
        (
            "auth: {jwt: {issuers: [{issuer: a}]}}",
            "auth.jwt.issuers[0]: where are its keys? Write discovery: true, jwks_url, jwks_file or public_key_file",
        ),
        (
            "auth: {jwt: {issuers: [{issuer: a, jwks_file: x}, {issuer: a, jwks_file: y}]}}",
            "auth.jwt: the issuer a is written twice",
        ),
        ("plugins: {use: a}", "plugins: expected a list: put brackets around it, [{…}]"),
        ("plugins: [{use: a, keep: 5m}]", "keep: unknown key; settings of the policy's own stand under with"),
        ("plugins: [a]", 'plugins[0]: expected keys and values: write {use: "a"}'),
        ("plugins: [{}]", 'plugins[0]: the key "use" has to be written'),
        ("plugins: [{use: 'a:B', wiht: {}}]", 'plugins[0].wiht: unknown key; did you mean "with"?'),
        ("plugins: [{use: 'a:B', with: 5}]", "plugins[0].with: expected keys and values"),
        (
            "plugins: [{use: 'a:B', after: auht}]",
            "plugins[0].after: expected one of compress, headers, ip_filter, deny, cors, mcp, rate_limit, auth, "
            'authorize, identity, decompress, transform, validate; did you mean "auth"?',
        ),
        (
            "plugins: [{use: 'a:B', after: auth, before: auth}]",
            "plugins[0]: it stands before one step or after one: write before or after, not both",
        ),
        ("plugins: [{use: 'a:B', on_error: ignore}]", "plugins[0].on_error: expected one of refuse, skip"),
    ],
)
@pytest.mark.parametrize("template", ["{0}", "services: {{a: {{url: http://h, {0}}}}}"])
def test_what_is_refused(report: Report, written: str, message: str, template: str) -> None:
    lines = report(template.format(f"policies: {{{written}}}"), KEY)
    assert any(line.endswith(message) for line in lines), lines


def test_secrets_are_never_shown(load: Load) -> None:
    config = load(
        "services: {a: {url: http://h, policies: {auth: {jwt: {secret: hunter2hunter2hunter2hunter2hunter2}}}}}\n"
        "gateway: {admin_token: hunter2}\n"
        "policies: {plugins: [{use: 'a:B', with: {key: hunter2, more: [{deep: hunter2}]}}]}"
    )
    assert config.plugins["gateway"][0].written["key"] == "hunter2"
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()
    assert "hunter2" not in repr(config.all_routes)


def test_policies_are_in_one_order_however_they_are_written() -> None:
    written: dict[str, Any] = {"rate_limit": {}, "cors": {}, "auth": {"api_key": {}}}
    orders = [[*Policies.model_validate(said).said] for said in (written, dict(reversed(written.items())))]
    assert orders == [["cors", "rate_limit", "auth"]] * 2
