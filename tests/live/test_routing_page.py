"""docs/routing.md: each of its configurations does what the table behind it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.backend import Backend
from support.client import ask
from support.documented import is_outcome
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
_ROW = re.compile(r"\| `(\w+) (\S+)`(?: with `([^`]*)`)? \| (.*) \|")


def examples() -> Iterator[Any]:
    """Of each section its configuration, and the rows of the table behind it."""
    for section in re.split("^## ", PAGE, flags=re.MULTILINE):
        _, _, example = section.partition("```yaml\n")
        text, _, rest = example.partition("```\n")
        if text:
            rows = [line for line in rest.splitlines() if _ROW.fullmatch(line)]
            yield pytest.param(yaml.safe_load(text), rows, id=section.partition("\n")[0])


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Backend]]:
    """A service for each name on the page."""
    names = {name for example in examples() for name in example.values[0]["services"]}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Backend(name=name)) for name in sorted(names)}


@pytest.fixture(scope="module")
def gateway(services: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"services": services}) as own:
        own.wait_for_control()
        yield own


@pytest.mark.parametrize(("config", "rows"), [*examples()])
def test_an_example_does_what_its_table_says(
    gateway: Gateway, services: dict[str, Backend], config: dict[str, Any], rows: list[str]
) -> None:
    for name, service in config["services"].items():
        service |= {"url": services[name].url, "health_check": False}
    gateway.write(config)
    reloaded = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
    assert reloaded.status == 200, reloaded.body
    for row in rows:
        for _ in range(2):  # what is remembered is the same
            check(gateway, row)


def check(gateway: Gateway, row: str) -> None:
    match = _ROW.fullmatch(row)
    assert match, row
    method, target, line, outcome = match.groups()
    answer = gateway.ask(method, target, *([line] if line else []))
    is_outcome(outcome, answer, row)


def test_every_example_is_found() -> None:
    assert len([*examples()]) == PAGE.count("```yaml") == PAGE.count("| request |")
    rows = [row for example in examples() for row in example.values[1]]
    assert len(rows) == len(re.findall(r"^\| `(?:GET|HEAD|POST) ", PAGE, re.MULTILINE)) > 50
