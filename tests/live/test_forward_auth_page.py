"""docs/forward-auth.md: what it shows of each configuration is what clients, services and who is asked see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from support.backend import Backend
from support.client import ask
from support.guard import Guard
from support.messages import Message
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "forward-auth.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> Iterator[Any]:
    """Of each section its configuration, and the messages of each of its exchanges."""
    for section in re.split("^## ", PAGE, flags=re.MULTILINE):
        blocks = [(block[1], block[2]) for block in _BLOCK.finditer(section)]
        if blocks:
            (kind, text), *messages = blocks
            assert kind == "yaml"
            yield pytest.param(yaml.safe_load(text), exchanges(messages), id=section.partition("\n")[0])


def exchanges(messages: list[tuple[str, str]]) -> list[list[list[str]]]:
    """The lines of messages, cut where a client begins: its request is the one with a Host."""
    found: list[list[list[str]]] = []
    for kind, text in messages:
        assert kind == "http"
        lines = text.splitlines()
        if any(line.startswith("Host: ") for line in lines):
            found.append([])
        found[-1].append(lines)
    return found


def led_to(guard: Guard, url: str) -> str:
    """The same path there."""
    return guard.url + urlsplit(url).path


def has(message: Message, shown: list[str], port: int) -> None:
    """A message has what the page shows of it, each field once; the gateway's port is another one than there."""
    start, *lines = shown
    assert message.start == start
    for line in lines:
        name, _, value = line.partition(": ")
        assert message.all(name) == [value.replace("8000", str(port))], line


@pytest.mark.parametrize(("config", "shown"), [*examples()])
def test_what_the_page_shows(config: dict[str, Any], shown: list[list[list[str]]]) -> None:
    with ExitStack() as stack:
        guard, service = stack.enter_context(Guard()), stack.enter_context(Backend())
        for each in config["services"].values():
            each |= {"url": service.url, "health_check": False}
        policies = [config.get("policies", {}), *(each.get("policies", {}) for each in config["services"].values())]
        for auth in [each["auth"] for each in policies if each.get("auth")]:
            auth["forward"]["url"] = led_to(guard, auth["forward"]["url"])
        gateway = stack.enter_context(Gateway(config))
        assert shown
        for (first, *lines), asked, answer, *got, sent in shown:
            method, target, _ = first.split()
            guard.say(answer[0].removeprefix("HTTP/1.1 "), *answer[1:])
            response = ask(gateway.port, method, target, *lines, body=b"" if method == "POST" else None)
            has(guard.last(), asked, gateway.port)
            has(response, sent, gateway.port)
            assert len(service.requests) == len(got)
            for each in got:
                has(service.requests.pop(), each, gateway.port)
