"""`/auth/token` and `/auth/me`: signing in as RFC 6749 has it, and who a token names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from portico.core.consumers import Consumer
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.errors import NO_STORE, OAuthError
from portico.processes.control.tokens.forms import Shown, clients_shown, read_form
from portico.processes.control.tokens.issuing import Issuing, granted_scopes


def token_endpoints(issuing: Issuing) -> APIRouter:
    """The endpoints. Workers lead to them where tokens are issued, and prove who asks at `/auth/me`."""
    router = APIRouter(prefix="/auth")

    @router.post("/token")
    async def token(request: Request) -> Response:
        """A token for whoever proves to be a consumer."""
        try:
            form = await read_form(request)
            shown = clients_shown(_only(request, "authorization"), form)
            return await _Grant(issuing, form, shown, request.headers.get("x-real-ip", "")).answer()
        except OAuthError as error:
            return error.answer()

    @router.api_route("/me", methods=["GET", "HEAD"])
    async def me(
        x_consumer_username: Annotated[str, Header()] = "", x_consumer_scopes: Annotated[str, Header()] = ""
    ) -> Response:
        """Who asks, as a worker has proved it."""
        scopes = [unquote(each) for each in x_consumer_scopes.split()]
        return JSONResponse({"username": unquote(x_consumer_username), "scopes": scopes}, headers=NO_STORE)

    return router


def _only(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise OAuthError("invalid_request", f"there is more than one {name}")
    return values[0] if values else None


class _Grant:
    """One request for a token."""

    def __init__(self, issuing: Issuing, form: Mapping[str, str], shown: list[Shown], address: str) -> None:
        self.issuing = issuing
        self.form = form
        self.shown = shown
        self.address = address

    async def answer(self) -> Response:
        access = self.issuing.access
        if access is None:
            raise OAuthError("temporarily_unavailable", "this gateway issues no tokens", 503)
        grant = self._parameter("grant_type")
        if grant not in _GRANTS:
            raise OAuthError("unsupported_grant_type", f"grant_type is one of {', '.join(_GRANTS)}")
        return await _GRANTS[grant](self, access)

    async def by_password(self, access: AccessTokens) -> Response:
        """RFC 6749, section 4.3: a consumer's own name and password."""
        reading = self._parameter("username"), self._parameter("password")
        client = await self.client()
        consumer = await self.issuing.credentials.check([reading], self.address)
        if consumer is None:
            raise OAuthError("invalid_grant", "the name or the password is wrong")
        return self._issued(access, consumer, client)

    async def by_client(self, access: AccessTokens) -> Response:
        """RFC 6749, section 4.4: a program that is a consumer itself."""
        client = await self.client()
        if client is None:
            raise OAuthError("invalid_client", "send client_id and client_secret, with Basic or in the form")
        return self._issued(access, client, client)

    async def client(self) -> Consumer | None:
        """The consumer that the client proves to be, None where it shows no secret. Raises OAuthError."""
        if not self.shown:
            return None
        found = await self.issuing.credentials.check([(each.name, each.secret) for each in self.shown], self.address)
        if found is None and self.shown[0].in_header:
            challenge = {"WWW-Authenticate": 'Basic realm="portico"'}
            raise OAuthError("invalid_client", "the client or its secret is wrong", 401, challenge)
        if found is None:
            raise OAuthError("invalid_client", "the client or its secret is wrong")
        return found

    def _parameter(self, name: str) -> str:
        if name not in self.form:
            raise OAuthError("invalid_request", f"{name} is missing")
        return self.form[name]

    def _issued(self, access: AccessTokens, consumer: Consumer, client: Consumer | None) -> Response:
        scopes = granted_scopes(consumer, self.form.get("scope"))
        token = access.issue(consumer.name, scopes, client.name if client is not None else None)
        document: dict[str, Any] = {"access_token": token, "token_type": "bearer", "expires_in": access.life}
        return JSONResponse({**document, "scope": " ".join(scopes)}, headers=NO_STORE)


_GRANTS = {"password": _Grant.by_password, "client_credentials": _Grant.by_client}
