"""Asks an ASGI application of this process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote


def status_of(
    app: Any, method: str, target: str, fields: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> tuple[int, bytes]:
    """The status and body with which an application answers; one that fails answers 500."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        asyncio.run(app(scope, receive, send))
    except Exception as error:
        return 500, repr(error).encode()
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])
