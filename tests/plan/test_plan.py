"""What `portico plan` says of two configurations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from documentation.examples import Example, examples
from portico.config import ConfigError, load_text
from portico.plan import Change, Plan, plan

SHOP = "services: {shop: {url: 'http://a:1'}}"
GUARDED = "policies: {auth: {api_key: {}}}"
KEYS = f"consumers: [{{name: ann, keys: ['sha256:{'a' * 64}']}}]"


def planned(old: str, new: str) -> Plan:
    return plan(load_text(old, "old.yaml", {}), load_text(new, "new.yaml", {}))


def said(change: Change) -> str:
    return f"{change.kind} {change.what}{f' {change.effect}' if change.effect else ''}"


def of_policy(key: str, old: str, new: str) -> str:
    """What is said of one policy, as written in both."""
    (change,) = planned(*(f"{SHOP}\npolicies: {{{key}: {settings}}}" for settings in (old, new))).changes
    return said(change).replace(f" policy {key} of route shop", "")


@pytest.mark.parametrize(
    "again",
    [
        "services: {shop: {timeout: {response: 30, idle: 30s}, url: 'http://a:1', default_routes: true}}",
        "services: {shop: {url: 'http://a:1', timeout: 0.5m, load_balancing: round_robin}} # a comment",
        "services:\n  shop: &shop {url: 'http://a:1', timeout: 30000ms}\nroutes: []",
        "services: {shop: {instances: ['http://a:1'], timeout: 30s}}\ngateway: {port: 8000}",
    ],
)
def test_other_words_for_the_same_are_no_change(again: str) -> None:
    assert planned("services: {shop: {url: 'http://a:1', timeout: 30s}}", again).changes == ()


@pytest.mark.parametrize("block", [*examples("yaml")], ids=lambda block: block.where.replace("/", "|"))
def test_a_configuration_changes_nothing_of_itself(block: Example) -> None:
    try:
        first, second = (load_text(block.block.text, "portico.yaml", {"SECRET_KEY": "k" * 40}) for _ in range(2))
    except ConfigError:
        return  # a part of one, or one that is wrong
    assert plan(first, second).changes == ()


def test_services_and_their_instances() -> None:
    old = "services: {a: {instances: ['http://p:1', 'http://p:2'], timeout: 30s}, b: {url: 'http://b:1'}}"
    new = "services: {a: {instances: [{url: 'http://p:2', weight: 3}, 'http://p:3'], timeout: 5s}, c: {url: 'http://c:1'}}"
    changes = planned(old, new).changes
    assert [said(change) for change in changes] == [
        "changed service a",
        "added service c",
        "removed service b",
        "added route c",
        "removed route b",
    ]
    assert changes[0].details == (
        "instances.http://p:2.weight: 1 → 3",
        "instances.http://p:3: added",
        "timeout.response: 30 → 5",
        "timeout.idle: 30 → 5",
        "instances.http://p:1: removed",
    )
    assert [change.where for change in changes[:3]] == ["new.yaml:1", "new.yaml:1", "old.yaml:1"]


def test_a_route_with_another_name_is_the_same_one() -> None:
    (change,) = planned(
        f"{SHOP}\nroutes: [{{name: x, path: /x, service: shop}}]",
        f"{SHOP}\nroutes: [{{name: y, path: /x, service: shop, rewrite: keep}}]",
    ).changes
    assert said(change) == "changed route y retargeted"
    assert change.details[:2] == ("name: x → y", "rewrite: /{path} → keep")


def test_what_routes_have_in_common_is_said_once() -> None:
    routes = "\n".join(["routes:", *(f"  - {{path: /{n}, name: r{n}, service: shop}}" for n in range(20))])
    text = f"{SHOP}\n{routes}\npolicies: {{rate_limit: {{requests_per_minute: 60}}}}"
    (change,) = planned(text, text.replace(": 60", ": 90")).changes
    assert said(change) == "changed policy rate_limit of routes r0, r1, r2, r3, r4, r5, r6, r7 and 13 more loosened"
    assert change.details == ("requests_per_minute: 60 → 90",)


@pytest.mark.parametrize(
    ("key", "old", "new", "words"),
    [
        ("rate_limit", "{requests_per_minute: 60}", "false", "removed loosened"),
        ("rate_limit", "false", "{requests_per_minute: 60}", "added tightened"),
        ("rate_limit", "{burst: 20}", "{burst: 10}", "changed tightened"),
        ("rate_limit", "{burst: 20, requests_per_minute: 6}", "{burst: 10, requests_per_minute: 9}", "changed"),
        ("rate_limit", "{enforce: false}", "{enforce: true}", "changed tightened"),
        ("rate_limit", "[{}]", "[{}, {by: {header: X-Key}}]", "changed tightened"),
        ("rate_limit", "{}", "{requests_per_day: 9}", "changed"),
        ("ip_filter", "{allow: [10.0.0.0/8]}", "{allow: [10.0.0.0/16]}", "changed tightened"),
        ("ip_filter", "{allow: [10.0.0.0/8]}", "{allow: [10.0.0.0/8, 192.168.0.0/16]}", "changed loosened"),
        ("ip_filter", "{deny: [10.0.0.0/8]}", "{allow: [10.0.0.0/8]}", "changed"),
        ("ip_filter", "{deny: [10.0.0.0/8]}", "{deny: [10.0.0.0/8, 'fd00::/8']}", "changed tightened"),
        ("cors", "{allow_origins: ['https://a.example']}", "{}", "changed loosened"),
        ("cors", "false", "{allow_origins: ['https://a.example']}", "added loosened"),
        ("cors", "{allow_credentials: false}", "{max_age: 5}", "changed"),
        ("deny", "[{when: {path: '~ ^/x'}}]", "false", "removed loosened"),
        ("headers", "{security: true}", "false", "removed"),
        ("rewrite_location", "true", "false", "removed"),
        ("rewrite_location", "false", "true", "added"),
    ],
)
def test_what_a_policy_lets_through(key: str, old: str, new: str, words: str) -> None:
    assert of_policy(key, old, new) == words


def test_a_route_that_loses_its_guard() -> None:
    (change,) = planned(f"{SHOP}\n{GUARDED}\n{KEYS}", f"{SHOP}\n{KEYS}").changes
    assert said(change) == "removed policy auth of route shop loosened"
    assert change.warning == "callers are not asked who they are any more"


def test_credentials_that_need_not_be_there() -> None:
    (change,) = planned(
        f"{SHOP}\n{GUARDED}\n{KEYS}", f"{SHOP}\npolicies: {{auth: {{api_key: {{}}, optional: true}}}}\n{KEYS}"
    ).changes
    assert change.warning == "callers without credentials get through"


def test_rights_that_are_not_needed_any_more() -> None:
    text = f"{SHOP}\n{KEYS}\npolicies: {{auth: {{api_key: {{}}}}, authorize: {{scopes: [a]}}}}"
    (change,) = planned(text, text.replace(", authorize: {scopes: [a]}", "")).changes
    assert change.warning == "callers need no right any more"


def opening() -> Iterator[tuple[str, str]]:
    """Routes in the new configuration, and whether they take requests that needed credentials before."""
    yield "{path: /api/shop/open, service: shop, policies: {auth: false}}", "route shop"
    yield "{path: '= /api/shop/x', service: shop, policies: {auth: false}}", "route shop"
    yield "{path: /api/shop, methods: [GET], service: shop, policies: {auth: false}}", "route shop"
    yield "{path: /api/shop/open, service: shop}", ""
    yield "{path: /elsewhere, service: shop, policies: {auth: false}}", ""
    yield "{path: /api/shopping, service: shop, policies: {auth: false}}", ""
    yield "{path: /api/shop/open, respond: 204}", ""


@pytest.mark.parametrize(("route", "of"), [*opening()])
def test_an_open_route_under_a_guarded_one(route: str, of: str) -> None:
    found = planned(f"{SHOP}\n{GUARDED}\n{KEYS}", f"{SHOP}\n{GUARDED}\n{KEYS}\nroutes: [{route}]")
    warnings = [change.warning for change in found.warnings]
    expected = f"it takes requests that {of} took, which asked who they are, and asks nobody"
    assert warnings == ([expected] if of else [])


def test_what_a_guarded_route_leaves_to_an_open_one() -> None:
    guarded = "{name: admin, path: /shop/admin, service: shop, policies: {auth: {api_key: {}}}}"
    open_route = "{name: shop-all, path: /shop, service: shop}"
    found = planned(f"{SHOP}\n{KEYS}\nroutes: [{open_route}, {guarded}]", f"{SHOP}\n{KEYS}\nroutes: [{open_route}]")
    assert [change.what for change in found.warnings] == ["route shop-all"]


def test_secrets_are_compared_and_not_shown() -> None:
    text = "services: {shop: {url: 'http://a:1'}}\ngateway: {admin_token: %s}"
    (change,) = planned(text % ("a" * 40), text % ("b" * 40)).changes
    assert change.details == ("admin_token: (a secret) → (a secret)",)
    assert planned(text % ("a" * 40), text % ("a" * 40)).changes == ()


def test_a_list_that_was_empty_is_told_by_its_elements_alone() -> None:
    new = f"{SHOP}\ngateway: {{listen: [{{name: web, port: 8000}}]}}"
    (change,) = planned(SHOP, new).changes
    assert change.details == ("listen.web: added",)


def test_sides_of_a_split() -> None:
    text = """
