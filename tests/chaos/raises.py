"""A service whose code raises on request, for ASGI (`app`) and for WSGI (`wsgi`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI, Request

RAISE: bytes = b"raise"

app = FastAPI()


@app.get("/{path:path}")
async def read() -> str:
    """It is well all the time."""
    return "done"


@app.post("/work")
async def work(request: Request) -> str:
    """Raises RuntimeError where the content says so."""
    if await request.body() == RAISE:
        raise RuntimeError("unhandled, as a bug is")
    return "done"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The same for servers of WSGI."""
    if environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) == RAISE:
        raise RuntimeError("unhandled, as a bug is")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"done"]
