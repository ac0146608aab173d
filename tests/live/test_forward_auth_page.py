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
from support.nginx import command
from support.process import free_port
from support.server import at
from support.site import Site, program
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "forward-auth.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> Iterator[Any]:
    """Of each section its configuration, and the messages of each of its exchanges."""
    for section in re.split("^## ", PAGE, flags=re.MULTILINE):
        blocks = [(block[1], block[2]) for block in _BLOCK.finditer(section)]
        if blocks and blocks[0][0] != "nginx":
            (kind, text), *messages = blocks
            assert kind == "yaml"
            yield pytest.param(yaml.safe_load(text), exchanges(messages), id=section.partition("\n")[0])


def side_by_side() -> tuple[str, Any, list[list[str]]]:
    """nginx's configuration, the same here, and the rows of the table: what is answered, and what becomes of it."""
    section = PAGE.partition("\n## From nginx\n")[2].partition("\n## ")[0]
    (_, nginx), (_, portico) = _BLOCK.findall(section)
    rows = [re.findall(r"\d+", row) for row in re.findall(r"^\| `.*", section, re.MULTILINE)]
    return nginx, yaml.safe_load(portico), rows


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


@pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")
def test_nginx_lets_in_the_same(tmp_path: Path) -> None:
    nginx, config, rows = side_by_side()
    assert len(rows) > 5
    with ExitStack() as stack:
        guard, service = stack.enter_context(Guard()), stack.enter_context(Backend())
        listening = free_port()
        ports = {"8000": listening, "8001": service.port, "9000": guard.port}
        site = Site(listening, service.port, tmp_path)
        text = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", nginx)
        stack.enter_context(at(site, command(site, text)))
        config["services"]["shop"] |= {"url": service.url, "health_check": False}
        forward = config["routes"][0]["policies"]["auth"]["forward"]
        forward["url"] = led_to(guard, forward["url"])
        gateway = stack.enter_context(Gateway(config))
        gateway.clean = False
        for answered, *expected in rows:
            guard.say(f"{answered} X", "X-User: u", "Set-Cookie: a=1", 'WWW-Authenticate: Basic realm="x"')
            seen = []
            for port, status in zip((listening, gateway.port), expected, strict=True):
                service.requests.clear()
                answer = ask(port, "POST", "/shop/a?b=c", "Cookie: own=1", "X-User: root", body=b"x")
                assert answer.status == int(status), (answered, port)
                asked = guard.last()
                assert (asked.body, asked.get("cookie"), asked.get("x-original-method")) == (b"", "own=1", "POST")
                assert asked.get("x-original-uri") == "/shop/a?b=c"
                got = [(each.method, each.target, each.all("x-user"), each.body) for each in service.requests]
                seen.append((got, answer.all("set-cookie") if answer.status < 300 else []))
            assert [got for got, _ in seen] == [seen[0][0]] * 2, answered
            assert bool(seen[0][0]) == (answered[0] == "2")
            if answered[0] == "2":
                assert seen[0] == seen[1]