services: {a: {url: 'http://a:1'}, b: {url: 'http://b:1'}}
routes: [{name: s, path: /s, split: [{service: a, weight: 9}, {service: b, weight: 1}]}]
"""
    (change,) = planned(text, text.replace("weight: 1}", "weight: 5}")).changes
    assert said(change) == "changed route s (a)"
    assert change.details == ("split.sides.b.weight: 1 → 5",)


def test_a_part_that_has_no_value_any_more_is_removed_as_a_whole() -> None:
    old, new = (
        f"{SHOP}\npolicies: {{auth: {{{key}jwt: {{secret: {'s' * 32}}}}}}}\n{KEYS}" for key in ("api_key: {}, ", "")
    )
    (gone,) = planned(old, new).changes
    assert gone.details == ("api_key: removed",)
    (there,) = planned(new, old).changes
    assert there.details == ("api_key: added",)


def test_a_field_that_lets_others_in_is_not_shown() -> None:
    old, new = (
        f"{SHOP}\npolicies: {{headers: {{request: {{set: {{Authorization: Bearer {token}, X-Shop: {token}}}}}}}}}"
        for token in ("one", "two")
    )
    (change,) = planned(old, new).changes
    assert change.details == ("request.set.Authorization: (a secret) → (a secret)", "request.set.X-Shop: [one] → [two]")
    assert "request.set.Authorization: (a secret) → none" in planned(new, f"{SHOP}\n{HEADERS}").changes[0].details


HEADERS = "policies: {headers: {request: {set: {X-Shop: two}}}}"
