"""What is lost is said where it is written, and opens nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portico.config import load_text
from portico.policies import POLICY_SETTINGS
from portico.render import TARGETS, Rendering, render_nginx
from portico.render.policies import OPEN, guards_of

BEGIN = "services: {a: {url: 'http://127.0.0.1:9001', default_routes: false}}\nroutes:\n"


def rendered(text: str) -> Rendering:
    return render_nginx(load_text(text, "edge.yaml", {}))


def location(rendering: Rendering, head: str) -> str:
    """The lines of a location."""
    return rendering.files["nginx.conf"].partition(f"location {head} {{")[2].partition("        }\n")[0]


def test_a_loss_names_file_and_line() -> None:
    rendering = rendered(
        BEGIN
        + "  - {path: /x, service: a}\n  - path: /y\n    service: a\n    mirror: a2\n".replace(
            "    mirror: a2\n", "    trailers: [X-Sum]\n"
        )
    )
    (loss,) = rendering.losses
    assert (loss.file, loss.line, loss.what) == ("edge.yaml", 6, "routes[1].trailers")
    assert str(loss) == "edge.yaml:6: routes[1].trailers: this is not rendered"


@pytest.mark.parametrize("target", ["envoy", "haproxy", "kong", "nginx"])
def test_endpoints_that_are_off_are_no_loss(target: str) -> None:
    text = "gateway: {endpoints: {root: false, health: false, metrics: false, docs: false, auth: false}}\n"
    losses = TARGETS[target](load_text(f"{text}{BEGIN}  - {{path: /x, service: a}}\n", "edge.yaml", {})).losses
    assert not [loss.what for loss in losses if "endpoints" in loss.what]


def test_a_route_whose_guard_is_lost_is_closed() -> None:
    secret = "a-secret-of-more-than-thirty-two-bytes"
    rendering = rendered(BEGIN + f"  - {{path: /x, service: a, policies: {{auth: {{jwt: {{secret: {secret}}}}}}}}}\n")
    assert [loss.what for loss in rendering.losses] == ["routes[0].policies.auth"]
    assert "closed" in rendering.losses[0].why
    for head in ("= /x", "/x/"):
        assert "return 503;" in location(rendering, head)
        assert "proxy_pass" not in location(rendering, head)
    assert secret not in rendering.files["nginx.conf"]


def test_a_prefix_does_not_take_what_only_begins_like_it() -> None:
    text = rendered(BEGIN + "  - {path: /x, service: a}\n").files["nginx.conf"]
    assert "location = /x {" in text
    assert "location /x/ {" in text
    assert "location /x {" not in text


def test_values_of_variables_are_not_rendered_as_nginx_s() -> None:
    rendering = rendered(BEGIN + "  - {path: = /x, respond: {body: 'to $host'}}\n")
    assert 'return 200 "to ${dollar}host";' in location(rendering, "= /x")


def test_a_quota_is_lost_and_a_rate_is_not() -> None:
    limits = "[{requests_per_minute: 30, burst: 1}, {requests_per_day: 5}]"
    rendering = rendered(BEGIN + f"  - {{path: /x, service: a, policies: {{rate_limit: {limits}}}}}\n")
    assert "rate=30r/m" in rendering.files["nginx.conf"]
    assert any("quotas" in loss.why for loss in rendering.losses)


def test_one_timeout_for_the_head_and_between_pieces_is_no_loss() -> None:
    for idle, lost in (("90s", []), ("60s", ["routes[0].timeout.idle"])):
        rendering = rendered(BEGIN + f"  - {{path: /x, service: a, timeout: {{response: 90s, idle: {idle}}}}}\n")
        assert [loss.what for loss in rendering.losses] == lost
        assert "proxy_read_timeout 90s;" in location(rendering, "/x/")


def test_a_loss_of_several_routes_is_said_of_each() -> None:
    routes = "".join(f"  - {{path: /{name}, service: a, upgrades: [websocket, other]}}\n" for name in "xyz")
    whats = [loss.what for loss in rendered(BEGIN + routes).losses]
    assert whats == [f"routes[{index}].upgrades" for index in range(3)]


def test_a_name_in_a_field_is_that_of_each_route() -> None:
    text = "policies: {headers: {request: {set: {X-Route: '{route}'}}}}\n" + BEGIN
    rendering = rendered(
        text + "  - {name: one, path: = /one, service: a}\n  - {name: two, path: = /two, service: a}\n"
    )
    for name in ("one", "two"):
        assert f"proxy_set_header X-Route {name};" in location(rendering, f"= /{name}")


def test_with_lua_what_it_cannot_check_stays_closed() -> None:
    for policies in (
        "auth: {api_key: {bearer: true}}",
        "auth: {jwt: {jwks_url: 'https://id.example/keys'}}",
        "auth: {api_key: {}}, authorize: {scopes: [a], times: [{start: '08:00'}]}",
    ):
        text = BEGIN + f"  - {{path: /x, service: a, policies: {{{policies}}}}}\n"
        rendering = render_nginx(load_text(text, "edge.yaml", {}), lua=True)
        assert "return 503;" in location(rendering, "/x/")
        assert "proxy_pass" not in location(rendering, "/x/")
        assert rendering.losses


def test_a_policy_of_which_nobody_has_thought_guards_its_route() -> None:
    config = load_text(BEGIN + "  - {name: x, path: /x, service: a, policies: {cors: true}}\n", "edge.yaml", {})
    route = replace(config.all_routes[0], policies={**config.all_routes[0].policies, "new": (object(), "route:x")})
    assert guards_of(route) == ["new"]
    assert {*POLICY_SETTINGS} - OPEN == {"auth", "authorize", "deny", "mcp", "plugins", "validate"}
