"""The commands that look at a configuration without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.authority import Authority
from support.portico import run_portico
from support.world import Gateway

GOOD = """
gateway: {port: 8000}
policies: {rate_limit: {requests_per_minute: 60}}
services:
  books:
    url: http://localhost:9001
    versions: {v1: {}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "portico.yaml"
    path.write_text(GOOD)
    return path


def test_check_says_whether_a_configuration_is_right(file: Path) -> None:
    done = run_portico("check", "--config", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 service, 2 routes" in done.stdout
    file.write_text(GOOD.replace("requests_per_minute: 60", "requests_per_minut: 60"))
    done = run_portico("check", "--config", str(file))
    assert done.returncode == 1
    assert f"{file}:3:" in done.stderr
    assert "requests_per_minute" in done.stderr


@pytest.mark.parametrize(
    ("text", "env", "word"),
    [
        ("policies: {auth: {jwt: {}}}", {"SECRET_KEY": "a-secret-that-is-long-enough-for-HS256"}, "auth.jwt"),
        ("policies: {cors: {allow_origins: ['*'], allow_credentials: true}}", {}, "credentials"),
        ("", {}, "rate_limit"),
        ("x", {}, "idle_connection_timeout"),
    ],
)
def test_check_warns(tmp_path: Path, text: str, env: dict[str, str], word: str) -> None:
    file = tmp_path / "portico.yaml"
    idle = "idle_connection_timeout: 90" if text == "x" else "timeout: 10"
    policies = "" if text == "x" else text
    file.write_text(f"{policies}\nservices: {{books: {{url: 'http://localhost:9001', {idle}}}}}\n")
    done = run_portico("check", "--config", str(file), **env)
    assert done.returncode == 0
    assert any(line.startswith("warning: ") and word in line for line in done.stderr.splitlines()), done.stderr
    assert "a-secret-that-is-long" not in done.stderr


def test_an_expired_certificate_is_an_error_to_check_and_a_warning_to_run(tmp_path: Path) -> None:
    leaf = Authority(tmp_path).leaf("over", days=-1)
    config = {"gateway": {"tls": leaf.written}}
    with Gateway(config) as gateway:
        warned = f"warning: {gateway.file}:7:18: gateway.tls.certificate: {leaf.certificate} has expired"
        assert warned in gateway.err()
        done = run_portico("check", "--config", str(gateway.file))
    assert done.returncode == 1
    assert f"gateway.tls.certificate: {leaf.certificate} has expired" in done.stderr


def test_routes_schema_and_version(file: Path) -> None:
    table = run_portico("routes", "--config", str(file)).stdout
    assert "/api/books" in table
    assert "/v1/books" in table
    assert "rate_limit" in table
    schema = json.loads(run_portico("schema").stdout)
    assert {"gateway", "services", "routes", "policies"} <= set(schema["properties"])
    assert run_portico("version").stdout.startswith("portico ")
