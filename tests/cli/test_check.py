from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portico.cli.main import app
from portico.config import RULES

WARNED = "services: {shop: {url: http://127.0.0.1:9001}}\n"
UNKNOWN = "services: {shop: {urll: http://127.0.0.1:9001}}\n"
NO_LIMIT = "policies.rate_limit: no route has a rate limit; write rate_limit: false if that is meant"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)


def check(text: str, *options: str) -> Result:
    Path("a.yaml").write_text(text)
    return CliRunner().invoke(app, ["check", "a.yaml", *options])


def test_a_warning_names_its_rule() -> None:
    done = check(WARNED)
    assert done.exit_code == 0
    assert done.stderr == f"warning: a.yaml:1:1: {NO_LIMIT} [no-rate-limit]\n"
    assert done.stdout.startswith("a.yaml: ok: 1 service, 1 route, 1 warning\n")


def test_what_a_rule_counts_as() -> None:
    as_error = check(WARNED, "--rule", "no-rate-limit=error")
    assert (as_error.exit_code, as_error.stdout) == (1, "")
    assert as_error.stderr == f"error: a.yaml:1:1: {NO_LIMIT} [no-rate-limit]\n"
    off = check(WARNED, "--rule", "no-rate-limit=off", "--rule", "service-unused=error")
    assert (off.exit_code, off.stderr) == (0, "")


@pytest.mark.parametrize(
    ("rule", "says"),
    [("no-such=off", "there is no rule no-such; they are "), ("no-rate-limit", "write no-rate-limit=error, ")],
)
def test_a_rule_that_says_nothing(rule: str, says: str) -> None:
    done = check(WARNED, "--rule", rule)
    assert done.exit_code == 2
    assert says in done.stderr


def test_for_programs() -> None:
    done = check(UNKNOWN, "--format", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [
        {
            "severity": "error",
            "rule": "invalid",
            "file": "a.yaml",
            "line": 1,
            "column": 19,
            "key": "services.shop.urll",
            "message": "unknown key",
            "suggestion": "url",
        }
    ]
    (warning,) = json.loads(check(WARNED, "--format", "json").stdout)
    assert (warning["severity"], warning["rule"]) == ("warning", "no-rate-limit")
    assert json.loads(check(WARNED, "--format", "json", "--rule", "no-rate-limit=off").stdout) == []


def test_for_github() -> None:
    done = check(UNKNOWN, "--format", "github")
    assert done.exit_code == 1
    place, message = "file=a.yaml,line=1,col=19,title=portico invalid", "services.shop.urll: unknown key"
    assert done.stdout == f'::error {place}::{message}; did you mean "url"?\n'


def test_an_annotation_is_one_line() -> None:
    done = check('services: {"sh%op": {url: "http://127.0.0.1:9001/\\n::error::x"}}\n', "--format", "github")
    assert done.exit_code == 1
    assert all(line.startswith("::error file=a.yaml,line=1,") for line in done.stdout.splitlines())
    assert "%25" in done.stdout


def test_a_file_that_cannot_be_read() -> None:
    text = "services: {shop: {url: https://a.test, tls: {ca: /absent.pem}}}\n"
    done = check(text, "--format", "json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert (found["rule"], found["key"], found["line"]) == ("invalid", "services.shop.tls.ca", 1)


def test_names_of_rules() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in RULES)
