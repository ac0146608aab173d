"""Kong's declarative configuration becomes one of ours that means the same, or says where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from imports.support import Found, imported
from portico.imports import IMPORTERS, SourceError


@pytest.fixture
def kong(tmp_path: Path) -> object:
    def read(text: str, version: str = "3.0", **environ: str) -> Found:
        return imported("kong", tmp_path / "kong.yaml", f'_format_version: "{version}"\n{text}', **environ)

    return read


SHOP = """
services:
- name: shop
  url: http://shop.internal:8001
  routes:
"""


def routes(kong: object, text: str, version: str = "3.0", **environ: str) -> Found:
    lines = "".join(f"  {line}\n" for line in text.strip("\n").split("\n"))
    return kong(SHOP + lines, version, **environ)  # type: ignore[operator, no-any-return]


# ---- paths (C29)


def test_paths_of_kong_2_are_patterns_by_its_own_guess(kong: object) -> None:
    found = routes(
        kong, "- name: a\n  paths: [/xyz_A/(.*)]\n- name: b\n  paths: [/plain.v1]\n  strip_path: false", "2.1"
    )
    assert found.asked("x/xyz_A/anything") == ("a", "/")
    assert found.asked("x/plain.v1/x") == ("b", "/plain.v1/x")
    assert found.asked("x/plainzv1/x") is None


def test_a_tilde_is_refused_in_kong_2(kong: object) -> None:
    with pytest.raises(SourceError, match=r'kong\.yaml:8: .*needs _format_version "3.0"'):
        routes(kong, "- name: a\n  paths: [~/xyz_B/(.*)]", "2.1")


def test_paths_of_kong_3_are_patterns_behind_a_tilde(kong: object) -> None:
    found = routes(
        kong, "- {name: a, paths: [/xyz_A/(.*)]}\n- {name: b, paths: ['~/xyz_B/(.*)']}\n- {name: c, paths: [/plain.v1]}"
    )
    assert found.asked("x/xyz_A/anything") is None
    assert found.asked("x/xyz_B/x/y") == ("b", "/")
    assert found.asked("x/plain.v1/x") == ("c", "/x")
    assert any("/xyz_A/(.*): it looks like a pattern" in said for said in found.remarks("changed"))


def test_captures_are_kept_in_a_path_that_takes_the_place_of_all(kong: object) -> None:
    text = r"""
- name: a
  paths: ["~/u/(?<id>\\d+)/(.*)$"]
  plugins:
  - name: request-transformer
    config: {replace: {uri: "/users/$(uri_captures[2])/of/$(uri_captures['id'])"}}
"""
    assert routes(kong, text).asked("x/u/7/a/b") == ("a", "/users/a/b/of/7")


def test_a_path_made_of_other_things_closes_the_route(kong: object) -> None:
    text = """
- name: a
  paths: [/a]
  plugins:
  - name: request-transformer
    config: {replace: {uri: "/x/$(headers.x)"}}
"""
    assert routes(kong, text).closed() == {"a"}


@pytest.mark.parametrize(
    ("route", "path", "base", "expected"),
    [
        ("{paths: [/r]}", "/r/x", "", "/x"),
        ("{paths: [/r]}", "/r", "", "/"),
        ("{paths: [/r], strip_path: false}", "/r/x", "", "/r/x"),
        ("{paths: [/r]}", "/r/x", "/base", "/base/x"),
        ("{paths: [/r], strip_path: false}", "/r/x", "/base/", "/base/r/x"),
        ("{paths: [/]}", "/a/b", "/base", "/base/a/b"),
        (r"{paths: ['~/r/\d+']}", "/r/12/x", "", "/x"),
        (r"{paths: ['~/r/\d+'], strip_path: false}", "/r/12/x", "/base", "/base/r/12/x"),
        (r"{paths: ['~/r$']}", "/r", "/base", "/base"),
        (r"{paths: [/r/, '~/r$']}", "/r/x", "", "/x"),
        ("{hosts: [x]}", "/a", "", "/a"),
    ],
)
def test_the_service_gets_the_path_that_kong_would_send(
    kong: object, route: str, path: str, base: str, expected: str
) -> None:
    text = SHOP.replace("8001", f"8001{base}") + f"  - {route}\n"
    found = kong(text).asked(f"x{path}")  # type: ignore[operator]
    assert found is not None
    assert found[1] == expected


def test_what_more_is_asked_of_comes_first_as_in_kong(kong: object) -> None:
    text = """
