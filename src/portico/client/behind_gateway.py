"""Right links behind a gateway that strips a prefix: `/docs`, redirects and `url_for`, for HTTP and WebSockets.

By the ASGI specification `path` contains `root_path`: an application mounted at /api/orders that gets a request for
/items sees /api/orders/items. Starlette follows that since 0.33 (it strips root_path from the path to route), as does
FastAPI.
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
"""The key of a scope under which the raw path is kept as it was before the prefix was restored."""

# The prefix ends up in /docs and in Location, so only plain path segments are accepted.
_PREFIX: Final = re.compile(rb"(?:/[A-Za-z0-9_~:@+-][A-Za-z0-9._~:@+-]*)+")
_HOST: Final = re.compile(rb"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_LAST_PORT: Final = 65535
_IS_SECURE: Final = {b"http": False, b"ws": False, b"https": True, b"wss": True}
_SCHEMES: Final = {"http": ("http", "https"), "websocket": ("ws", "wss")}
"""By type of scope: the scheme without TLS, and with it."""
_FORWARDED: Final = frozenset(
    {b"x-forwarded-prefix", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip"}
)


class BehindGateway:
    """An ASGI middleware: `app.add_middleware(BehindGateway)`, or `BehindGateway(app)` around any ASGI application.

    What trusted peers report of prefix, scheme, host, port and client is put into the scope; see `TrustedPeers` for
    `trusted`. What other peers report is ignored, with one warning. Applied twice it acts once.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str] | str | None = None) -> None:
        self.app = app
        self._peers = TrustedPeers(trusted)
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and WIRE_PATH not in scope:
            forwarded = _forwarded_fields(scope)
            if forwarded and self._peers.trusts(scope):
                scope = seen_from_outside(scope, forwarded)
            elif b"x-forwarded-prefix" in forwarded:
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


def _forwarded_fields(scope: Scope) -> dict[bytes, bytes]:
    """The forwarded fields, by name; several lines are one list (RFC 9110, section 5.3)."""
    forwarded: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _FORWARDED:
            forwarded[name] = forwarded[name] + b"," + value if name in forwarded else value
    return forwarded


def _first(forwarded: dict[bytes, bytes], name: bytes) -> bytes:
    """The first element of a list, which is about the proxy nearest to the client."""
    elements = (element.strip() for element in forwarded.get(name, b"").split(b","))
    return next(filter(None, elements), b"")


def seen_from_outside(scope: Scope, forwarded: dict[bytes, bytes]) -> Scope:
    """A copy of `scope` with the request as the gateway's client sent it. Malformed fields are ignored."""
    seen = {**scope, WIRE_PATH: scope.get("raw_path")}
    prefix = _first(forwarded, b"x-forwarded-prefix").rstrip(b"/")
    if _PREFIX.fullmatch(prefix):
        _mount(seen, prefix.decode("ascii"))
    is_secure = _IS_SECURE.get(_first(forwarded, b"x-forwarded-proto").lower())
    seen["scheme"] = scope.get("scheme", "http") if is_secure is None else _SCHEMES[scope["type"]][is_secure]
    host = _HOST.fullmatch(_first(forwarded, b"x-forwarded-host"))
    if host and (host[2] is None or _is_port(host[2])):
        seen["headers"] = [(b"host", host[0]), *(field for field in scope["headers"] if field[0] != b"host")]
        seen["server"] = (host[1].decode().strip("[]"), _port(host[2], forwarded, seen["scheme"]))
    if address := _address(forwarded.get(b"x-real-ip", b"")):
        seen["client"] = (address, 0)
    return seen


def _mount(scope: Scope, prefix: str) -> None:
    root = scope.get("root_path", "")
    app = scope.get("app")
    if root != prefix:
        scope["root_path"] = prefix + root
    elif getattr(app, "root_path", "") != root:
        return  # the server's --root-path is the same and is part of the path already
    scope["path"] = prefix + scope["path"]
    if scope.get("raw_path") is not None:
        scope["raw_path"] = prefix.encode() + scope["raw_path"]


def _port(written: bytes | None, forwarded: dict[bytes, bytes], scheme: str) -> int:
    """The port that the client used: the one in its Host, else the one of the gateway's listener, else the default."""
    if written:
        return int(written)
    port = _first(forwarded, b"x-forwarded-port")
    return int(port) if _is_port(port) else 443 if scheme in ("https", "wss") else 80


def _is_port(text: bytes) -> bool:
    return text.isdigit() and len(text) <= len(str(_LAST_PORT)) and 0 < int(text) <= _LAST_PORT


def _address(value: bytes) -> str | None:
    try:
        return str(ipaddress.ip_address(value.strip().decode("ascii").strip("[]")))
    except ValueError:
        return None
