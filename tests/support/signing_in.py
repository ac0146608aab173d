"""A FastAPI service as people write them, which knows no gateway: a login, redirects, checks of origins, /docs."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

app = FastAPI(title="Signing in")


@app.get("/health")
async def health() -> str:
    return "ok"


@app.get("/items/", response_class=HTMLResponse)
async def items(request: Request) -> str:
    return f"<title>items</title><p>{request.headers['host']}</p>"


@app.get("/login", response_class=HTMLResponse)
async def form() -> str:
    return "<title>login</title><form method=post action=login><input name=user><button>go</button></form>"


@app.post("/login")
async def login(request: Request) -> Response:
    if not _is_own_origin(request.headers.get("origin"), request.headers["host"]):
        return PlainTextResponse("another origin", 403)
    response = RedirectResponse("/me", 303)
    response.set_cookie("user", parse_qs((await request.body()).decode())["user"][0], httponly=True)
    return response


@app.get("/me")
async def me(request: Request) -> Response:
    user = request.cookies.get("user")
    return RedirectResponse("/login") if user is None else HTMLResponse(f"<title>hello {user}</title>")


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    if not _is_own_origin(socket.headers.get("origin"), socket.headers["host"]):
        await socket.close()
        return
    await socket.accept()
    await socket.send_text(await socket.receive_text())


def _is_own_origin(origin: str | None, host: str) -> bool:
    """What Django, Streamlit, Jupyter and many others check: that a page of the host that was asked sends this."""
    return origin is not None and origin.partition("://")[2] == host
