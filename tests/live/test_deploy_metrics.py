"""What alerts and dashboard ask for is what a gateway says, and the image's check notices whether it serves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.containers import healthcheck
from deploy.test_prometheus import FILES, alerts, needs_promtool, promtool
from support.authority import Authority
from support.backend import Backend
from support.process import free_port
from support.waiting import until
from support.world import Gateway

DASHBOARD = FILES.parent / "grafana" / "dashboards" / "portico.json"
OURS = re.compile(r"\bgateway_[a-z_]+")
RENAMED = {"exported_instance": "instance"}
"""What Prometheus calls a label that it has itself."""
TARGETS = {"job", "instance"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with everything that is measured; nothing listens where its Redis should be."""
    leaf = Authority(tmp_path_factory.mktemp("authority")).leaf("api", "api.test")
    local = {"host": "127.0.0.1", "port": 0}
    listen = [{**local, "name": "plain"}, {**local, "name": "secure", "tls": leaf.written}]
    with Backend() as old, Backend() as new:
        away = f"redis://127.0.0.1:{free_port()}"
        canary = {"to": "new", "steps": [50], "every": "1h"}
        split = [{"service": "old", "weight": 1}, {"service": "new", "weight": 1}]
        dns = {"dns": {"name": "none.invalid", "port": 80}}
        config: dict[str, Any] = {
            "gateway": {
                "redis_url": away,
                "listen": listen,
                "tracing": {"endpoint": f"http://127.0.0.1:{free_port()}"},
            },
            "services": {"old": old, "new": new, "found": {"discover": "redis"}, "named": {"discover": dns}},
            "policies": {"cache": True, "compress": {"min_size": 0}, "rate_limit": {"requests_per_minute": 6000}},
            "routes": [
                {"name": "c", "path": "/c", "service": "old", "canary": canary},
                {"name": "s", "path": "/s", "split": split},
            ],
        }
        with Gateway(config) as own:
            own.get("/c/x", "Accept-Encoding: gzip")
            own.get("/s/x")
            yield own


@pytest.fixture(scope="module")
def families(gateway: Gateway) -> dict[str, set[str]]:
    """Every name of a sample, and its labels; families without samples yet have none."""

    def page() -> str:
        text = gateway.get("/metrics").body.decode()
        return text if "gateway_split_requests_total{" in text and "gateway_redis_up 0" in text else ""

    found: dict[str, set[str]] = {}
    for line in until(page).splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            for end in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
                found.setdefault(name + end, set())
        elif not line.startswith("#"):
            sample = re.match(r"(\w+)(?:\{(.*)\})? ", line)
            assert sample
            found.setdefault(sample[1], set()).update(re.findall(r'(\w+)="', sample[2] or ""))
    return found


def expressions() -> dict[str, str]:
    """Every query, by what it is for."""
    found = {rule["alert"]: rule["expr"] for rule in alerts()}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def labels_of(expression: str) -> set[str]:
    """Those that it selects by, groups by, or matches on."""
    grouped = re.findall(r"\b(?:by|on) ?\(([^)]*)\)", expression)
    selected = re.findall(r"(\w+) ?=~?\"", expression)
    return {RENAMED.get(name, name) for name in [*selected, *re.findall(r"\w+", " ".join(grouped))]}


@pytest.mark.parametrize("name", sorted(expressions()))
def test_every_query_asks_for_what_there_is(name: str, families: dict[str, set[str]]) -> None:
    expression = expressions()[name]
    metrics = set(OURS.findall(expression))
    assert metrics <= set(families), metrics - set(families)
    with_samples = {each for each in metrics if families[each]}
    if with_samples == metrics:
        known = set[str]().union(*(families[each] for each in metrics))
        assert labels_of(expression) <= known | TARGETS


@needs_promtool
def test_every_query_of_the_dashboard_can_be_parsed(tmp_path: Path) -> None:
    panels = {name: text for name, text in expressions().items() if name not in {rule["alert"] for rule in alerts()}}
    filled = [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in panels.values()]
    rules = [{"record": f"panel:{index}", "expr": text} for index, text in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", file)


def test_each_panel_has_a_place_and_a_name_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len({panel["id"] for panel in panels}) == len({*places}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_the_images_check_is_passed_while_the_gateway_serves(gateway: Gateway) -> None:
    assert checked(gateway.port) == 0
    assert checked(free_port()) != 0


def checked(port: int) -> int:
    command = [sys.executable, *healthcheck()[1:]]
    environ = {**os.environ, "GATEWAY_PORT": str(port)}
    return subprocess.run(command, env=environ, stderr=subprocess.DEVNULL, timeout=30, check=False).returncode
