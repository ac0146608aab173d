"""What `portico render gateway-api` writes: resources that are valid, and that take the requests that Portico takes.

`PORTICO_GATEWAY_API_CRDS` names a directory with the CustomResourceDefinitions of the Gateway API (config/crd/standard
of its repository): what is rendered is held against them where they are there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from documentation.examples import examples
from live.render_beside import load, lost_routes, route_of
from live.render_cases import CASES, HOST, Case, configuration
from portico.config import Config, ConfigError, load_text
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.proxy.routing.router import Router
from portico.render import Rendering, render_gateway_api
from portico.render.gateway_api.keys import TABLE
from portico.snapshot.routing import rule_of
from render.gateway_model import Found, Gateway, filters
from render.test_kong import some_routes
from render.test_written import SHAPES

BEGIN: Final = "services: {a: {url: 'http://10.0.0.1:9001', default_routes: false}}\nroutes:\n"
CRDS: Final = os.environ.get("PORTICO_GATEWAY_API_CRDS")
GOLDEN: Final = Path(__file__).parent / "golden"
OWN: Final = "gateway.networking.k8s.io/v1"


def rendered(text: str) -> Rendering:
    return render_gateway_api(load_text(text, "edge.yaml", {}))


def gateway(rendering: Rendering) -> Gateway:
    return Gateway(rendering.files["gateway-api.yaml"])


def router(config: Config) -> Router[str]:
    return Router(rule_of(route, route.name) for route in config.all_routes if not route.is_variant)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Rendering, Gateway]:
    config = load(configuration("http://10.0.0.1:9001", tmp_path_factory.mktemp("gateway")), 8000)
    rendering = render_gateway_api(config)
    return config, rendering, gateway(rendering)


# ---- requests


def asked(gate: Gateway, case: Case) -> Found | None:
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in case.lines)}
    return gate.asked(case.method, case.target, case.host, fields)


def is_otherwise(case: Case) -> bool:
    """Whether it is of what the page of the documentation says of all Gateways."""
    is_unclear = any(part in case.target.partition("?")[0] for part in ("..", "%2e", "%c3"))
    is_slash = case.status == 307 and any("text/html" in line for line in case.lines)
    return is_unclear or is_slash or case.method == "OPTIONS"


def test_a_gateway_takes_the_shared_cases_as_portico_does(shared: tuple[Config, Rendering, Gateway]) -> None:
    config, rendering, gate = shared
    routes, lost, compared = router(config), lost_routes(config, rendering), 0
    for case in CASES:
        route = route_of(routes, case)
        if route in lost or is_otherwise(case):
            continue
        found = asked(gate, case)
        if route is None:
            assert found is None or not found.is_sure, case
            continue
        assert found is not None, case
        if case.sees is not None:
            assert found.path == case.sees.partition("?")[0], case
            assert not found.is_closed
        elif case.status in (301, 302, 307, 308):
            if found.redirect is not None:
                assert found.redirect["statusCode"] == case.status
        elif case.status == 503:
            assert found.is_closed or "answer" in case.target
        compared += 1
    assert compared >= 50


@pytest.mark.parametrize(
    ("target", "sent", "host"),
    [
        ("/vllm", "/", HOST),
        ("/vllm/", "/", HOST),
        ("/vllm/v1/x", "/v1/x", HOST),
        ("/vllmx", None, HOST),
        ("/service/version", "/api/service/version", HOST),
        ("/service", "/api/service/", HOST),
        ("/service/", "/api/service/", HOST),
        ("/test", "/foo/test", "foo.test"),
        ("/", "/foo/", "foo.test"),
        ("/vllm/a%2Fb", "/a%2Fb", HOST),
    ],
)
def test_a_prefix_is_replaced_by_whole_segments(
    shared: tuple[Config, Rendering, Gateway], target: str, sent: str | None, host: str
) -> None:
    found = shared[2].asked("GET", target, host, {})
    if sent is None:
        assert found is None or not found.is_sure
    else:
        assert found is not None
        assert found.path == sent


@pytest.mark.parametrize("seed", range(30))
def test_any_routes_take_the_same_requests(seed: int) -> None:
    chance = random.Random(seed)
    try:
        config = load_text(some_routes(chance), "edge.yaml", {})
    except ValueError:
        pytest.skip("two of the routes are one")
    rendering = rendered_of(config)
    gate, routes = gateway(rendering), router(config)
    for _ in range(150):
        path = chance.choice(("/", "/a", "/a/", "/a/b", "/a/x", "/a/b/c", "/ab", "/c"))
        host, method = chance.choice(("h.test", "x.h.test", "y.x.h.test", "other.test")), chance.choice(("GET", "PUT"))
        fields = {name: value for name, value in (("x-a", chance.choice("123")), ("x-b", "2")) if chance.random() < 0.5}
        lines = [f"{name}: {value}".encode() for name, value in fields.items()]
        names = [name.encode() for name in fields]
        ours = routes.match(segments_of(path.encode()), host.encode(), method.encode(), Fields(names, lines), b"")
        theirs = gate.asked(method, path, host, fields)
        if theirs is not None and not theirs.is_sure:
            continue  # up to the implementation, and listed
        if ours is not None and next(each for each in config.all_routes if each.name == ours[0]).path.startswith("~"):
            continue
        assert (theirs is None) == (ours is None), (path, host, method, fields)
        if theirs is not None and ours is not None:
            assert theirs.path.split("/")[1] == ours[0], (path, host, method, fields)


def rendered_of(config: Config) -> Rendering:
    rendering = render_gateway_api(config)
    assert not any("may take" in loss.why for loss in rendering.losses)
    return rendering


# ---- what is listed, and what is not opened


@pytest.mark.parametrize(
    "guard",
    [
        "deny: [{name: bots, when: {headers: {User-Agent: '~* bot'}}}]",
        "auth: {api_key: {}}",
        "ip_filter: {allow: [10.0.0.0/8]}",
        "plugins: [{use: 'portico.plugin:Policy'}]",
    ],
)
def test_a_route_whose_guard_a_gateway_cannot_check_is_closed(guard: str) -> None:
    text = BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{{guard}}}}}\n"
    try:
        rendering = rendered(text)
    except ConfigError:
        pytest.skip("no such plugin")
    found = gateway(rendering).asked("GET", "/x/y", HOST, {})
    assert found is not None
    assert found.is_closed
    assert [loss.line for loss in rendering.losses] == [3]


def test_a_pattern_is_named_as_specific_to_implementations() -> None:
    rendering = rendered(BEGIN + "  - {name: x, path: '~ ^/x/[0-9]+$', service: a}\n")
    assert [(loss.line, loss.why.partition(":")[0]) for loss in rendering.losses] == [
        (3, "RegularExpression is implementation-specific")
    ]


def test_instances_by_address_are_endpoints_and_others_their_services() -> None:
    services = {
        "far": {"instances": [{"url": "http://10.0.0.1:1", "weight": 3}, {"url": "http://10.0.0.2:2"}]},
        "pair": {"instances": [{"url": "http://10.0.0.1:1"}, {"url": "http://[fd00::1]:1"}]},
        "near": {"url": "http://shop:8080"},
        "other": {"url": "http://shop.ns.svc:8080"},
        "bank": {"url": "https://bank.example"},
    }
    rendering = rendered(yaml.safe_dump({"services": services}, sort_keys=False))
    found = {(each["kind"], each["metadata"]["name"]): each for each in gateway(rendering).resources}
    assert [found["EndpointSlice", name]["endpoints"] for name in ("far", "far-2")] == [
        [{"addresses": ["10.0.0.1"]}],
        [{"addresses": ["10.0.0.2"]}],
    ]
    assert found["EndpointSlice", "pair-ipv6"]["addressType"] == "IPv6"
    assert found["Service", "bank"]["spec"]["externalName"] == "bank.example"
    assert found["BackendTLSPolicy", "bank"]["spec"]["validation"]["hostname"] == "bank.example"
    refs = [rule["backendRefs"] for rule in found["HTTPRoute", "portico-all"]["spec"]["rules"]]
    assert refs[0] == [{"name": "far", "port": 1, "weight": 3}, {"name": "far-2", "port": 2, "weight": 1}]
    assert refs[2:4] == [[{"name": "shop", "port": 8080}], [{"name": "shop", "port": 8080, "namespace": "ns"}]]
    assert ("Service", "near") not in found


def test_more_listeners_than_a_gateway_has_are_in_sets() -> None:
    listen = [{"name": f"l{at}", "port": 1000 + at} for at in range(70)]
    text = yaml.safe_dump({"gateway": {"listen": listen}}) + BEGIN + "  - {path: /x, service: a}\n"
    found = {each["kind"]: each for each in gateway(rendered(text)).resources}
    assert len(found["Gateway"]["spec"]["listeners"]) == 64
    assert len(found["ListenerSet"]["spec"]["listeners"]) == 6
    parents = found["HTTPRoute"]["spec"]["parentRefs"]
    assert len(parents) == 70
    assert parents[-1]["kind"] == "ListenerSet"


def test_the_table_names_keys_that_there_are() -> None:
    assert {shape for shape in TABLE if shape not in SHAPES} == set()


# ---- valid resources


def is_valid(text: str) -> None:
    """The resources are as Kubernetes and the Gateway API demand them, as far as both say it without a cluster."""
    import jsonschema  # type: ignore[import-untyped]  # they take two seconds, which every process would pay
    import kubernetes_validate  # type: ignore[import-untyped]

    seen = set()
    for each in yaml.safe_load_all(text):
        if each is None:
            continue
        key = (each["kind"], each["metadata"]["name"])
        assert key not in seen
        seen.add(key)
        assert len(key[1]) <= 63
        if each["apiVersion"] != OWN:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        elif CRDS is not None:
            jsonschema.validate(each, definitions()[each["kind"]])
        if each["kind"] == "HTTPRoute":
            has_rules_that_fit(each["spec"])


def has_rules_that_fit(spec: dict[str, Any]) -> None:
    """What the API demands of rules by expressions of its own (XValidation)."""
    assert len(spec.get("hostnames", ())) <= 16
    rules = spec["rules"]
    assert 1 <= len(rules) <= 16
    assert sum(len(rule.get("matches", ())) for rule in rules) <= 128
    for rule in rules:
        kinds = [each["type"] for each in filters(rule)]
        once = [kind for kind in kinds if kind != "RequestMirror"]
        assert len(once) == len(set(once))
        assert "RequestRedirect" not in kinds or not rule.get("backendRefs")
        assert not {"RequestRedirect", "URLRewrite"} <= set(kinds)
        for each in filters(rule):
            (said,) = (value for key, value in each.items() if key != "type")
            if isinstance(said.get("path"), dict) and said["path"]["type"] == "ReplacePrefixMatch":
                assert [match["path"]["type"] for match in rule["matches"]] == ["PathPrefix"]


_definitions: dict[str, Any] = {}


def definitions() -> dict[str, Any]:
    """The schemas of the API's resources, by their kinds, in which no key is unknown."""
    if not _definitions:
        for path in sorted(Path(CRDS or "").glob("*.yaml")):
            for each in yaml.safe_load_all(path.read_text()):
                if each is not None and each["kind"] == "CustomResourceDefinition":
                    for own in (version for version in each["spec"]["versions"] if version["name"] == "v1"):
                        schema = dict(own["schema"]["openAPIV3Schema"])
                        schema["properties"]["metadata"] = {}
                        _definitions[each["spec"]["names"]["kind"]] = closed(schema)
    return _definitions


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found["additionalProperties"] = False
    return found


