"""docs/sign-in.md: each request of the page gets the answer that stands below it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.backend import Backend
from support.messages import Message
from support.tokens import SECRET
from support.world import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "sign-in.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TAKEN = ("access_token", "refresh_token")


def test_the_page() -> None:
    blocks = [(block[1], block[2]) for block in _BLOCK.finditer(PAGE)]
    config = next(yaml.safe_load(text) for kind, text in blocks if kind == "yaml")
    taken: dict[str, str] = {}
    with Backend() as service:
        config["services"]["orders"] |= {"url": service.url, "health_check": False}
        with Gateway(config, env={"SECRET_KEY": SECRET}) as gateway:
            pairs = list(zip(blocks, [*blocks[1:], ("", "")], strict=True))
            assert len(pairs) == PAGE.count("```") // 2
            for (kind, request), (follows, expected) in pairs:
                if kind != "http":
                    continue
                answer = play(gateway, request, taken)
                assert answer.status == 200
                if follows == "json":
                    document = answer.json()
                    compare(document, json.loads(expected))
                    taken |= {name.upper(): document[name] for name in _TAKEN if name in document}
                else:
                    assert answer.body == b""


def test_the_service_of_the_page() -> None:
    (code,) = (block[2] for block in _BLOCK.finditer(PAGE) if block[1] == "python")
    names: dict[str, Any] = {}
    exec(code, names)
    app = names["app"]
    schemes = app.openapi()["components"]["securitySchemes"]
    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "/auth/token"

    async def ask(**fields: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://orders") as client:
            return await client.get("/mine", headers=fields)

    assert asyncio.run(ask()).status_code == 401
    asked = {"Authorization": "Bearer x", "X-Consumer-Username": "alice"}
    assert asyncio.run(ask(**asked)).json() == "orders of alice"


def play(gateway: Gateway, request: str, taken: dict[str, str]) -> Message:
    """The answer to a request, in which names in capitals stand for what earlier answers gave."""
    for name, value in taken.items():
        request = request.replace(name, value)
    head, _, body = request.partition("\n\n")
    line, *fields = head.splitlines()
    method, target, _ = line.split()
    return gateway.ask(method, target, *fields, body=body.strip().encode() or None)


def compare(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """They are the same, but that `…` is any text."""
    shown = {name: "…" if expected.get(name) == "…" else value for name, value in answer.items()}
    assert shown == expected
