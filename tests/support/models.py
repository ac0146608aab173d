"""A language model as OpenAI's API has it, of which everything is known: what it was asked for, and who left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORDS = ("Once", " upon", " a", " time")
USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
TOOL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}


class Model:
    """The application, and what happened to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: list[str | None] = []
        """`Authorization`, or `api-key`, of each request."""
        self.bodies: list[dict[str, Any]] = []
        self.left = 0
        """Streams whose client has left."""
        self.failing: list[int] = []
        """Statuses of the next answers."""
        self.app = Starlette(routes=[Route("/v1/{path:path}", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization") or request.headers.get("api-key"))
        if self.failing:
            return JSONResponse({"error": {"message": "too much"}}, self.failing.pop(0))
        if body.get("stream"):
            return StreamingResponse(self._stream(body), media_type="text/event-stream")
        if body.get("tools"):
            return self._whole(body, {"role": "assistant", "content": None, "tool_calls": [TOOL]}, "tool_calls")
        return self._whole(body, {"role": "assistant", "content": "".join(WORDS)}, "stop")

    def _whole(self, body: dict[str, Any], message: dict[str, Any], reason: str) -> Response:
        choice = {"index": 0, "finish_reason": reason, "message": message}
        return JSONResponse(self._head(body, "chat.completion") | {"choices": [choice], "usage": USAGE})

    def _head(self, body: dict[str, Any], kind: str) -> dict[str, Any]:
        return {"id": "c1", "object": kind, "created": 1, "model": body["model"], "system_fingerprint": self.name}

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        deltas: list[dict[str, Any]] = [{"content": word} for word in WORDS]
        if body.get("tools"):
            deltas = [{"tool_calls": [TOOL | {"index": 0}]}]
        try:
            for delta in deltas:
                yield self._event(body, [{"index": 0, "delta": delta, "finish_reason": None}])
            while body["model"] == "endless":
                await asyncio.sleep(0.02)
                yield self._event(body, [{"index": 0, "delta": {"content": " and"}, "finish_reason": None}])
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
        if (body.get("stream_options") or {}).get("include_usage"):
            yield self._event(body, [], usage=USAGE)
        yield b"data: [DONE]\n\n"

    def _event(self, body: dict[str, Any], choices: list[Any], **more: Any) -> bytes:
        chunk = self._head(body, "chat.completion.chunk") | {"choices": choices} | more
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"
