"""envoy.yaml says what is written and no more: odd texts, guards that are lost, what is said once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from portico.config import load_config, load_text
from portico.render import Rendering, render_envoy
from portico.render.envoy.text import Noted, yaml_text

BEGIN = "services: {a: {url: 'http://127.0.0.1:9001', default_routes: false}}\nroutes:\n"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PARTS = st.recursive(
    TEXTS | st.booleans() | st.integers(-(10**9), 10**9),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(TEXTS, parts, max_size=4),
    max_leaves=12,
)


@example({"\x01" * 40: -1, "\x02" * 40: [True, {"\x03" * 40: 1}]})
@given(st.dictionaries(TEXTS, PARTS, min_size=1, max_size=4))
def test_yaml_reads_what_was_written(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


@pytest.mark.parametrize(
    "text", ["on", "Y", "null", "0x1F", "1e3", "12:30:00", "1_000", "~", "=", "- a", "a: b", "%a", ""]
)
def test_texts_that_look_like_something_else_stay_texts(text: str) -> None:
    assert yaml.safe_load(yaml_text({"a": [text], text or "b": Noted(text, text)})) == {"a": [text], text or "b": text}


def rendered(text: str) -> Rendering:
    return render_envoy(load_text(text, "edge.yaml", {}))


def routes(rendering: Rendering) -> dict[str, dict[str, Any]]:
    """The routes for any host by their names, the last of each."""
    document = yaml.load(rendering.files["envoy.yaml"], yaml.CSafeLoader)
    (chain,) = document["static_resources"]["listeners"][0]["filter_chains"]
    hosts = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    return {route["name"]: route for route in hosts[-1]["routes"]}


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ("auth: {api_key: {}}", "routes[0].policies.auth.api_key"),
        ("auth: {jwt: {secret: SECRET}, api_key: {}}", "routes[0].policies.auth.api_key"),
        ("auth: {jwt: {issuer: 'https://id.example', discovery: true}}", "routes[0].policies.auth.jwt.discovery"),
        ("auth: {jwt: {secret: SECRET}}, authorize: {times: [{start: '08:00'}]}", "routes[0].policies.authorize.times"),
        ("deny: [{when: {query: {a: '~ b'}}}]", "routes[0].policies.deny[0].when.query.a"),
        ("plugins: [{use: './policies.py:Block'}]", "routes[0].policies.plugins"),
    ],
)
def test_a_route_whose_guard_is_lost_is_closed(
    policy: str, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "policies.py").write_text("from portico.plugin import Policy\n\n\nclass Block(Policy): ...\n")
    text = BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{{policy}}}}}\n"
    path = folder / "edge.yaml"
    path.write_text(text.replace("SECRET", "a-secret-of-more-than-thirty-two-bytes"))
    rendering = render_envoy(load_config(path, {}))
    assert what in [loss.what for loss in rendering.losses]
    route = routes(rendering)["x"]
    assert route["direct_response"]["status"] == 503
    assert "route" not in route
    assert not rendering.private


def test_a_file_with_a_secret_is_private() -> None:
    secret = "a-secret-of-more-than-thirty-two-bytes"
    rendering = rendered(
        BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{auth: {{jwt: {{secret: {secret}}}}}}}}}\n"
    )
    assert rendering.losses == ()
    assert rendering.private == {"envoy.yaml"}


def test_percent_signs_mean_themselves() -> None:
    rendering = rendered(
        BEGIN
        + "  - {name: said, path: = /said, respond: {body: '5 % %REQ(a)%', headers: {X-A: '5 % %REQ(a)%'}}}\n"
        + "  - {name: told, path: /told, service: a, policies: {headers: {request: {set: {X-B: '%H% {client_ip}'}}}}}\n"
    )
    said = routes(rendering)["said"]
    assert said["direct_response"]["body"] == {"inline_string": "5 % %REQ(a)%"}
    assert said["response_headers_to_add"][-1]["header"]["value"] == "5 %% %%REQ(a)%%"
    (mutation,) = routes(rendering)["told"]["typed_per_filter_config"]["headers"]["mutations"]["request_mutations"]
    assert mutation["append"]["header"]["value"] == "%%H%% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"


def test_what_most_routes_say_stands_once() -> None:
    text = "policies: {rate_limit: {requests_per_minute: 60}, ip_filter: {allow: [10.0.0.0/8]}}\n" + BEGIN
    text += "".join(f"  - {{name: r{index}, path: /r{index}, service: a}}\n" for index in range(20))
    text += (
        "  - {name: free, path: /free, service: a, policies: {rate_limit: false, ip_filter: {allow: [127.0.0.0/8]}}}\n"
    )
    found = routes(rendered(text))
    assert "typed_per_filter_config" not in found["r7"]
    own = found["free"]["typed_per_filter_config"]
    assert own["rate_limit_gateway"]["disabled"] is True
    assert "127.0.0.0" in str(own["ip_filter"])
    assert sorted(own) == ["ip_filter", "rate_limit_gateway"]


def test_listeners_that_serve_the_same_are_one() -> None:
    text = "gateway: {listen: [{port: 8001}, {port: 8002, host: '::1'}, {name: few, port: 8003, routes: [x]}]}\n"
    document = yaml.safe_load(rendered(text + BEGIN + "  - {name: x, path: /x, service: a}\n").files["envoy.yaml"])
    names = {
        each["name"]: len(each.get("additional_addresses", ())) for each in document["static_resources"]["listeners"]
    }
    assert names == {"port_8001": 1, "few": 0}
