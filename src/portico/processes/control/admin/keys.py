"""API keys over the admin API: `/admin/keys`, and what may be done with one of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from portico.core.api_keys import shown
from portico.core.settings import Duration, DurationOrZero
from portico.policies.consumer_fields import ConsumerName, ScopeName
from portico.processes.control.admin.bodies import Asked, asked, body_of
from portico.processes.control.admin.models import KeyChanged, KeysPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.api_key_records import KeyRecord
from portico.processes.control.api_keys import ApiKeys, Outcome, RefusedError, UnavailableError, UnknownKeyError
from portico.processes.control.bound import Bound
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_AT_ONCE: Final = 64


class _Lifetime(Asked):
    """`scopes`: all that the consumer has, if none are named. `expires_in`: for ever, if nothing is said."""

    scopes: list[ScopeName] | None = None
    expires_in: Duration | None = None


class _Create(_Lifetime):
    consumer: ConsumerName
    note: Annotated[str, Field(max_length=200)] = ""


class _Rotate(_Lifetime):
    overlap: DurationOrZero = 3600.0


_CHANGED: Final = shows(KeyChanged, 202, description="The key; 202 where not all have the change yet.")


def api_key_routes(state: State) -> APIRouter:
    """The routes below `/admin/keys`."""
    router = APIRouter(prefix="/admin/keys", tags=["keys"], dependencies=[Depends(Bound(_AT_ONCE))])
    keys = state.api_keys

    @router.get("", **shows(KeysPage))
    async def list_keys() -> Response:
        """All of them, also those that have ended. `shared` is null where there is no Redis that gateways share."""
        return await _answer(state, _listed(keys))

    @router.post("", **_CHANGED, openapi_extra=body_of(_Create))
    async def create(request: Request) -> Response:
        """Make a key; its text is in this answer and nowhere else."""
        return await _answer(state, _created(keys, request))

    @router.post("/{key}/revoke", **_CHANGED)
    async def revoke(key: str) -> Response:
        """End a key."""
        return await _answer(state, _revoked(keys, key))

    @router.post("/{key}/rotate", **_CHANGED, openapi_extra=body_of(_Rotate, required=False))
    async def rotate(key: str, request: Request) -> Response:
        """Make a key in place of another, which ends a while later."""
        return await _answer(state, _rotated(keys, key, request))

    return router


async def _answer(state: State, done: Awaitable[dict[str, Any]]) -> Response:
    """202 where not all have a change yet: a worker, other gateways, or this one once it has started again."""
    try:
        document = await done
    except (UnknownKeyError, RefusedError, UnavailableError, ValueError) as error:
        return _refused(error)
    is_everywhere = "kept" not in document or (
        document["shared"] is not False and document["kept"] and not document["late"]
    )
    content = msgspec.json.encode({"generation": state.generation, **document})
    headers = {"Cache-Control": "no-store"}
    return Response(content, 200 if is_everywhere else 202, headers, media_type="application/json")


async def _listed(keys: ApiKeys) -> dict[str, Any]:
    records, used, now = keys.records(), await keys.all_used(), time.time()
    shown_keys = [_document(each, keys, now, used) for each in records]
    for name, consumer in keys.filed():
        document = {"id": name, "key": name, "consumer": consumer.name, "scopes": [*consumer.scopes]}
        shown_keys.append({**_NOTHING, **document, "from": "file", "last_used": used.get(name)})
    return {"shared": keys.up, "keys": shown_keys}


async def _created(keys: ApiKeys, request: Request) -> dict[str, Any]:
    wanted = await asked(request, _Create)
    record, text, outcome = await keys.create(wanted.consumer, wanted.scopes, wanted.expires_in, wanted.note)
    return {"secret": text, "key": _document(record, keys, time.time()), **_outcome(outcome)}


async def _revoked(keys: ApiKeys, key: str) -> dict[str, Any]:
    record, outcome = await keys.revoke(key)
    return {"key": _document(record, keys, time.time()), **_outcome(outcome)}


async def _rotated(keys: ApiKeys, key: str, request: Request) -> dict[str, Any]:
    wanted = await asked(request, _Rotate)
    old, new, text, outcome = await keys.rotate(key, wanted.overlap, wanted.scopes, wanted.expires_in)
    now = time.time()
    both = {"key": _document(new, keys, now), "replaces": _document(old, keys, now)}
    return {"secret": text, **both, **_outcome(outcome)}


def _refused(error: Exception) -> Response:
    if isinstance(error, UnavailableError):
        return problem(503, str(error), {"Retry-After": "1"})
    status = 404 if isinstance(error, UnknownKeyError) else 409 if isinstance(error, RefusedError) else 422
    return problem(status, str(error))


_NOBODY: Final[dict[str, int]] = {}
_NOTHING: Final = {"note": "", "created": None, "expires": None, "revoked": None, "state": "active"}
"""What is not known of keys in the file."""


def _document(record: KeyRecord, keys: ApiKeys, now: float, used: Mapping[str, int] = _NOBODY) -> dict[str, Any]:
    """One key; times are in seconds since the epoch, null for never."""
    consumer = keys.consumer(record.consumer)
    held = consumer.scopes if consumer is not None else ()
    return {
        "id": record.id,
        "key": shown(record.id),
        "consumer": record.consumer,
        "scopes": [scope for scope in held if record.scopes is None or scope in record.scopes],
        "note": record.note,
        "created": record.created,
        "expires": record.expires or None,
        "revoked": record.revoked or None,
        "last_used": used.get(record.id),
        "state": _state(record, now) if consumer is not None or not record.holds(now) else "without its consumer",
        "from": "portico keys",
    }


def _state(record: KeyRecord, now: float) -> str:
    return "active" if record.holds(now) else "revoked" if record.revoked else "expired"


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {"shared": outcome.shared, "late": outcome.late, "kept": outcome.is_kept}