- {name: all, paths: [/]}
- {name: deep, paths: [/api/v1]}
- {name: host, hosts: [a.test], paths: [/]}
- {name: method, paths: [/api], methods: [POST]}
- {name: pattern, paths: ["~/api/v[0-9]"]}
"""
    found = routes(kong, text)
    assert found.asked("b.test/x") == ("all", "/x")
    assert found.asked("a.test/api/v1/x") == ("host", "/api/v1/x")
    asked = [found.asked("b.test/api/v1/x", method) for method in ("GET", "POST")]
    assert [each and each[0] for each in asked] == ["pattern", "method"]
    assert found.asked("b.test/api/w") == ("all", "/api/w")


def test_what_only_begins_like_a_guarded_path_does_not_get_past_the_guard(kong: object) -> None:
    text = """
- {name: all, paths: [/], strip_path: false}
- name: admin
  paths: [/admin]
  strip_path: false
  plugins: [{name: ip-restriction, config: {allow: [10.0.0.0/8]}}]
"""
    assert routes(kong, text).asked("x/admin.json") == ("admin", "/admin.json")


# ---- services


def test_targets_are_instances_with_the_least_weights(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
- {name: a, host: pool, protocol: http, read_timeout: 1500, retries: 12, routes: [{paths: [/a]}]}
upstreams:
- name: pool
  algorithm: consistent-hashing
  hash_on: header
  hash_on_header: X-User
  targets: [{target: "10.0.0.1:80", weight: 300}, {target: "10.0.0.2:80"}]
  healthchecks: {active: {http_path: /up, healthy: {interval: 10, successes: 2}, unhealthy: {http_failures: 3}}}
"""
    )
    service = found.config.services["a"]
    assert [(each.url, each.weight) for each in service.all_instances] == [
        ("http://10.0.0.1", 3),
        ("http://10.0.0.2", 1),
    ]
    assert (service.timeout.response, service.retries.attempts) == (1.5, 10)
    assert (service.health_check.path, service.health_check.interval) == ("/up", 10)
    assert "load_balancing: {consistent_hash: {header: X-User}}" in found.imported.text


def test_certificates_are_verified_and_that_is_said(kong: object) -> None:
    found = kong("services: [{name: a, url: 'https://api.example.com', routes: [{paths: [/a]}]}]")  # type: ignore[operator]
    assert "2: https: its certificate is verified" in found.remarks("changed")[0]


def test_a_service_that_is_off_has_no_routes(kong: object) -> None:
    text = """
services:
- {name: a, url: "http://a", enabled: false, routes: [{paths: [/a]}]}
- {name: b, url: "http://b", routes: [{paths: [/b]}]}
"""
    found = kong(text)  # type: ignore[operator]
    assert [route.path for route in found.config.routes] == ["/b"]


# ---- plugins


def test_the_nearest_plugin_of_a_name_holds_alone(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
- name: a
  url: http://a
  routes: [{name: r1, paths: [/1]}, {name: r2, paths: [/2], plugins: [{name: rate-limiting, config: {hour: 9}}]}]
- {name: b, url: "http://b", routes: [{name: r3, paths: [/3]}]}
plugins:
- {name: rate-limiting, service: a, config: {minute: 60}}
- {name: rate-limiting, config: {second: 5}}
"""
    )
    numbers = {name: found.policies(name)["rate_limit"].numbers for name in ("r1", "r2", "r3")}
    assert numbers == {
        "r1": {"requests_per_minute": 60, "burst": 60},
        "r2": {"requests_per_hour": 9},
        "r3": {"requests_per_minute": 300, "burst": 5},
    }


def test_keys_and_groups_of_consumers(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
- name: a
  url: http://a
  routes: [{name: a, paths: [/a]}]
  plugins:
  - {name: key-auth, config: {key_names: [X-Key]}}
  - {name: acl, config: {allow: [gold]}}
consumers:
- {username: ann, keyauth_credentials: [{key: secret-1}], acls: [{group: gold}]}
keyauth_credentials: [{consumer: ann, key: secret-2}]
"""
    )
    policies = found.policies("a")
    assert policies["auth"].api_key.header == "X-Key"
    assert policies["authorize"].any_scopes == ["gold"]
    (ann,) = found.config.consumers
    assert (len(ann.keys), ann.scopes) == (2, ("gold",))
    assert "secret-" not in found.imported.text


