"""Bodies that are too large, or end too early, are no failures of the admin API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Message

from portico.processes.control.admin.bodies import LARGEST, Asked, Bounded, read_body
from portico.processes.control.admin.failures import answer_errors

PIECE = b" " * (1 << 20)


class Words(Asked):
    """What is asked."""

    text: str = ""


def application() -> Bounded:
    app = FastAPI()

    @app.post("/by-framework")
    async def by_framework(asked: Words) -> Response:
        return Response(json.dumps(asked.text))

    @app.post("/by-hand")
    async def by_hand(request: Request) -> Response:
        return Response(json.dumps(len(await read_body(request, LARGEST * 2))))

    answer_errors(app)
    return Bounded(app)


def ask(path: str, messages: Iterable[Message]) -> tuple[int, Any, int]:
    """The status, the document, and how many messages were not asked for."""
    left, sent = [*messages], []

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(application()(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), len(left)


def piece(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


@pytest.mark.parametrize("path", ["/by-framework", "/by-hand"])
def test_no_more_is_read_than_any_body_may_have(path: str) -> None:
    most = LARGEST // len(PIECE)
    status, document, left = ask(path, [piece(PIECE)] * (most + 10))
    assert (status, left) == (413, 9)
    assert "32 MiB" in document["detail"]
    status, document, _ = ask(path, [*[piece(PIECE)] * (most - 1), piece(b"{}", more=False)])
    assert status == 200


def test_a_body_that_is_cut_off_is_no_failure() -> None:
    status, document, _ = ask("/by-hand", [piece(b"{"), {"type": "http.disconnect"}])
    assert (status, document["detail"]) == (400, "the body was cut off")
    assert ask("/by-framework", [piece(b"{"), {"type": "http.disconnect"}])[0] == 400
