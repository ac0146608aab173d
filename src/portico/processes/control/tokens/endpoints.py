"""`/auth/token`, `/auth/revoke` and `/auth/me`: signing in and out as OAuth 2.0 has it, and who a token names."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from portico.config.endpoints import KEYS, METADATA
from portico.processes.control.problems import problem
from portico.processes.control.tokens.errors import NO_STORE, OAuthError
from portico.processes.control.tokens.families import StoreError
from portico.processes.control.tokens.forms import clients_shown, read_form
from portico.processes.control.tokens.grants import Grant
from portico.processes.control.tokens.issuing import Issuing

logger: Final = logging.getLogger("portico.auth")


def token_endpoints(issuing: Issuing) -> APIRouter:
    """The endpoints. Workers lead to them where tokens are issued, and prove who asks at `/auth/me`."""
    router = APIRouter()

    @router.post("/auth/token")
    async def token(request: Request) -> Response:
        """A token for whoever proves to be a consumer."""
        return await _answered(issuing, request, Grant.token)

    @router.post("/auth/revoke")
    async def revoke(request: Request) -> Response:
        """The end of a token."""

        async def revoked(grant: Grant) -> Response:
            await grant.revoke()
            return Response(headers=NO_STORE)

        return await _answered(issuing, request, revoked)

    @router.api_route("/auth/me", methods=["GET", "HEAD"])
    async def me(
        x_consumer_username: Annotated[str, Header()] = "", x_consumer_scopes: Annotated[str, Header()] = ""
    ) -> Response:
        """Who asks, as a worker has proved it."""
        scopes = [unquote(each) for each in x_consumer_scopes.split()]
        return JSONResponse({"username": unquote(x_consumer_username), "scopes": scopes}, headers=NO_STORE)

    @router.api_route(KEYS, methods=["GET", "HEAD"])
    async def keys() -> Response:
        """The keys that tokens are signed with (RFC 7517)."""
        if issuing.keys is None:
            return problem(404, "no tokens are signed with keys here")
        fields = {"Cache-Control": "public, max-age=300"}
        return Response(issuing.keys.document, headers=fields, media_type="application/jwk-set+json")

    @router.api_route(METADATA, methods=["GET", "HEAD"])
    async def metadata() -> Response:
        """Where clients find what (RFC 8414)."""
        if issuing.metadata is None:
            return problem(404, "no tokens are issued here under an address: gateway.tokens.issuer says it")
        return JSONResponse(issuing.metadata)

    return router


async def _answered(issuing: Issuing, request: Request, answer: Callable[[Grant], Awaitable[Response]]) -> Response:
    """What a request to the OAuth endpoints gets, also where something is wrong with it."""
    try:
        form = await read_form(request)
        shown = clients_shown(_only(request, "authorization"), form)
        return await answer(Grant(issuing, form, shown, request.headers.get("x-real-ip", "")))
    except OAuthError as error:
        return error.answer()
    except StoreError as error:
        logger.error("who is signed in cannot be looked up", extra={"reason": str(error)})
        message, fields = "who is signed in cannot be looked up now: try again", {"Retry-After": "5"}
        return OAuthError("temporarily_unavailable", message, 503, fields).answer()


def _only(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise OAuthError("invalid_request", f"there is more than one {name}")
    return values[0] if values else None
