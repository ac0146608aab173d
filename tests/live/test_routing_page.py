"""docs/routing.md: each of its configurations does what the table behind it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.backend import Backend
from support.client import ask
from support.documented import is_outcome
from support.pages import DOCS, played
from support.world import Gateway

PAGE = [*played("routing.md")]
_ROW = re.compile(r"\| `(\w+) (\S+)`(?: with `([^`]*)`)? \| (.*) \|")


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Backend]]:
    """A service for each name on the page."""
    names = {name for each in PAGE for name in each.config["services"]}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Backend(name=name)) for name in sorted(names)}


@pytest.fixture(scope="module")
def gateway(services: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"services": services}) as own:
        own.wait_for_control()
        yield own


@pytest.mark.parametrize(("config", "rows"), [pytest.param(each.config, each.rows, id=each.title) for each in PAGE])
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
    text = (DOCS / "routing.md").read_text(encoding="utf-8")
    assert len(PAGE) == text.count("```yaml") == text.count("| request |")
    rows = [row for each in PAGE for row in each.rows]
    assert len(rows) == len(re.findall(r"^\| `(?:GET|HEAD|POST) ", text, re.MULTILINE)) > 50
