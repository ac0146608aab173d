"""docs/listeners.md: each of its configurations does what the table behind it says."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.config import Config
from support.authority import Authority
from support.backend import Backend
from support.client import Wire
from support.documented import is_outcome
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "listeners.md").read_text(encoding="utf-8")
_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```\n(.*?)(?=^```yaml|^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"\| (?:[0-9]+|`(\w+)`) \| `(\w+) (\S+)` \| (.*) \|")


def examples() -> Iterator[Any]:
    """Each configuration with the rows of the table behind it."""
    for text, rest in _EXAMPLE.findall(PAGE):
        rows = [line for line in rest.splitlines() if _ROW.fullmatch(line)]
        yield pytest.param(yaml.safe_load(text), rows, id=rows[0] if rows else "none")


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Backend]]:
    names = {name for example in examples() for name in example.values[0]["services"]}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Backend(name=name)) for name in sorted(names)}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(("config", "rows"), [*examples()])
def test_an_example_does_what_its_table_says(
    services: dict[str, Backend], authority: Authority, config: dict[str, Any], rows: list[str]
) -> None:
    for name, service in config["services"].items():
        service |= {"url": services[name].url, "health_check": False}
    of_listeners = config["gateway"].get("listen") or [config["gateway"]]
    for listener in of_listeners:
        listener |= {"host": "127.0.0.1", "port": 0}
        if "tls" in listener:
            listener["tls"] = {**authority.leaf("own", "localhost").written, "redirect_from": 0}
    secure = {listener["name"] for listener in of_listeners if "tls" in listener}
    with Gateway(config) as gateway:
        for row in rows:
            match = _ROW.fullmatch(row)
            assert match, row
            name, method, target, outcome = match.groups()
            port = gateway.port_of(name) if name else gateway.port
            plain = socket.create_connection(("127.0.0.1", port), timeout=20)
            context = authority.client_context() if name in secure else None
            with Wire(port, context.wrap_socket(plain, server_hostname="localhost") if context else plain) as wire:
                is_outcome(outcome, wire.ask(method, target), row)


def test_every_example_is_found() -> None:
    found = [*examples()]
    assert len(found) == PAGE.count("```yaml") == PAGE.count("| request |")
    assert sum(len(example.values[1]) for example in found) == PAGE.count("` | `GET ") + PAGE.count("8080 | `GET ")
    assert all(Config.model_validate(example.values[0]).all_routes for example in found)
