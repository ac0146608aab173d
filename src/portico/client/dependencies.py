"""The user of a request, as dependencies of FastAPI: `current_user`, `optional_user`, `require_scopes`.

They need `trust_gateway` once per application. Of FastAPI's packages only Starlette is imported, when this module is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from portico.client.identity import IdentityError, User, Verifier, identity

logger: Final = logging.getLogger("portico.client")

_VERIFIER: Final = "portico_verifier"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="portico"'}


class RefusedError(HTTPException):
    """Why a request may not go on; answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, reason: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason


def trust_gateway(app: Any, service: str, keys: Iterable[str] | str | None = None, **options: Any) -> Verifier:
    """Have `app` (FastAPI or Starlette) accept identities that the gateway signs for `service`.

    `service` is its name in the gateway's configuration; `keys` and `options` are those of `Verifier`. An application
    that is mounted inside another one needs a call of its own.

    Raises ValueError where keys are missing or too short.
    """
    verifier = Verifier(service, keys, **options)
    setattr(app.state, _VERIFIER, verifier)
    app.add_exception_handler(RefusedError, _answer)
    return verifier


async def optional_user(connection: HTTPConnection) -> User | None:
    """The user, None where the gateway authenticated none; 401 for an identity that is not valid."""
    verifier = getattr(connection.app.state, _VERIFIER, None)
    if verifier is None:
        raise RuntimeError('this application trusts no gateway: call trust_gateway(app, "its-name") after creating it')
    try:
        return identity(connection.scope, verifier)
    except IdentityError as error:
        logger.warning("an identity was refused: %s", error)
        detail = f"the identity of this request is not valid: {error}"
        raise RefusedError(401, "identity_invalid", detail, _CHALLENGE) from error


async def current_user(connection: HTTPConnection) -> User:
    """The user; 401 where the gateway names none, or the identity is not valid."""
    user = await optional_user(connection)
    if user is None:
        raise RefusedError(401, "identity_missing", "sign in, and come through the gateway", _CHALLENGE)
    return user


def require_scopes(*scopes: str) -> Callable[[HTTPConnection], Awaitable[User]]:
    """A dependency that gives the user, who must have every one of `scopes`; 403 otherwise."""
    wanted = " ".join(scopes)
    challenge = {"WWW-Authenticate": f'Bearer realm="portico", error="insufficient_scope", scope="{wanted}"'}

    async def user_with_scopes(connection: HTTPConnection) -> User:
        user = await current_user(connection)
        if not user.has_scopes(*scopes):
            raise RefusedError(403, "scope_missing", f"this needs the scopes: {wanted}", challenge)
        return user

    return user_with_scopes


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": error.detail,
        "instance": request.url.path,
        "request_id": request.headers.get("x-request-id"),
        "reason": error.reason,
    }
    return JSONResponse(document, error.status_code, error.headers, "application/problem+json")
