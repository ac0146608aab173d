"""Right links behind a gateway that strips a prefix: `/docs`, redirects and `url_for`, for HTTP and WebSockets.

By the ASGI specification `path` contains `root_path`: an application mounted at /api/orders that is asked for /items
sees /api/orders/items. Starlette goes by that since 0.33 (it takes root_path off the path to route), FastAPI with it.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable
from typing import Final

from portico.client.peers import VARIABLE, TrustedPeers
from portico.client.types import ASGIApp, Receive, Scope, Send

logger: Final = logging.getLogger("portico.client")

WIRE_PATH: Final = "portico.wire_path"
"""The key of a scope under which the raw path is kept as it was before the prefix came back."""

# The prefix ends up in /docs and in Location, so nothing but plain path segments is believed.
_PREFIX: Final = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HOST: Final = re.compile(rb"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_PORT: Final = re.compile(rb"[0-9]{1,5}")
_SCHEMES: Final = {
    ("http", b"http"): "http",
    ("http", b"https"): "https",
    ("websocket", b"http"): "ws",
    ("websocket", b"https"): "wss",
}
_TOLD: Final = frozenset(
    {b"x-forwarded-prefix", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip"}
)


class BehindGateway:
    """An ASGI middleware: `app.add_middleware(BehindGateway)`, or `BehindGateway(app)` around any ASGI application.

    What trusted peers say of prefix, scheme, host, port and client is put into the scope; see `TrustedPeers` for
    `trusted`. What others say is ignored, with one warning. Applied twice it acts once.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str] | str | None = None) -> None:
        self.app = app
        self._peers = TrustedPeers(trusted)
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and WIRE_PATH not in scope:
            told = _told(scope)
            if told and self._peers.believes(scope):
                scope = seen_from_outside(scope, told)
            elif b"x-forwarded-prefix" in told:
                self._warn(scope)
        await self.app(scope, receive, send)

    def _warn(self, scope: Scope) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "X-Forwarded-Prefix from %s is ignored: if that is the gateway, put its address into %s or trusted",
                scope["client"][0],
                VARIABLE,
            )


def _told(scope: Scope) -> dict[bytes, bytes]:
    """The forwarded fields, by name; the gateway writes each of them once, so one that came twice says nothing."""
    told: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _TOLD:
            told[name] = b"" if name in told else value.strip()
    return told


def seen_from_outside(scope: Scope, told: dict[bytes, bytes]) -> Scope:
    """A copy of `scope` as the client of the gateway would describe the request. What is malformed is left out."""
    seen = {**scope, WIRE_PATH: scope.get("raw_path")}
    prefix = told.get(b"x-forwarded-prefix", b"").rstrip(b"/")
    if _PREFIX.fullmatch(prefix):
        _mount(seen, prefix.decode("ascii"))
    seen["scheme"] = _SCHEMES.get((scope["type"], told.get(b"x-forwarded-proto", b"")), scope.get("scheme", "http"))
    if host := _HOST.fullmatch(told.get(b"x-forwarded-host", b"")):
        seen["headers"] = [(b"host", host[0]), *(field for field in scope["headers"] if field[0] != b"host")]
        seen["server"] = (host[1].decode().strip("[]"), _port(host[2], told, seen["scheme"]))
    if address := _address(told.get(b"x-real-ip", b"")):
        seen["client"] = (address, 0)
    return seen


def _mount(scope: Scope, prefix: str) -> None:
    root = scope.get("root_path", "")
    app = scope.get("app")
    if root != prefix:
        scope["root_path"] = prefix + root
    elif getattr(app, "root_path", "") != root:
        return  # the server's --root-path says the same and has put it before the path already
    scope["path"] = prefix + scope["path"]
    if scope.get("raw_path") is not None:
        scope["raw_path"] = prefix.encode() + scope["raw_path"]


def _port(written: bytes | None, told: dict[bytes, bytes], scheme: str) -> int:
    """The port that the client used: the one in its Host, else the one the gateway was reached at, else the usual."""
    if written:
        return int(written)
    port = told.get(b"x-forwarded-port", b"")
    return int(port) if _PORT.fullmatch(port) else 443 if scheme in ("https", "wss") else 80


def _address(value: bytes) -> str | None:
    try:
        return str(ipaddress.ip_address(value.decode("ascii").strip("[]")))
    except ValueError:
        return None