def test_groups_hold_for_keys_though_another_consumer_has_a_token(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
- name: a
  url: http://a
  routes:
  - {name: keys, paths: [/keys], plugins: [{name: key-auth}]}
  - {name: tokens, paths: [/tokens], plugins: [{name: jwt}]}
plugins: [{name: acl, config: {allow: [gold]}}]
consumers:
- {username: ann, keyauth_credentials: [{key: secret-1}], acls: [{group: gold}]}
- {username: bob, jwt_secrets: [{key: issuer, secret: not-to-be-printed-0123456789-0123456789}]}
""",
        JWT_SECRET="s" * 32,
    )
    assert found.policies("keys")["authorize"].any_scopes == ["gold"]
    assert found.closed() == {"tokens"}


def test_a_secret_of_tokens_that_no_plugin_asks_for_is_reported(kong: object) -> None:
    found = kong(SHOP + "  - {name: a, paths: [/a]}\nconsumers: [{username: bob, jwt_secrets: [{key: issuer}]}]")  # type: ignore[operator]
    assert any("jwt_secrets of bob: no plugin jwt asks for a token" in said for said in found.remarks("left"))


def test_a_shared_secret_is_read_from_the_environment(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
- name: a
  url: http://a
  routes: [{name: a, paths: [/a]}]
  plugins: [{name: jwt, config: {claims_to_verify: [exp]}}]
consumers: [{username: ann, jwt_secrets: [{key: issuer, secret: not-to-be-printed-0123456789-0123456789}]}]
""",
        JWT_SECRET="s" * 32,
    )
    jwt = found.policies("a")["auth"].jwt
    assert (jwt.issuer, jwt.require_expiry) == ("issuer", True)
    assert "not-to-be-printed" not in found.imported.text


@pytest.mark.parametrize(
    "plugins",
    [
        "[{name: oauth2}]",
        "[{name: hmac-auth}]",
        "[{name: pre-function, config: {access: [kong.response.exit(403)]}}]",
        "[{name: of-our-own}]",
        "[{name: jwt}]",
        "[{name: basic-auth}]",
        "[{name: acl, config: {allow: [a]}}]",
        "[{name: key-auth}, {name: basic-auth}]",
        "[{name: key-auth, config: {key_in_header: false, key_in_query: false, key_in_body: true}}]",
    ],
)
def test_a_guard_that_cannot_be_said_closes_the_route(kong: object, plugins: str) -> None:
    found = routes(kong, f"- {{name: open, paths: [/open]}}\n- {{name: guarded, paths: [/g], plugins: {plugins}}}")
    assert found.closed() == {"guarded"}
    assert any("route guarded: it answers 503" in said for said in found.remarks("left"))


def test_what_a_guarded_pattern_begins_with_is_closed_where_there_is_no_such_pattern(kong: object) -> None:
    text = """
- {name: all, paths: [/]}
- {name: admin, paths: ['~/admin(?!/public)'], plugins: [{name: ip-restriction, config: {allow: [10.0.0.0/8]}}]}
- {name: plain, paths: ['~/plain(?!/public)']}
"""
    found = routes(kong, text)
    assert found.asked("x/admin/x") == ("admin", "/")
    assert found.closed() == {"admin"}


def test_plugins_that_guard_nothing_are_left(kong: object) -> None:
    found = routes(kong, "- {name: a, paths: [/a], plugins: [{name: http-log, config: {http_endpoint: http://l}}]}")
    assert found.closed() == set()
    assert found.remarks("left")[0].startswith("7: http-log")


def test_the_plugins_that_are_used_most(kong: object) -> None:
    text = """
- name: a
  paths: [/a]
  plugins:
  - {name: cors, config: {origins: ["https://a.example", '^https://.*\\.b\\.example$'], credentials: true}}
  - {name: request-size-limiting, config: {allowed_payload_size: 2}}
  - {name: response-transformer, config: {remove: {headers: [Server]}, add: {headers: ["X-A:1"]}}}
  - {name: proxy-cache, config: {strategy: memory, cache_ttl: 30, vary_headers: [Accept]}}
  - {name: correlation-id, config: {header_name: Kong-Request-ID}}
  - {name: bot-detection, config: {deny: [badbot]}}
- {name: gone, paths: [/gone], plugins: [{name: request-termination, config: {status_code: 410, message: gone}}]}
"""
    found = routes(kong, text)
    policies = found.policies("a")
    assert policies["cors"].allow_origins == ["https://a.example", "https://*.b.example"]
    assert found.config.services["shop"].body_size == 2 * 2**20
    assert policies["headers"].response.remove == ["Server"]
    assert policies["headers"].request.set == {"Kong-Request-ID": ["{request_id}"]}
    assert (policies["cache"].ttl, policies["cache"].key.headers) == (30, ["Accept"])
    assert policies["deny"][0].when.headers == {"User-Agent": "~ badbot"}
    gone = next(route for route in found.config.routes if route.name == "gone").respond
    assert gone is not None
    assert (gone.status, json.loads(gone.body or "")) == (410, {"message": "gone"})


