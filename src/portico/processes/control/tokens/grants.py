"""The grants of the token endpoint: each proves a consumer in a way of its own, and gets a token for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse

from portico.core.consumers import Consumer
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.errors import NO_STORE, OAuthError
from portico.processes.control.tokens.families import Family, StoreError
from portico.processes.control.tokens.forms import CHALLENGE, Shown
from portico.processes.control.tokens.issuing import Issuing, granted_scopes
from portico.processes.control.tokens.refreshing import (
    RefreshTokens,
    ReusedError,
    check_client,
    password_mark,
    sign_in_of,
)
from portico.processes.control.tokens.revocations import Outcome

logger: Final = logging.getLogger("portico.auth")

_NOT_GOOD: Final = "the refresh token is not good, or not any more: sign in again"


class Grant:
    """One request to the token endpoint or to the one that revokes. All may raise OAuthError and StoreError."""

    def __init__(self, issuing: Issuing, form: Mapping[str, str], shown: list[Shown], address: str) -> None:
        self._issuing = issuing
        self._form = form
        self._shown = shown
        self._address = address

    async def token(self) -> JSONResponse:
        """The answer with a token."""
        access = self._access()
        if "grant_type" not in self._form and "username" in self._form:
            return await self._by_password(access)  # as FastAPI's own OAuth2PasswordRequestForm takes it
        grant = self._parameter("grant_type")
        if grant == "password":
            return await self._by_password(access)
        if grant == "client_credentials":
            return await self._by_client(access)
        if grant == "refresh_token" and self._issuing.refresh is not None:
            return await self._by_refresh(access, self._issuing.refresh)
        raise OAuthError("unsupported_grant_type", "grant_type is password, client_credentials or refresh_token")

    async def revoke(self) -> None:
        """RFC 7009: a refresh token ends with all that came from the same sign-in, an access token alone.

        An unknown one has ended already.
        """
        access, token, refresh = self._access(), self._parameter("token"), self._issuing.refresh
        client = await self._client()
        found = await refresh.find(token) if refresh is not None else None
        if refresh is not None and found is not None:
            name, _, family = found
            check_client(family.client, client)
            outcome = await self._end(refresh, name)
            logger.info("somebody has signed out", extra={"consumer": family.consumer, "client_ip": self._address})
            _check(outcome)
        elif (claims := access.read(token)) is not None:
            await self._end_token(claims, client)

    async def _end(self, refresh: RefreshTokens, name: str) -> Outcome:
        """End a family with all access tokens that came from it; what came of the end of these."""
        outcome = await self._issuing.revocations.revoke_sign_in(sign_in_of(name))
        await refresh.end(name)
        return outcome

    async def _end_token(self, claims: Mapping[str, Any], client: Consumer | None) -> None:
        check_client(str(claims.get("client_id", "")), client)
        jti, consumer = claims.get("jti"), claims.get("sub")
        if not isinstance(jti, str) or not isinstance(consumer, str):
            raise OAuthError("unsupported_token_type", "a token without jti and sub cannot be revoked")
        outcome = await self._issuing.revocations.revoke_token(jti, math.ceil(claims["exp"]), consumer)
        extra = {"consumer": consumer, "jti": jti, "client_ip": self._address}
        logger.info("a token was revoked", extra=extra)
        _check(outcome)

    async def _by_password(self, access: AccessTokens) -> JSONResponse:
        """RFC 6749, section 4.3: a consumer's own name and password."""
        reading = self._parameter("username"), self._parameter("password")
        client = await self._client()
        consumer = await self._issuing.credentials.check([reading], self._address)
        if consumer is None:
            raise OAuthError("invalid_grant", "the name or the password is wrong")
        scopes = granted_scopes(consumer.scopes, self._form.get("scope"))
        refresh, sign_in = await self._first(consumer, scopes, client)
        return _answer(access, consumer.name, scopes, client, refresh, sign_in)

    async def _by_client(self, access: AccessTokens) -> JSONResponse:
        """RFC 6749, section 4.4: a program that is a consumer itself."""
        client = await self._client()
        if client is None:
            raise OAuthError("invalid_client", "send client_id and client_secret, with Basic or in the form")
        return _answer(access, client.name, granted_scopes(client.scopes, self._form.get("scope")), client)

    async def _by_refresh(self, access: AccessTokens, refresh: RefreshTokens) -> JSONResponse:
        """RFC 6749, section 6: what an earlier answer gave for this."""
        token = self._parameter("refresh_token")
        client = await self._client()
        found = await refresh.find(token)
        if found is None:
            raise OAuthError("invalid_grant", _NOT_GOOD)
        name, number, family = found
        check_client(family.client, client)
        consumer = self._issuing.consumers.find(family.consumer)
        revoked = self._issuing.revocations.find(family.consumer)
        is_revoked = revoked is not None and family.since <= revoked.before
        if consumer is None or not _is_same(consumer, family) or is_revoked:
            await self._end(refresh, name)
            raise OAuthError("invalid_grant", _NOT_GOOD)
        had = [scope for scope in family.scopes if scope in consumer.scopes]
        scopes = granted_scopes(had, self._form.get("scope"))
        try:
            following = await refresh.turn(name, number, self._address)
        except ReusedError:
            following = None
            await self._end(refresh, name)
        if following is None:
            raise OAuthError("invalid_grant", _NOT_GOOD)
        return _answer(access, consumer.name, scopes, client, following, sign_in_of(name))

    async def _first(
        self, consumer: Consumer, scopes: Sequence[str], client: Consumer | None
    ) -> tuple[str | None, str | None]:
        """A refresh token and its `sid`; None where there is none, or none can be had now: signing in goes on."""
        if self._issuing.refresh is None:
            return None, None
        try:
            token, name = await self._issuing.refresh.issue(consumer, scopes, client)
        except StoreError as error:
            logger.error("a token is issued that cannot be refreshed", extra={"reason": str(error)})
            return None, None
        return token, sign_in_of(name)

    async def _client(self) -> Consumer | None:
        """The consumer that the client proves to be, None where it shows no secret."""
        if not self._shown:
            return None
        readings = [(each.name, each.secret) for each in self._shown]
        found = await self._issuing.credentials.check(readings, self._address)
        if found is None:
            in_header = self._shown[0].in_header
            status, fields = (401, CHALLENGE) if in_header else (400, None)
            raise OAuthError("invalid_client", "the client or its secret is wrong", status, fields)
        return found

    def _access(self) -> AccessTokens:
        if self._issuing.access is None:
            raise OAuthError("temporarily_unavailable", "this gateway issues no tokens", 503)
        return self._issuing.access

    def _parameter(self, name: str) -> str:
        if name not in self._form:
            raise OAuthError("invalid_request", f"{name} is missing")
        return self._form[name]


def _is_same(consumer: Consumer, family: Family) -> bool:
    return bool(consumer.password) and password_mark(consumer) == family.password


def _check(outcome: Outcome) -> None:
    """Raises OAuthError where a token may still be good somewhere: the client asks again (RFC 7009, section 2.2.1)."""
    if outcome.shared is False or outcome.late:
        message, fields = "it is not certain that all gateways know of it: try again", {"Retry-After": "5"}
        raise OAuthError("temporarily_unavailable", message, 503, fields)


def _answer(
    access: AccessTokens,
    consumer: str,
    scopes: Sequence[str],
    client: Consumer | None,
    refresh: str | None = None,
    sign_in: str | None = None,
) -> JSONResponse:
    token = access.issue(consumer, scopes, client.name if client is not None else None, sign_in=sign_in)
    document: dict[str, Any] = {"access_token": token, "token_type": "bearer", "expires_in": access.life}
    if refresh is not None:
        document["refresh_token"] = refresh
    return JSONResponse({**document, "scope": " ".join(scopes)}, headers=NO_STORE)
