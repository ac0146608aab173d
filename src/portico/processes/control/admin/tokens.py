"""Tokens over the admin API: issued, revoked, and `/admin/tokens/rotate` has another key sign."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from portico.processes.control.admin.bodies import schema_of
from portico.processes.control.admin.models import Issued, Revoked, Rotated
from portico.processes.control.admin.openapi import shows
from portico.processes.control.bound import Bound
from portico.processes.control.problems import problem
from portico.processes.control.state import State
from portico.processes.control.tokens.revocations import LONGEST

logger: Final = logging.getLogger("portico.auth")

_BODY_LIMIT = 64 << 10
_AT_ONCE = 16
_LONGEST = 366 * 86_400.0


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """For whom a token is, with which scopes (None: the consumer's), and for how many seconds (None: as usual)."""

    consumer: str
    scopes: list[str] | None = None
    life: float | None = None


class _Revocation(msgspec.Struct, forbid_unknown_fields=True):
    """What is revoked: one of a token, the `jti` of one, and a consumer."""

    token: str | None = None
    jti: str | None = None
    consumer: str | None = None


class _Rotation(msgspec.Struct, forbid_unknown_fields=True):
    withdraw: bool = False


def token_routes(state: State) -> APIRouter:
    """The routes below `/admin/tokens`."""
    router = APIRouter(prefix="/admin/tokens", tags=["tokens"], dependencies=[Depends(Bound(_AT_ONCE))])

    @router.post("", **shows(Issued), openapi_extra=schema_of(_Wanted))
    async def issue(request: Request) -> dict[str, Any] | Response:
        """A token for a consumer of the configuration."""
        wanted = await _read(request, _Wanted)
        if isinstance(wanted, Response):
            return wanted
        access, consumer = state.tokens.access, state.tokens.consumers.find(wanted.consumer)
        if access is None:
            return problem(409, "this gateway issues no tokens: write gateway.tokens, or a password of a consumer")
        if consumer is None:
            return problem(404, f"there is no consumer {wanted.consumer!r}: write it into consumers")
        scopes = consumer.scopes if wanted.scopes is None else wanted.scopes
        if missing := [scope for scope in scopes if scope not in consumer.scopes]:
            return problem(409, f"{consumer.name} does not have {' and '.join(missing)}")
        if wanted.life is not None and not 1 <= wanted.life <= _LONGEST:
            return problem(422, "a token lives for a second or longer, and a year at most")
        life = int(wanted.life or access.life)
        token = access.issue(consumer.name, scopes, life=life)
        return {"generation": state.generation, "access_token": token, "expires_in": life, "scope": " ".join(scopes)}

    @router.post("/revoke", **shows(Revoked), openapi_extra=schema_of(_Revocation))
    async def revoke(request: Request) -> dict[str, Any] | Response:
        """The end of a token, or of all that a consumer has."""
        wanted = await _read(request, _Revocation)
        return wanted if isinstance(wanted, Response) else await _revoked(state, wanted)

    @router.post("/rotate", **shows(Rotated), openapi_extra=schema_of(_Rotation, required=False))
    async def rotate(request: Request) -> dict[str, Any] | Response:
        """Another key to sign with: soon, or at once and alone."""
        wanted = await _read(request, _Rotation)
        if isinstance(wanted, Response):
            return wanted
        keys = state.tokens.keys
        if keys is None:
            return problem(409, "tokens are signed with a secret here: write gateway.tokens.algorithm, or change that")
        await keys.rotate(withdraw=wanted.withdraw)
        shown = [{"kid": key.kid, "algorithm": key.algorithm, "signs_from": key.signs_from} for key in keys.ring.keys]
        return {"generation": state.generation, "keys": shown}

    return router


async def _revoked(state: State, wanted: _Revocation) -> dict[str, Any] | Response:
    access, revocations = state.tokens.access, state.tokens.revocations
    if access is None:
        return problem(409, "this gateway issues no tokens: there are none to revoke")
    if [wanted.token, wanted.jti, wanted.consumer].count(None) != 2:
        return problem(422, "name one of token, jti and consumer")
    if wanted.consumer is not None:
        outcome, what = await revocations.revoke_consumer(wanted.consumer), {"consumer": wanted.consumer}
    elif wanted.jti is not None:
        outcome = await revocations.revoke_token(wanted.jti, int(time.time()) + LONGEST)
        what = {"jti": wanted.jti}
    else:
        claims = access.read(wanted.token or "")
        if claims is None or not isinstance(claims.get("jti"), str):
            return problem(404, "it is no token that this gateway has issued, or it has ended")
        outcome = await revocations.revoke_token(claims["jti"], math.ceil(claims["exp"]))
        what = {"jti": claims["jti"], "consumer": str(claims.get("sub", ""))}
    logger.info("tokens were revoked by the admin API", extra=what)
    is_known = wanted.consumer is None or state.tokens.consumers.find(wanted.consumer) is not None
    found = {"shared": outcome.shared, "kept": outcome.is_kept, "late": outcome.late, "known": is_known}
    return {"generation": state.generation, **what, **found}


async def _read(request: Request, kind: type[Any]) -> Any:
    """The document that is sent, or what is wrong with it."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY_LIMIT:
            return problem(413, f"a request has {_BODY_LIMIT} bytes at most")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.DecodeError as error:
        return problem(422, str(error))
