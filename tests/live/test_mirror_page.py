"""docs/mirror.md: of each of its configurations, services and mirrors get what the page shows."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.backend import Backend, well_behaved
from support.client import ask
from support.messages import Message, read_request
from support.world import Gateway, until

PAGE = (Path(__file__).parents[2] / "docs" / "mirror.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `(\w+) (/\S+)`(?: with (\d+) bytes)? \| (.*) \|$", re.MULTILINE)
_HEAD = re.compile(r"^\| request \| (.*) \|$", re.MULTILINE)
_EVERY = re.compile(r"x-forwarded-\w+|x-real-ip|x-request-id|via|traceparent", re.IGNORECASE)
"""The fields that every service gets."""


def examples() -> Iterator[Any]:
    """Of each section its configuration, the messages behind it, and its text."""
    for section in re.split("^## ", PAGE, flags=re.MULTILINE):
        blocks = [(block[1], block[2]) for block in _BLOCK.finditer(section)]
        if blocks:
            (kind, text), *messages = blocks
            assert kind == "yaml"
            shown = [text for kind, text in messages if kind == "http"]
            yield pytest.param(yaml.safe_load(text), shown, section, id=section.partition("\n")[0])


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Backend]]:
    names = {name for example in examples() for name in example.values[0]["services"]}
    with ExitStack() as stack:
        yield {name: stack.enter_context(Backend(name=name)) for name in sorted(names)}


@pytest.fixture(scope="module")
def gateway(services: dict[str, Backend]) -> Iterator[Gateway]:
    with Gateway({"services": services}) as own:
        own.wait_for_control()
        yield own


@pytest.fixture
def play(gateway: Gateway, services: dict[str, Backend]) -> Any:
    """Takes a configuration over, with the services of this test."""

    def load(config: dict[str, Any]) -> None:
        for name, service in config["services"].items():
            service |= {"url": services[name].url, "health_check": False}
            services[name].script = well_behaved
            services[name].requests.clear()
        gateway.write(config)
        reloaded = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert reloaded.status == 200, reloaded.body

    return load


@pytest.mark.parametrize(("config", "shown", "section"), [*examples()])
def test_a_section(
    gateway: Gateway, services: dict[str, Backend], play: Any, config: dict[str, Any], shown: list[str], section: str
) -> None:
    play(config)
    if shown:
        sent, original, mirrored = map(as_bytes, shown)
        with gateway.wire() as wire:
            wire.send(sent)
            assert wire.receive().status == 200
        compare(services["shop"], original)
        compare(services["shadow"], mirrored)
    rows = _ROW.findall(section)
    if not rows:
        assert shown
        return
    head = _HEAD.search(section)
    assert head
    receivers = re.findall(r"`(\w+)` gets", head[1])
    expected: dict[str, list[str]] = {name: [] for name in receivers}
    for method, target, size, cells in rows:
        assert gateway.ask(method, target, body=bytes(int(size)) if size else None).status == 200
        for name, cell in zip(receivers, cells.split(" | "), strict=True):
            if cell != "nothing":
                expected[name].append(f"{method} {cell.strip('`')}")
    for name, wanted in expected.items():  # the last row is copied to each, so that those before had their time
        assert got_by(services[name], len(wanted)) == sorted(wanted)


def got_by(service: Backend, count: int) -> list[str]:
    """Methods and targets of so many requests, in the order of their names: copies may overtake each other."""
    until(lambda: len(service.requests) >= count, f"{service.name} gets all")
    return sorted(f"{each.method} {each.target}" for each in service.requests)


def as_bytes(text: str) -> bytes:
    """A message as it is shown, with the line ends of HTTP in its head."""
    head, _, body = text.partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.rstrip("\n").encode()


def compare(service: Backend, expected: bytes) -> None:
    """What a service got is what is shown, beside the fields that every service gets."""
    until(lambda: service.requests, f"{service.name} gets it")
    (got,), wanted = service.requests, read_request(io.BytesIO(expected))
    assert wanted is not None
    assert (got.method, got.target, got.body) == (wanted.method, wanted.target, wanted.body)
    assert own_fields(got) == own_fields(wanted)


def own_fields(message: Message) -> list[tuple[str, str]]:
    return sorted(field for field in message.fields if not _EVERY.fullmatch(field[0]))


def test_a_share_is_about_that_of_the_requests(gateway: Gateway, services: dict[str, Backend], play: Any) -> None:
    config = next(example.values[0] for example in examples() if "tenth" in example.values[2])
    play(config)
    with gateway.wire() as wire:
        for _ in range(1000):
            assert wire.ask("GET", "/tenth/x").status == 200
    gateway.get("/reads/last")
    until(lambda: "/last" in services["shadow"].targets(), "the last copy arrives")
    assert 50 < len(services["shadow"].requests) < 160  # five standard deviations, and more


def test_every_example_is_found() -> None:
    found = [*examples()]
    assert len(found) == PAGE.count("```yaml") == 4
    assert sum(len(example.values[1]) for example in found) == PAGE.count("```http") == 6
    assert len(_ROW.findall(PAGE)) == len(re.findall(r"^\| `(?:GET|HEAD|POST) ", PAGE, re.MULTILINE)) == 9
