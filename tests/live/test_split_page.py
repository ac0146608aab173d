"""docs/split.md: of each of its configurations comes what the table behind it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.backend import Backend
from support.client import ask
from support.messages import Message
from support.pages import DOCS, Played, played
from support.world import Gateway

PAGE = [each for each in played("split.md") if each.config]
_ROW = re.compile(r"\| `(\w+) (\S+)`(?: with `([^`]*)`)?(?:, (\d+) times)? \| (.*) \|")
_OUTCOME = re.compile(r"(\d+) (?:`([^`]+)`|with (\d+))")
_OFF = 2
"""By how many requests a share may be off."""


def sides(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What has a URL: services, or their versions as `service version`."""
    for name, service in config["services"].items():
        service["health_check"] = False
        if "url" in service:
            yield name, service
        yield from ((f"{name} {version}", own) for version, own in service.get("versions", {}).items())


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend]]:
    names = {name for each in PAGE for name, _ in sides(each.config)}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Backend(name=name)) for name in sorted(names)}


@pytest.fixture(scope="module")
def gateway(backends: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"services": {"shop": backends["shop"]}}) as own:
        own.wait_for_control()
        yield own


@pytest.mark.parametrize("example", [pytest.param(each, id=each.title) for each in PAGE])
def test_of_an_example_comes_what_its_table_says(
    gateway: Gateway, backends: dict[str, Backend], example: Played
) -> None:
    for name, side in sides(example.config):
        side["url"] = backends[name].url
    gateway.write(example.config)
    reloaded = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
    assert reloaded.status == 200, reloaded.body
    for row in example.rows:
        check(gateway, row)


def check(gateway: Gateway, row: str) -> None:
    match = _ROW.fullmatch(row)
    assert match, row
    method, target, line, times, said = match.groups()
    lines = [line] if line else []
    with gateway.wire() as wire:
        found = Counter(outcome(wire.ask(method, target, *lines)) for _ in range(int(times or 1)))
    expected = {name or status: int(count) for count, name, status in _OUTCOME.findall(said)}
    assert found.keys() == expected.keys(), row
    off = _OFF if len(expected) > 1 else 0
    assert all(abs(found[name] - count) <= off for name, count in expected.items()), (row, found)


def outcome(answer: Message) -> str:
    return str(answer.json()["backend"]) if answer.status == 200 else str(answer.status)


def test_every_example_is_found() -> None:
    text = (DOCS / "split.md").read_text(encoding="utf-8")
    assert len(PAGE) == text.count("```yaml") == text.count("| requests |")
    assert sum(len(each.rows) for each in PAGE) == len(re.findall(r"^\| `(?:GET|POST) ", text, re.MULTILINE)) > 15
