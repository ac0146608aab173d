"""docs/sign-in.md: each request of the page gets the answer that stands below it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from support.backend import Backend
from support.tokens import SECRET
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "sign-in.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TAKEN = ("access_token", "refresh_token")


def test_the_page() -> None:
    (kind, text), *blocks = [(block[1], block[2]) for block in _BLOCK.finditer(PAGE)]
    assert kind == "yaml"
    config = yaml.safe_load(text)
    taken: dict[str, str] = {}
    with Backend() as service:
        config["services"]["orders"] |= {"url": service.url, "health_check": False}
        with Gateway(config, env={"SECRET_KEY": SECRET}) as gateway:
            pairs = list(zip(blocks[::2], blocks[1::2], strict=True))
            assert len(pairs) >= 3
            for (asks, request), (answers, expected) in pairs:
                assert (asks, answers) == ("http", "json")
                answer = play(gateway, request, taken)
                compare(answer, json.loads(expected))
                taken |= {name.upper(): answer[name] for name in _TAKEN if name in answer}


def play(gateway: Gateway, request: str, taken: dict[str, str]) -> Any:
    """The answer to a request, in which names in capitals stand for what earlier answers gave."""
    for name, value in taken.items():
        request = request.replace(name, value)
    head, _, body = request.partition("\n\n")
    line, *fields = head.splitlines()
    method, target, _ = line.split()
    return json.loads(gateway.ask(method, target, *fields, body=body.strip().encode() or None).body)


def compare(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """They are the same, but that `…` is any text."""
    shown = {name: "…" if expected.get(name) == "…" else value for name, value in answer.items()}
    assert shown == expected
