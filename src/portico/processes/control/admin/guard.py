"""Access to the admin API: clients with the token or, where there is none, programs on this machine."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portico.processes.control.problems import problem

_SCHEME: Final = b"bearer "


class Guard:
    """Guards `app`. `token` gives the current token, or None; `is_local` says that only this machine can connect."""

    def __init__(self, app: ASGIApp, token: Callable[[], str | None], *, is_local: bool) -> None:
        self._app = app
        self._token = token
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await ((self._refusal(scope) if scope["type"] == "http" else None) or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:
            return problem(400, "more than one Host")
        host = headers.get("host", "")
        origins = headers.getlist("origin")
        if origins and origins != [f"{scope['scheme']}://{host}"]:
            return problem(403, "a page of another origin may not use the admin API")
        token = self._token()
        if token is not None:
            return None if _shows(token, scope) else _unauthorized()
        if any("portico" in value for value in headers.getlist("via")):  # a registered URL may point here
            return problem(403, "without a token the admin API answers nobody who comes through a gateway")
        if not self._is_local:
            return problem(403, "other machines can reach this address: set ADMIN_TOKEN or write gateway.admin_token")
        if not _is_loopback(host):
            return problem(403, "without a token the admin API answers to a loopback name only, such as localhost")
        return None


def _shows(token: str, scope: Scope) -> bool:
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(shown) != 1 or shown[0][: len(_SCHEME)].lower() != _SCHEME:
        return False
    return hmac.compare_digest(shown[0][len(_SCHEME) :].strip(), token.encode())


def _unauthorized() -> Response:
    detail = "the admin API wants Authorization: Bearer with the value of ADMIN_TOKEN or gateway.admin_token"
    return problem(401, detail, {"WWW-Authenticate": 'Bearer realm="portico admin"'})


def _is_loopback(host: str) -> bool:
    """Whether a Host field is a local name of this machine. Another name may resolve to it too: DNS rebinding."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    try:
        return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"