def texts() -> Iterator[tuple[str, str]]:
    yield from ((path.stem, path.read_text()) for path in sorted(GOLDEN.glob("*.yaml")) if "." not in path.stem)


@pytest.mark.parametrize(("name", "text"), [*texts()], ids=[name for name, _ in texts()])
def test_what_is_rendered_is_valid(name: str, text: str) -> None:
    is_valid(render_gateway_api(load_text(text, f"{name}.yaml", {})).files["gateway-api.yaml"])


def test_the_shared_routes_are_valid(shared: tuple[Config, Rendering, Gateway]) -> None:
    is_valid(shared[1].files["gateway-api.yaml"])


@pytest.mark.skipif(CRDS is None, reason="PORTICO_GATEWAY_API_CRDS names no schemas")
def test_every_configuration_of_the_documentation_is_valid_in_it() -> None:
    for block in examples("yaml"):
        try:
            config = load_text(block.block.text, "portico.yaml", {"SECRET_KEY": "k" * 40})
        except ConfigError:
            continue  # a part of one, or one that is wrong
        is_valid(render_gateway_api(config).files["gateway-api.yaml"])


def test_odd_names_become_names_that_kubernetes_takes() -> None:
    services = {name: {"url": "http://10.0.0.1:1"} for name in ("A_b.C", "1", "a" * 90, "A-b-c")}
    rendering = rendered(yaml.safe_dump({"services": services}, sort_keys=False))
    is_valid(rendering.files["gateway-api.yaml"])
    names = [each["metadata"]["name"] for each in gateway(rendering).resources if each["kind"] == "Service"]
    assert names == ["a-b-c", "x-1", "a" * 55, "a-b-c-2"]


@pytest.mark.parametrize(
    ("route", "method", "target", "fields"),
    [
        ("path: /h, methods: [GET, PROPFIND]", "PROPFIND", "/h/x", {}),
        ("path: /h, headers: {X-Empty: ''}", "GET", "/h", {"x-empty": ""}),
        ("path: '/h/%2Fx'", "GET", "/h/%2Fx", {}),
    ],
)
def test_no_other_route_takes_what_a_guarded_one_would_refuse(
    route: str, method: str, target: str, fields: dict[str, str]
) -> None:
    guard = "service: a, policies: {auth: {api_key: {}}}"
    others = "  - {name: all, path: /, service: a}\n  - {name: get, path: /h, methods: [GET], service: a}\n"
    rendering = rendered(f"{BEGIN}{others}  - {{name: x, {route}, {guard}}}\n")
    found = gateway(rendering).asked(method, target, HOST, fields)
    assert found is not None
    assert [each["name"] for each in found.rule["backendRefs"]] == ["portico-closed"]
