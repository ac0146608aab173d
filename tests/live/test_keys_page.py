"""docs/keys.md: its commands print what the page shows, and clients get what its table says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from live.test_canary import admin
from portico.core.api_keys import PATTERN, digest_of, is_mistyped, new_key
from support.backend import Backend
from support.messages import Message
from support.portico import run_portico
from support.world import Gateway, until

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ portico (keys .*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_ROW = re.compile(r"^\| (.+?) \| (\d{3}) \| (?:`(\w+)`)? *\| *(.*?) *\|$", re.MULTILINE)
_KEY = re.compile(r"portico_[0-9A-Za-z]{8}")


def blocks(kind: str) -> list[str]:
    return [block[2] for block in _BLOCK.finditer(PAGE) if block[1] == kind]


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def documented(service: Backend, index: int) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(blocks("yaml")[index])
    config["services"]["orders"] |= {"url": service.url, "health_check": False}
    return config


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    with Gateway(documented(service, 0)) as own:
        own.wait_for_control()
        yield own


class Normal:
    """Texts without what differs from run to run: keys are numbered in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = re.sub(PATTERN, lambda found: f"{found[0][:16]} and its secret", text)
        text = _KEY.sub(lambda found: self.known.setdefault(found[0], f"KEY-{len(self.known)}"), text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
        return re.sub(r"the gateway at \S+ \(\S+\)", "the gateway", text).rstrip()


def test_the_commands_print_what_the_page_shows(gateway: Gateway) -> None:
    shown, own = Normal(), Normal()
    commands = [command for text in blocks("text") for command in _COMMAND.findall(text)]
    assert [command.split()[1] for command, _ in commands] == ["create", "list", "rotate", "revoke", "list"]
    for command, output in commands:
        real = _KEY.sub(lambda found: _now_called(shown, own, found[0]), command)
        done = run_portico(*shlex.split(real), "--admin", f"127.0.0.1:{gateway.admin_port}")
        assert done.returncode == 0, done.stderr
        assert [*map(own, (done.stdout + done.stderr).splitlines())] == [*map(shown, output.splitlines())]


def _now_called(shown: Normal, own: Normal, key: str) -> str:
    """The key of this run that stands where the page has another."""
    number = shown.known[key]
    return next(name for name, known in own.known.items() if known == number)


def test_the_pattern_of_the_page_finds_keys() -> None:
    (pattern,) = (text.strip() for text in blocks("text") if not text.startswith("$"))
    assert re.fullmatch(pattern, new_key().text)
    shown = re.findall(r"portico_\w{20,}", PAGE)
    assert len(shown) == 2
    assert all(re.fullmatch(pattern, key) and not is_mistyped(key) for key in shown)


def made(gateway: Gateway, **asked: Any) -> str:
    answer = admin(gateway, "POST", "/admin/keys", {"consumer": "shop", **asked})
    assert answer.status == 200, answer.body
    return f"X-API-Key: {answer.json()['secret']}"


def asked_with(gateway: Gateway, what: str) -> Message:
    key = made(gateway)
    lines = {
        "no key": [],
        "the key": [key],
        "the key twice": [key, key],
        "a key nobody has": [f"X-API-Key: {new_key().text}"],
        "the key without its last character": [key[:-1]],
        "a key with the scope `orders:write` alone": [made(gateway, scopes=["orders:write"])],
    }
    if what != "a key that has expired":
        return gateway.get("/api/orders/1", *lines[what])
    ended = made(gateway, expires_in=1)
    until(lambda: gateway.get("/api/orders/1", ended).status == 401, "it expires")
    return gateway.get("/api/orders/1", ended)


def rows() -> Iterator[Any]:
    for row in _ROW.finditer(PAGE):
        what, status, reason, detail = row.groups()
        yield pytest.param(what, int(status), reason or "", detail, id=what)


@pytest.mark.parametrize(("what", "status", "reason", "detail"), [*rows()])
def test_clients_get_what_the_table_says(gateway: Gateway, what: str, status: int, reason: str, detail: str) -> None:
    answer = asked_with(gateway, what)
    assert answer.status == status
    if status != 200:
        assert (answer.json()["reason"], answer.json()["detail"]) == (reason, detail)


def test_keys_of_the_file(gateway: Gateway, service: Backend) -> None:
    config = documented(service, 1)
    (holder,) = config["consumers"]
    holder["keys"].append(f"sha256:{digest_of(b'partner').hex()}")
    gateway.write(config)
    assert admin(gateway, "POST", "/admin/reload").status == 200
    answer = gateway.get("/api/orders/1", "X-API-Key: partner")
    assert answer.status == 200
    assert ["X-Consumer-Username", "partner"] in answer.json()["fields"]


def test_the_table_has_all_there_is() -> None:
    assert len([*rows()]) == 7
