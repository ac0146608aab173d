"""Prometheus takes its files, and each alert fires when it should and not before."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.core.errors import REASONS

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy" / "prometheus"
RULES = FILES / "rules.yml"
CASES = Path(__file__).parent / "alerts.yml"

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: make debian")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: object) -> str:
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_configuration_and_its_rules_are_valid() -> None:
    said = promtool("check", "config", FILES / "prometheus.yml")
    assert f"SUCCESS: {len(alerts())} rules found" in said
    assert "duplicate" not in said, "it reports these and is content"


@needs_promtool
def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    for rule in (rules := yaml.safe_load(RULES.read_text(encoding="utf-8")))["groups"][0]["rules"]:
        del rule["annotations"]  # they would have to be written twice
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    cases = CASES.read_text(encoding="utf-8").replace("[RULES]", "[rules.yml]")
    (tmp_path / "alerts.yml").write_text(cases, encoding="utf-8")
    promtool("test", "rules", tmp_path / "alerts.yml")


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    names = {rule["alert"] for rule in alerts()}
    cases = [each for test in tests for each in test["alert_rule_test"]]
    assert {each["alertname"] for each in cases if each.get("exp_alerts")} == names
    assert {each["alertname"] for each in cases if not each.get("exp_alerts")} == names


def test_each_alert_says_what_to_do() -> None:
    assert max(Counter(rule["alert"] for rule in alerts()).values()) == 1
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert set(rule["annotations"].get("reasons", "").split()) <= set(REASONS)


def test_the_rules_are_read_from_where_they_are_mounted() -> None:
    config = yaml.safe_load((FILES / "prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == [RULES.name]
    jobs = {each["job_name"] for each in config["scrape_configs"]}
    named = {job for rule in alerts() for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert named <= jobs


def test_the_runbook_has_each_alert_and_each_reason() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == {rule["alert"] for rule in alerts()}
    rows = [line.split("|")[1] for line in page.partition("## By reason")[2].splitlines() if line.startswith("| `")]
    words = [word for row in rows for word in re.findall(r"`(\w+)`", row)]
    assert sorted(words) == sorted(REASONS)
