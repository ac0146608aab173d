"""docs/transform.md: each of its configurations does what the tables behind it say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
import yaml

from support.backend import Backend, Connection
from support.client import ask
from support.messages import Message
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "transform.md").read_text(encoding="utf-8")
_ROW = re.compile(r"\| ((?:to )?`[^|]*) \| (`[^|]*) \|")
_FIELD = re.compile(r"[A-Za-z_-]+: .*")
_ALICE = jwt.encode(
    {"sub": "alice", "level": 3, "org": {"plan": "pro"}, "exp": 4_000_000_000},
    "a-secret-of-at-least-32-characters",
    "HS256",
)


class Said(NamedTuple):
    """What a cell says of a message."""

    request: tuple[str, str] | None
    status: int | None
    fields: list[str]
    absent: list[str]
    body: bytes


def read(cell: str) -> Said:
    cell, _, without = cell.partition(" without ")
    parts = [part.replace("ALICE", _ALICE) for part in re.findall("`([^`]*)`", cell)]
    requests = [part for part in parts if re.match("[A-Z]+ /", part)]
    statuses = [int(part) for part in parts if re.fullmatch("[0-9]{3}", part)]
    fields = [part for part in parts if _FIELD.fullmatch(part)]
    bodies = [
        part for part in parts if part not in requests and part not in fields and not re.fullmatch("[0-9]{3}", part)
    ]
    assert max(len(requests), len(statuses), len(bodies)) <= 1, cell
    body = "".join(bodies).encode()
    if body and not any(field.startswith("Content-Type:") for field in fields):
        fields = ["Content-Type: application/json", *fields]
    request = tuple(requests[0].split(" ")) if requests else None
    return Said(request, statuses[0] if statuses else None, fields, re.findall("`([^`]*)`", without), body)


def examples() -> Iterator[Any]:
    """Each configuration, and the rows of the tables behind it."""
    for number, example in enumerate(PAGE.split("```yaml\n")[1:]):
        text, _, rest = example.partition("```\n")
        rows = [line for line in rest.splitlines() if _ROW.fullmatch(line)]
        yield pytest.param(yaml.safe_load(text), rows, id=str(number))


class Service:
    """Answers as it is told, and remembers what it got."""

    def __init__(self) -> None:
        self.says = Said(None, 200, [], [], b"")

    def __call__(self, connection: Connection) -> None:
        while connection.next_request() is not None:
            says = self.says
            if says.status == 204:
                connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                connection.answer(says.body, f"{says.status} Said", *says.fields)


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def backend(service: Service) -> Iterator[Backend]:
    with Backend(service) as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Gateway]:
    with Gateway({"services": {"any": backend}}) as own:
        own.wait_for_control()
        yield own


@pytest.mark.parametrize(("config", "rows"), [*examples()])
def test_an_example_does_what_its_tables_say(
    gateway: Gateway, service: Service, backend: Backend, config: dict[str, Any], rows: list[str]
) -> None:
    for written in config["services"].values():
        written |= {"url": backend.url, "health_check": False}
    gateway.write(config)
    reloaded = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
    assert reloaded.status == 200, reloaded.body
    path = config["routes"][0]["path"]
    assert rows
    for row in rows:
        match = _ROW.fullmatch(row)
        assert match
        before, after = map(read, match.groups())
        if before.status is not None:  # a response
            service.says = before
            method, target = before.request or ("GET", path)
            check_response(gateway.ask(method, target), after, row)
        else:
            service.says = Said(None, 200, [], [], b"")
            check_request(gateway, backend, before, after, row)


def check_request(gateway: Gateway, backend: Backend, before: Said, after: Said, row: str) -> None:
    assert before.request
    method, target = before.request
    backend.requests.clear()
    answer = gateway.ask(method, target, *before.fields, body=before.body or None)
    if after.status is not None:
        assert answer.status == after.status, (row, answer)
        assert not backend.requests
        return
    assert answer.status == 200, (row, answer)
    (got,) = backend.requests
    assert (got.method, got.target) == after.request, row
    check_message(got, after, row)


def check_response(got: Message, after: Said, row: str) -> None:
    assert got.status == after.status, (row, got)
    if got.get("content-type") != "application/problem+json" or after.body:
        check_message(got, after, row)


def check_message(got: Message, after: Said, row: str) -> None:
    assert got.body == after.body, row
    assert got.get("content-length") in (None if not after.body else "", str(len(after.body))), row
    for field in after.fields:
        name, _, value = field.partition(": ")
        if name != "Content-Type" or f"`{field}`" in row:
            assert got.get(name.lower()) == value, (row, got)
    for name in after.absent:
        assert got.get(name.lower()) is None, (row, got)


def test_every_row_is_played() -> None:
    rows = [row for example in examples() for row in example.values[1]]
    assert len(rows) == len(re.findall(r"^\| (?:to )?`[A-Z0-9]{3}", PAGE, re.MULTILINE)) > 50
    assert len([*examples()]) == PAGE.count("```yaml")
