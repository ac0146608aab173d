"""Envoy takes what is rendered for it: all golden files, the demo, and every configuration of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from documentation.examples import examples
from portico.config import Config, ConfigError, load_config, load_text
from portico.render import render_envoy
from support.authority import Authority
from support.envoy import envoy_program, what_envoy_says

pytestmark = pytest.mark.skipif(envoy_program() is None, reason="Envoy is not installed")

GOLDEN: Final = Path(__file__).parent / "golden"
CLUSTERS: Final = ("cluster", "cluster_name")
"""Keys whose values are names of clusters."""


def configurations() -> Iterator[tuple[str, Config]]:
    yield "the demo", load_config(None, {})
    for path in sorted(GOLDEN.glob("*.yaml")):
        if "." not in path.stem:
            yield path.name, load_text(path.read_text(), path.name, {})
    for block in examples("yaml"):
        try:
            yield block.where, load_text(block.block.text, "portico.yaml", {"SECRET_KEY": "k" * 40})
        except ConfigError:
            continue  # a part of one, or one that is wrong


class Merged:
    """Several configurations in one: Envoy needs a tenth of a second to begin."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory)
        leaf = authority.leaf("edge.test")
        self._files = {"certificate_chain": leaf.certificate, "private_key": leaf.key, "trusted_ca": authority.ca}
        self._log = str(directory / "access.log")
        self._ports = iter(range(20_000, 65_536))
        self.listeners: list[Any] = []
        self.clusters: list[Any] = []
        self.rest: dict[str, Any] = {}

    def add(self, name: str, text: str) -> None:
        document = yaml.load(text, yaml.CSafeLoader)
        resources = self._changed(document.pop("static_resources"), name)
        self.listeners += [{**each, "name": f"{name} {each['name']}"} for each in resources["listeners"]]
        self.clusters += [{**each, "name": f"{name} {each['name']}"} for each in resources.get("clusters", ())]
        self.rest = document

    def text(self) -> str:
        return json.dumps({"static_resources": {"listeners": self.listeners, "clusters": self.clusters}, **self.rest})

    def _changed(self, part: Any, name: str) -> Any:
        """With other names of clusters and ports, and files that there are."""
        if isinstance(part, list):
            return [self._changed(each, name) for each in part]
        if not isinstance(part, dict):
            return part
        found = {key: self._changed(each, name) for key, each in part.items()}
        for key in self._files.keys() & found.keys():
            found[key] = {"filename": str(self._files[key])}
        for key in CLUSTERS:
            if isinstance(found.get(key), str):
                found[key] = f"{name} {found[key]}"
        for each in found.get("weighted_clusters", {}).get("clusters", ()):
            each["name"] = f"{name} {each['name']}"
        if str(found.get("@type")).endswith("FileAccessLog"):
            found["path"] = self._log
        if "address" in found and "port_value" in found:
            found["port_value"] = next(self._ports)
        return found


def test_envoy_takes_all(tmp_path: Path) -> None:
    merged, texts = Merged(tmp_path), {}
    for name, config in configurations():
        texts[name] = render_envoy(config).files["envoy.yaml"]
        merged.add(name, texts[name])
    said = what_envoy_says(merged.text(), tmp_path)
    assert len(texts) > 50
    assert said.endswith("OK"), said
