"""docs/canary.md: each of its configurations does what the table behind it says."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from live.test_canary import Side, admin, begin, script, seen
from support.backend import Backend
from support.portico import run_portico
from support.waiting import comes_true
from support.world import Gateway, until

PAGE = (Path(__file__).parents[2] / "docs" / "canary.md").read_text(encoding="utf-8")
NAMES = ("shop", "shop-next", "shop-other")
_ROW = re.compile(r"^\| (.+) \| (\w+(?: up)?): `(\S+)` gets (\d+) % \|$", re.MULTILINE)
_LOOKS = 2.5
"""Seconds in which a canary that had a reason to change would have done so."""


def examples() -> Iterator[Any]:
    """Of each section its configuration, and the rows of the table behind it."""
    for section in re.split("^## ", PAGE, flags=re.MULTILINE):
        _, _, example = section.partition("```yaml\n")
        text, _, rest = example.partition("```\n")
        if text:
            yield pytest.param(yaml.safe_load(text), _ROW.findall(rest), id=section.partition("\n")[0])


class Play:
    """A gateway and its services, to which happens what a row says."""

    def __init__(self, gateway: Gateway, services: dict[str, Backend], config: dict[str, Any]) -> None:
        self.gateway = gateway
        self.services = services
        self.config = config
        self.entries = 0
        for name, service in config["services"].items():
            service |= {"url": services[name].url, "health_check": False}
            script(services[name]).status, script(services[name]).delay = "200 OK", 0.005
        self.canary = config["routes"][0]["canary"]
        if self.canary["every"] == "10m":
            self.canary["every"] = "1s"

    def row(self, happens: str, what: str, to: str, share: str) -> None:
        self.do(happens)
        if what == "nothing":
            assert not comes_true(lambda: self.requests() and len(seen(self.gateway)["history"]) > self.entries, _LOOKS)
            assert (seen(self.gateway)["to"], seen(self.gateway)["share"]) == (to, int(share)), happens
            return
        if what == "began":
            self.entries = 0
        entry = until(self.next_entry, f"{happens}: {what}") or {}
        assert (entry["what"], entry["share"], seen(self.gateway)["to"]) == (what, int(share), to), happens
        self.entries += 1

    def next_entry(self) -> dict[str, Any] | None:
        self.requests()
        history = seen(self.gateway)["history"]
        return dict(history[self.entries]) if len(history) > self.entries else None

    def requests(self) -> bool:
        with self.gateway.wire() as wire:
            for _ in range(20):
                wire.ask("GET", "/shop")
        return True

    def do(self, happens: str) -> None:
        for pattern, action in self.actions.items():
            if match := re.fullmatch(pattern, happens):
                action(self, *match.groups())
                return
        raise AssertionError(f"nobody knows how to do this: {happens}")

    def reload(self) -> None:
        begin(self.gateway, self.config)

    def command(self, text: str) -> None:
        at = ("--admin", f"127.0.0.1:{self.gateway.admin_port}")
        done = run_portico(*shlex.split(text), *at)
        assert done.returncode == 0, done.stderr

    def answers(self, name: str, status: str) -> None:
        script(self.services[name]).status = f"{status} So"

    def takes(self, name: str | None, milliseconds: str) -> None:
        for each in [name] if name else ["shop", "shop-next"]:
            script(self.services[each]).delay = int(milliseconds) / 1000

    def says(self, text: str) -> None:
        self.canary |= yaml.safe_load(text)
        self.reload()

    def killed(self) -> None:
        os.kill(self.gateway.control(), signal.SIGKILL)
        until(lambda: comes_true(lambda: admin(self.gateway, "GET", "/admin/canaries").status == 200, 0.0))

    actions: dict[str, Callable[..., None]] = {
        "`portico reload`": reload,
        "`portico (canary .*)`": command,
        "requests come": lambda _: None,
        r"`(\S+)` answers (\d+)": answers,
        r"(?:`(\S+)`|both) takes? (\d+) ms": takes,
        "the file says `(.*)`": says,
        "the gateway's control process is killed": killed,
    }


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Backend]]:
    with Backend(Side("shop")) as shop, Backend(Side("next")) as coming, Backend(Side("other")) as other:
        yield dict(zip(NAMES, (shop, coming, other), strict=True))


@pytest.fixture(scope="module")
def gateway(services: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"services": services}) as own:
        own.wait_for_control()
        own.clean = False  # a killed process is reported
        yield own


@pytest.mark.parametrize(("config", "rows"), [*examples()])
def test_an_example_does_what_its_table_says(
    gateway: Gateway, services: dict[str, Backend], config: dict[str, Any], rows: list[tuple[str, str, str, str]]
) -> None:
    begin(gateway, {"services": services})  # what the example before has done is forgotten
    play = Play(gateway, services, config)
    for row in rows:
        play.row(*row)


def test_every_example_is_found() -> None:
    assert len([*examples()]) == PAGE.count("```yaml") == PAGE.count("| what happens |")
    rows = [row for example in examples() for row in example.values[1]]
    assert len(rows) == len(re.findall(r"^\| .* gets \d+ % \|$", PAGE, re.MULTILINE)) > 15
