"""Access to the admin API: clients with a token or, where there is none, programs on this machine."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portico.config.admin import LOCAL, Caller, Callers, find_caller
from portico.processes.control.problems import problem

_SCHEME: Final = b"bearer "
_READING: Final = ("GET", "HEAD")
"""Methods that change nothing. Every other one does, whatever it is called, but at the paths that follow."""
_READING_PATHS: Final = frozenset({"/admin/config/validate", "/admin/config/plan", "/admin/explain"})
"""Where a POST asks a question that is too long for a URL."""


_DOCUMENTATION: Final = ("/admin/docs", "/admin/openapi.json")
"""What is the same for every gateway: a browser, which sends no token by itself, may show it."""


def caller_of(request: Request) -> Caller:
    """Who sends a request that the guard has let in."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def writes(scope: Scope) -> bool:
    """Whether a request may change something, by its method and path."""
    return scope["method"] not in _READING and not (scope["method"] == "POST" and scope["path"] in _READING_PATHS)


class Guard:
    """Guards `app`. `callers` gives the tokens in force, if any; `is_local` says that only this machine can connect.

    Who asks is `caller_of(request)` behind it.
    """

    def __init__(self, app: ASGIApp, callers: Callable[[], Callers], *, is_local: bool) -> None:
        self._app = app
        self._callers = callers
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await ((self._refusal(scope) if scope["type"] == "http" else None) or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused. One that is not gets its caller."""
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:
            return problem(400, "more than one Host")
        host = headers.get("host", "")
        origins = headers.getlist("origin")
        if origins and origins != [f"{scope['scheme']}://{host}"]:
            return problem(403, "a page of another origin may not use the admin API")
        callers = self._callers()
        caller = _shown(callers, scope) if callers else Caller(LOCAL)
        if caller is None:
            return None if _documents(scope) else _unauthorized()
        if not callers and (refusal := stranger(headers, host, is_local=self._is_local)):
            return refusal
        scope.setdefault("state", {})["caller"] = caller
        if writes(scope) and not caller.can_write:
            return problem(
                403, f"the token of {caller.name} may read and not write: {scope['method']} needs access: write"
            )
        return None


def _documents(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] in _READING and (path in _DOCUMENTATION or path.startswith(f"{_DOCUMENTATION[0]}/"))


def stranger(headers: Headers, host: str, *, is_local: bool) -> Response | None:
    """Why somebody without a token, where there is none, is no program on this machine that means this API."""
    if any("portico" in value for value in headers.getlist("via")):  # a registered URL may point here
        return problem(403, "without a token the admin API answers nobody who comes through a gateway")
    if not is_local:
        return problem(403, "other machines can reach this address: set ADMIN_TOKEN or write gateway.admin_token")
    if not _is_loopback(host):
        return problem(403, "without a token the admin API answers to a loopback name only, such as localhost")
    return None


def _shown(callers: Callers, scope: Scope) -> Caller | None:
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(shown) != 1 or shown[0][: len(_SCHEME)].lower() != _SCHEME:
        return None
    return find_caller(callers, shown[0][len(_SCHEME) :].strip())


def _unauthorized() -> Response:
    detail = "the admin API wants Authorization: Bearer with a token: ADMIN_TOKEN, or one of gateway.admin_tokens"
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
