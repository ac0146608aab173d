"""A service of files as Starlette serves them, which counts what it is asked for: `support.files:app`.

`/file/NAME` is a FileResponse, `/static/NAME` comes from StaticFiles, `/zip/NAME` from StaticFiles behind
GZipMiddleware; the directory is that of `PORTICO_FILES`. `/asked` gives the number of requests per path.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

DIRECTORY = Path(os.environ.get("PORTICO_FILES", "."))
asked: Counter[str] = Counter()


class _Counted:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked[scope["path"]] += 1
        await self.app(scope, receive, send)


async def _file(request: Request) -> Response:
    return FileResponse(DIRECTORY / request.path_params["name"])


async def _asked(request: Request) -> Response:
    return JSONResponse(asked)


async def _health(request: Request) -> Response:
    return PlainTextResponse("well")


app = Starlette(
    routes=[
        Route("/file/{name}", _file),
        Mount("/static", StaticFiles(directory=DIRECTORY)),
        Mount("/zip", StaticFiles(directory=DIRECTORY), middleware=[Middleware(GZipMiddleware, minimum_size=500)]),
        Route("/asked", _asked),
        Route("/health", _health),
    ],
    middleware=[Middleware(_Counted)],
)