def test_json_is_read_as_yaml_is(tmp_path: Path) -> None:
    tree = {"_format_version": "3.0", "services": [{"name": "a", "url": "http://a", "tags": ["\U0001f600"]}]}
    tree["services"][0]["routes"] = [{"paths": ["/a"]}]  # type: ignore[index]
    text = json.dumps(tree, indent="\t").replace("/", "\\/")
    found = imported("kong", tmp_path / "kong.json", text)
    assert found.asked("x/a/b") == ("a", "/b")


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {}", r":1: _format_version is missing"),
        ("_format_version: '4.0'", r":1: _format_version: it is one of"),
        ("_format_version: '3.0'\nservices: 7", r":2: services: expected a list, and this is a number"),
        (
            "_format_version: '3.0'\nservices: [{name: a, url: 'http://a', routes: [{paths: [x]}]}]",
            r":2: .*begins with /",
        ),
        ("_format_version: '3.0'\nroutes: [{service: b, paths: [/]}]", r":2: routes\[0\]: there is no service b"),
        (
            "_format_version: '3.0'\nservices:\n- {name: a, url: 'http://a'}\n- {name: a, url: 'http://a'}",
            r":4: .*already",
        ),
        (
            "_format_version: '3.0'\nplugins: [{name: acl, route: b}]\nroutes: [{name: a}]",
            r":2: acl: there is no route b",
        ),
        (
            "_format_version: '3.0'\nroutes: [{name: a}]\nplugins:\n- {name: acl, route: a}\n- {name: acl, route: a}",
            r":5: acl: it is there already, in line 4",
        ),
        ("_format_version: '3.0'\nplugins: [{config: 1}]\nroutes: []", r":2: .*without a name"),
        ("a: &a [*a]", r":1: \*a is inside"),
        ("[1, 2", r":2: not valid YAML"),
        ("_format_version: '3.0'\nx: \0", r":2: not valid YAML"),
        (f"_format_version: '3.0'\nx: {'[' * 100}", r":2: nested more than 64 deep"),
        ("_format_version: '3.0'", r":1: it has no services and no routes"),
    ],
)
def test_what_kong_would_not_read_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=f"kong.yaml{message}"):
        imported("kong", tmp_path / "kong.yaml", text)


def test_aliases_that_grow_beyond_measure_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    with pytest.raises(SourceError, match="holds more than 1,000,000 values"):
        imported("kong", tmp_path / "kong.yaml", "\n".join(lines))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kong.yaml").write_bytes(b"_format_version: '3.0'\n\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"kong\.yaml:2: not text"):
        IMPORTERS["kong"](tmp_path / "kong.yaml")


# ---- guards that a request would get around


def by_name(found: Found, section: str = "routes") -> dict[str, Any]:
    """What is written in a section, by its names."""
    return {each["name"]: each for each in yaml.safe_load(found.imported.text)[section]}


@pytest.mark.parametrize(
    "route",
    [
        "paths: ['~/(?=staff)[a-z]+']",
        """expression: 'http.path ^= "/staff"'""",
        "paths: [/staff], sources: [{ip: 10.0.0.1}]",
        "paths: [/staff], headers: {x-a: ['~*^(?=b)']}",
        "paths: [/staff], hosts: ['staff.*']",
        "paths: [/staff], hosts: [staff.example, 'staff.*']",
    ],
)
def test_a_guarded_route_that_cannot_be_said_is_closed_and_not_left_to_others(kong: object, route: str) -> None:
    text = f"- {{name: all, paths: [/]}}\n- {{name: staff, {route}, plugins: [{{name: key-auth}}]}}"
    staff = by_name(routes(kong, text))["staff"]
    assert staff["respond"] == 503
    assert "hosts" not in staff
    assert staff["path"] in ("~ ^/", "~ ^/staff/?(?P<rest>.*)$")


def test_a_pattern_may_ignore_case_behind_its_slash(kong: object) -> None:
    found = by_name(routes(kong, "- name: staff\n  paths: ['~/(?i)staff']\n  plugins: [{name: key-auth}]"))
    assert found["staff"]["path"].startswith("~* ^/staff")
    assert "auth" in found["staff"]["policies"]


