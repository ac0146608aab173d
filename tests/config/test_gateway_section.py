"""The gateway section alone: the same as of the whole file, whatever is wrong with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config import ConfigError, load_config, load_gateway

SERVICES = "services: {a: {url: http://h}}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "portico.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gateway:\n",
        "gateway:\n  admin: 127.0.0.1:9100  # here\n# there\n  admin_token: ${TOKEN}\n\n",
        "gateway: {\n  admin: 127.0.0.1:9100,\n  listen: [\n    {port: 8001},\n  ],\n}\n",
        "gateway: {\nadmin: '127.0.0.1:9100'\n}\n",
        "gateway: {admin: '127.0.0.1:9100', admin_token: '${file:token}'}\n",
        '"gateway" : {port: 8001}\n',
        "'gateway':\n  port: 8001\n",
        "base: &base {port: 8001}\n",
        "gateway: &g\n  port: 8001\n  log: {access: a.log}\n",
        "---\ngateway:\n  port: 8001\n",
        "consumers: [{name: gateway}]\n",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_it_is_that_of_the_whole_file(tmp_path: Path, text: str, is_first: bool) -> None:
    (tmp_path / "token").write_text("a-token-of-20-letters")
    path = written(tmp_path, text + SERVICES if is_first or text.startswith("---") else SERVICES + text)
    environ = {"TOKEN": "a-token-of-16-letters", "GATEWAY_PORT": "8100", "LOG_LEVEL": "ERROR"}
    if "base" in text:
        with pytest.raises(ConfigError):  # there is no such key
            load_config(path, environ)
        assert load_gateway(path, environ).port == 8100
        return
    expected = load_config(path, environ).gateway
    assert load_gateway(path, environ) == expected
    assert load_gateway(path, environ).own_admin_token == expected.own_admin_token


@pytest.mark.parametrize(
    "text",
    [
        "{gateway: {port: 8001}, services: {a: {url: http://h}}}",
        '{"gateway": {"port": 8001}, "services": {"a": {"url": "http://h"}}}',
        "  gateway: {port: 8001}\n  services: {a: {url: http://h}}\n",
        "? gateway\n: {port: 8001}\nservices: {a: {url: http://h}}\n",
        "# first\n\n{\n  gateway: {port: 8001}, services: {a: {url: http://h}}}",
        "services: {a: &port {url: http://h}}\ngateway: {port: 8001}\n",
        "services: {a: {url: &url http://h}, b: {url: *url}}\ngateway: {port: 8001, host: &host localhost}\n",
    ],
)
def test_it_may_be_written_in_other_ways(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    assert load_gateway(path, {}) == load_config(path, {}).gateway
    assert load_gateway(path, {}).port == 8001


@pytest.mark.parametrize(
    "wrong", ["services: {a: {ulr: x}}", "services: [", "routes: [{path: x}]", "services: ${NONE}"]
)
def test_what_is_wrong_with_the_rest_is_no_obstacle(tmp_path: Path, wrong: str) -> None:
    path = written(tmp_path, f"gateway: {{admin: '127.0.0.1:9100'}}\n{wrong}\n")
    assert load_gateway(path, {}).admin_address == ("127.0.0.1", 9100)
    with pytest.raises(ConfigError):
        load_config(path, {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gateway: {prot: 8001}", 'portico.yaml:3:11: gateway.prot: unknown key; did you mean "port"?'),
        ("gateway: {admin_token: '${NONE}'}", "portico.yaml:3:24: gateway.admin_token: the environment variable NO"),
        (
            "gateway: {port: 1}\ngateway: {port: 2}",
            'portico.yaml:4:1: the key "gateway" is written twice; it is on line 3 already',
        ),
        ("gateway: [", "portico.yaml:"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, f"{SERVICES}# more\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_gateway(path, {})
    with pytest.raises(ConfigError) as whole:
        load_config(path, {})
    assert caught.value.problems == whole.value.problems
    assert line in str(caught.value)


def test_without_a_file_it_is_that_of_the_demo() -> None:
    assert load_gateway(None, {"GATEWAY_ADMIN": "127.0.0.1:9100"}).admin_address == ("127.0.0.1", 9100)
