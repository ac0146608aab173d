"""What the samples share as services: health, and right links behind a proxy that strips a prefix."""

from __future__ import annotations

import re
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

# The prefix ends up in /docs and in Location, so nothing but plain path segments is believed.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


class Health(BaseModel):
    """The answer to a health check."""

    status: Literal["healthy"] = "healthy"
    service: str


class ForwardedPrefix:
    """Puts the prefix that a proxy removed, named in `X-Forwarded-Prefix`, back as the ASGI `root_path`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if _PREFIX.fullmatch(prefix):
                scope = _mounted(scope, prefix)
        await self.app(scope, receive, send)


def _mounted(scope: Scope, prefix: str) -> Scope:
    # ASGI counts root_path as part of path, and Starlette takes it off again to route. With root_path alone,
    # the prefix /api would be taken off the service's own /api/analyze.
    mounted = {**scope, "root_path": prefix + scope.get("root_path", ""), "path": prefix + scope["path"]}
    if scope.get("raw_path") is not None:
        mounted["raw_path"] = prefix.encode("ascii") + scope["raw_path"]
    return mounted


def sample_service(name: str, title: str, description: str) -> FastAPI:
    """A service with `/docs`, `/health` and `/api/health`, to which a sample adds its own endpoints."""
    # A redirect would name this service's own host, which clients of a gateway cannot reach.
    app = FastAPI(title=title, description=description, version="1.0.0", redirect_slashes=False)
    app.add_middleware(ForwardedPrefix)

    @app.get("/health", tags=["health"])
    @app.get("/api/health", tags=["health"])
    async def health() -> Health:
        """Whether the service can answer."""
        return Health(service=name)

    return app
