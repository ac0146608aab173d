from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from config.conftest import Load, Report
from portico.config import Config, ConfigError, Problem, load_config, load_text

CONTRACT = """\
gateway:
  host: 0.0.0.0
  port: 8000
  workers: 1
  admin: 127.0.0.1:9000
  admin_token: ${ADMIN_TOKEN:-}
  redis_url: ${REDIS_URL:-}
  trusted_proxies: []
  tls: {certificate: cert.pem, key: key.pem}
  limits: {header_size: 32KiB, header_count: 100, url_length: 16KiB, body_size: 10MiB, connections: 10000,
           header_timeout: 10, body_timeout: 30, idle_timeout: 75, drain_timeout: 30}
  log: {level: INFO, format: json, access: stdout}
services:
  gemini:
    url: http://localhost:8001
    health_check: /health
    timeout: 30.0
    retries: 3
  portfolio:
    instances: [{url: http://10.0.0.5:8003, weight: 2}, {url: http://10.0.0.6:8003}]
    load_balancing: round_robin
    versions: {v1: {}, v2: {url: http://localhost:8103}}
    policies: {auth: {jwt: {}}, authorize: {scopes: [portfolio:read]}}
routes:
  - {name: legacy, service: gemini, path: /old/gemini, hosts: [], methods: [], headers: {}, rewrite: /api/{path}}
policies:
  cors: {allow_origins: ["*"], allow_methods: ["*"], allow_headers: ["*"]}
  rate_limit: {requests_per_minute: 60, burst: 20, by: client_ip}
consumers:
  - {name: alice, rate_limit: {requests_per_minute: 600}}
"""


def test_a_whole_file(load: Load) -> None:
    config = load(CONTRACT, {"SECRET_KEY": "s" * 32})
    assert [(route.name, route.path, route.rewrite) for route in config.all_routes] == [
        ("legacy", "/old/gemini", "/api/{path}"),
        ("gemini", "/api/gemini", "/{path}"),
        ("portfolio", "/api/portfolio", "/{path}"),
        ("portfolio-v1", "/v1/portfolio", "/api/{path}"),
        ("portfolio-v2", "/v2/portfolio", "/api/{path}"),
    ]


def test_all_problems_are_reported_at_once(report: Report) -> None:
    text = """\
    gateway:
      port: 99999
    services:
      gemini:
        url: http://localhost:8001
        timout: 3
        policies: {rate_limit: {burst: 0}}
      broken: {url: nowhere}
    routes:
      - {service: gemini, path: x}
      - {service: gemni, path: /y}
      - {service: gemini, path: /z, version: v1}
      - {service: broken, path: /q, version: v1}
      - {service: gemini, path: /a, name: same}
      - {service: gemini, path: /b, name: same}
    consumers: [{name: 5}, {name: a}, {name: a}]
    """
    assert report(text) == [
        "portico.yaml:2:9: gateway.port: has to be 65535 or less",
        'portico.yaml:6:5: services.gemini.timout: unknown key; did you mean "timeout"?',
        "portico.yaml:7:36: services.gemini.policies.rate_limit.burst: has to be 1 or more",
        "portico.yaml:8:17: services.broken.url: a url starts with http:// or https:// and a host, or is unix:///path",
        "portico.yaml:10:29: routes[0].path: expected a path that starts with /",
        'portico.yaml:11:15: routes[1].service: there is no service "gemni"; did you mean "gemini"?',
        'portico.yaml:12:42: routes[2].version: the service gemini has no version "v1"',
        "portico.yaml:15:39: routes[5].name: the route for /a has this name already",
        "portico.yaml:16:20: consumers[0].name: expected text; put it into quotes",
        "portico.yaml:16:42: consumers[2].name: a consumer above has this name already",
    ]


def test_a_problem_from_a_merge_key_is_reported_where_it_is_written(report: Report) -> None:
    text = """\
    services:
      a: &base
        url: http://h
        retries: 99
      b: {<<: *base, url: http://i}
    """
    assert report(text) == [
        "portico.yaml:4:14: services.a.retries: has to be 10 or less",
        "portico.yaml:4:14: services.b.retries: has to be 10 or less",
    ]


def test_a_problem_has_parts_for_programs(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("gateway:\n  prt: 1")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column, problem.key) == ("portico.yaml", 2, 3, "gateway.prt")
    assert (problem.message, problem.suggestion) == ("unknown key", "port")


