"""A service as somebody would write it with FastAPI and `portico.client`; by its environment it does more or less."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, WebSocket

from portico.client import (
    BehindGateway,
    User,
    current_user,
    optional_user,
    register,
    require_scopes,
    trust_gateway,
)


def say(what: str) -> None:
    print(what, os.getpid(), flush=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    say("opened")
    yield {"opened": True}
    say("closed")


app = FastAPI(title="Orders", lifespan=lifespan)
app.add_middleware(BehindGateway)
if os.environ.get("IDENTITY_KEYS"):
    trust_gateway(app, "orders")
if os.environ.get("SERVICE_REGISTERS"):
    register(app, name="orders", ttl=float(os.environ["SERVICE_REGISTERS"]), version="v7", metadata={"zone": "a"})


@app.get("/health")
async def health(request: Request) -> dict[str, Any]:
    return {"opened": request.state.opened, "pid": os.getpid()}


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> dict[str, Any]:
    return {"name": user.name, "scopes": sorted(user.scopes)}


@app.get("/maybe")
async def maybe(user: Annotated[User | None, Depends(optional_user)]) -> dict[str, Any]:
    return {"name": user.name if user else None}


@app.api_route("/write", methods=["GET", "POST"])
async def write(user: Annotated[User, Depends(require_scopes("orders:read", "orders:write"))]) -> dict[str, Any]:
    return {"name": user.name}


@app.get("/fields")
async def fields(request: Request) -> dict[str, str]:
    return dict(request.headers)


@app.get("/flaky")
async def flaky(request: Request, user: Annotated[User, Depends(current_user)]) -> Any:
    """Fails the first time that it is asked under a name."""
    from fastapi.responses import JSONResponse

    failed: set[str] = app.state.__dict__.setdefault("failed", set())
    name = request.headers["x-name"]
    status = 200 if name in failed else 503
    failed.add(name)
    return JSONResponse({"name": user.name}, status)


@app.get("/links")
async def links(request: Request) -> dict[str, Any]:
    return {
        "item": str(request.url_for("item", number=7)),
        "self": str(request.url),
        "base": str(request.base_url),
        "client": request.client.host if request.client else None,
    }


@app.get("/items/")
async def items() -> list[int]:
    return [7]


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"number": number}


@app.get("/slow")
async def slow(seconds: float) -> dict[str, int]:
    await asyncio.sleep(seconds)
    return {"pid": os.getpid()}


@app.websocket("/talk")
async def talk(socket: WebSocket, user: Annotated[User | None, Depends(optional_user)]) -> None:
    await socket.accept()
    await socket.send_json({"name": user.name if user else None, "url": str(socket.url)})
    await socket.close()


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """An application that knows of no lifespans."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"plain"})


if os.environ.get("SERVICE_REGISTERS"):
    registered_plain = register(plain, name="orders", ttl=float(os.environ["SERVICE_REGISTERS"]))