def test_what_a_guarded_pattern_took_beyond_a_segment_is_closed(kong: object) -> None:
    text = "- {name: all, paths: [/]}\n- {name: user, paths: ['~/users/\\d+'], plugins: [{name: key-auth}]}"
    found = by_name(routes(kong, text))
    assert (found["user-2"]["path"], found["user-2"]["respond"]) == (r"~ ^/users/\d+", 503)


def test_what_begins_like_a_route_that_ends_requests_does_not_get_to_the_service(kong: object) -> None:
    plugin = "{name: request-termination, config: {status_code: 403}}"
    found = routes(kong, f"- {{name: all, paths: [/]}}\n- {{name: staff, paths: [/staff], plugins: [{plugin}]}}")
    assert by_name(found)["staff"]["path"] == "~ ^/staff"


@pytest.mark.parametrize("limited_to", ["", ", route: a"])
def test_who_has_a_guard_of_his_own_does_not_stand_for_callers_without_credentials(
    kong: object, limited_to: str
) -> None:
    found = routes(
        kong,
        "- {name: a, paths: [/a], plugins: [{name: key-auth, config: {anonymous: guest}}]}",
    )
    assert by_name(found)["a"]["policies"]["auth"]["optional"]
    guarded = kong(  # type: ignore[operator]
        f"{SHOP}  - {{name: a, paths: [/a], plugins: [{{name: key-auth, config: {{anonymous: guest}}}}]}}\n"
        f"plugins: [{{name: ip-restriction, consumer: guest{limited_to}, config: {{allow: [10.0.0.1]}}}}]\n"
        "consumers: [{username: guest}]\n"
    )
    assert "optional" not in by_name(guarded)["a"]["policies"]["auth"]


def test_members_of_a_group_with_a_guard_do_not_come_in(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        f"{SHOP}  - {{name: a, paths: [/a], plugins: [{{name: key-auth}}]}}\n"
        "consumer_groups: [{name: free, plugins: [{name: ip-restriction, config: {allow: [10.0.0.1]}}]}]\n"
        "consumers: [{username: ann, keyauth_credentials: [{key: k1}], groups: [{name: free}]},"
        " {username: joe, keyauth_credentials: [{key: k2}]}]\n"
    )
    assert {name for name, each in by_name(found, "consumers").items() if "keys" in each} == {"joe"}


def test_a_route_of_many_hosts_is_read_at_once(kong: object) -> None:
    hosts = ", ".join(f"h{number}.example" for number in range(5000))
    found = routes(kong, f"- {{name: all, paths: [/], hosts: [{hosts}]}}\n- {{name: a, paths: [/a]}}")
    assert len(by_name(found)["all"]["hosts"]) == 5000


def test_routes_for_websockets_are_taken(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
  - name: chat
    url: ws://chat:3000
    routes: [{name: chat, paths: [/chat], protocols: [ws, wss], plugins: [{name: key-auth}]}]
  - {name: rest, url: "http://rest", routes: [{name: rest, paths: [/]}]}
""",
    )
    assert found.asked("any/chat/x") is not None
    assert found.asked("any/chat/x")[0] == "chat"
    assert "auth" in found.policies("chat")


def test_timeouts_that_are_not_written_are_kongs(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        "services:\n  - {name: a, url: 'http://a', read_timeout: 5000, routes: [{paths: [/a]}]}\n"
    )
    times = found.config.services["a"].timeout
    assert (times.connect, times.response) == (60, 5)


def test_a_key_that_ends_is_left_out(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
  - {name: a, url: "http://a", routes: [{name: a, paths: [/a], plugins: [{name: key-auth}]}]}
consumers:
  - {username: ann, keyauth_credentials: [{key: secret, ttl: 60}]}
""",
    )
    assert not found.config.consumers[0].keys
    assert any("ttl" in each for each in found.remarks("left"))


def test_it_is_said_where_the_anonymous_do_not_come_in(kong: object) -> None:
    found = kong(  # type: ignore[operator]
        """
services:
  - name: a
    url: http://a
    routes: [{name: a, paths: [/a], plugins: [{name: key-auth, config: {anonymous: guest}}]}]
consumers: [{username: guest}]
plugins: [{name: request-termination, consumer: guest}]
""",
    )
    assert not found.policies("a")["auth"].optional
    assert any("nobody comes in as guest" in each for each in found.remarks("changed"))