def test_a_route_with_a_wrong_version_and_no_service(report: Report) -> None:
    """What is missing is looked for once all that is written can be read."""
    assert report("routes: [{path: /, version: []}]") == ["portico.yaml:1:29: routes[0].version: expected text"]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "{}", "~"])
def test_an_empty_file(report: Report, text: str) -> None:
    (line,) = report(text, {"GATEWAY_PORT": "1"})
    assert line.endswith(": nothing is written in it: at least services: is needed")


@pytest.mark.parametrize("text", ["- a", "just text", "5"])
def test_what_is_no_mapping(report: Report, text: str) -> None:
    assert report(text) == ["portico.yaml:1:1: expected keys and values at the top, such as services:"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "portico.yaml"
    path.write_text("\ufeffgateway: {port: 1}", encoding="utf-8")
    assert load_config(path, {}).gateway.port == 1

    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"portico\.yaml:1:4: not UTF-8 text: the byte 0xff"):
        load_config(path, {})
    path.write_bytes(b"a: 1\nbb: 2\nc: \xc3\xa9\xfc")
    with pytest.raises(ConfigError, match=r"portico\.yaml:3:6: not UTF-8 text: the byte 0xfc"):
        load_config(path, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {})
    with pytest.raises(ConfigError, match=r"absent\.yaml: there is no such file; portico init writes one$"):
        load_config(tmp_path / "absent.yaml", {})


def test_secrets_stay_out_of_messages(report: Report) -> None:
    text = """\
    gateway: {admin_token: [hunter2], redis_url: hunter2, admin: "${S}"}
    policies: {auth: {jwt: {secret: {a: hunter2}, algorithms: ["${S}"]}}}
    services: {a: {url: "http://u:${S}@h", health_check: "${S}", tls: "${S}"}}
    """
    lines = report(text, {"S": "hunter2"})
    assert len(lines) == 8
    assert "hunter2" not in "\n".join(lines)


def test_pydantic_itself_shows_no_values() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"gateway": {"admin_token": ["hunter2"]}})
    assert "hunter2" not in str(caught.value)


def test_python_code_gets_the_same_checks() -> None:
    with pytest.raises(ValidationError, match='there is no service "b"'):
        Config.model_validate({"services": {"a": {"url": "http://h"}}, "routes": [{"service": "b", "path": "/"}]})


KEYS = st.sampled_from(
    [
        *("gateway", "services", "routes", "policies", "consumers", "url", "instances", "versions", "v1", "timeout"),
        *("retries", "health_check", "on", "rate_limit", "auth", "jwt", "cors", "by", "header", "secret", "path"),
        *("service", "version", "name", "hosts", "methods", "headers", "rewrite", "limits", "log", "tls", "port"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "/", "/a", "a", "http://h", "${A}", "${A:-}", "off", "*", "10s", "v1", "GET"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


def problems(text: str, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """What is wrong with a text: nothing, or a report that is not empty; anything else fails the test."""
    try:
        load_text(text, "f", environ)
    except ConfigError as error:
        return error.problems or pytest.fail("an empty report")
    return ()


def lines_of(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {lines_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(lines_of, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {None: "~", True: "yes", False: "no"}[value]
    return f'"{value}"' if isinstance(value, str) else str(value)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5), st.booleans())
def test_any_tree_is_a_configuration_or_a_report(tree: dict[str, object], variable: bool) -> None:
    environ = {"A": "1", "GATEWAY_PORT": "1", "RATE_LIMIT_BURST": "2"} if variable else {}
    assert all(problem.message and problem.file for problem in problems(lines_of(tree), environ))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="gatewyservicsrou:{}[]- \n&*<>!|'\"$#,.~?%@`", max_size=120))
def test_any_text_is_a_configuration_or_a_report(text: str) -> None:
    assert all(problem.message for problem in problems(text, {}))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(CONTRACT)), st.integers(0, 30), st.text(max_size=5))
def test_a_file_with_a_hole_is_a_configuration_or_a_report(at: int, size: int, filling: str) -> None:
    text = CONTRACT[:at] + filling + CONTRACT[at + size :]
    assert all(problem.message for problem in problems(text, {"SECRET_KEY": "s" * 32}))
