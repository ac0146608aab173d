"""The admin port under somebody else's path: what a proxy has not taken off is taken off here (C35)."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_OWN: Final = ("/admin/", "/dashboard/")
_BELOW_PREFIX: Final = re.compile(r"/(?:dashboard(?:/|$)|admin/)")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~%:@!$&'()*+;=-]+)+")


def without_prefix(path: str) -> str:
    """`/dashboard/routes` of `/ops/portico/dashboard/routes`; what begins with a path of the admin port stays."""
    if path.startswith(_OWN):
        return path
    found = _BELOW_PREFIX.search(path)
    return path[found.start() :] if found else path


def start_page(forwarded_prefix: str) -> str:
    """Where `/` leads to: `dashboard/`, which is relative.

    Where a proxy has taken a prefix off without which the client may have asked for `/ops/portico` as well as for
    `/ops/portico/`, only a whole path is right for both. `X-Forwarded-Prefix` says which; a path that names another
    host (`//evil.example`) is none.
    """
    prefix = forwarded_prefix.rstrip("/")
    return f"{prefix}/dashboard/" if _PREFIX.fullmatch(prefix) else "dashboard/"


class Unprefixed:
    """Takes the prefix off for `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = without_prefix(scope["path"])
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)
