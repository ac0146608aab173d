"""Registering over the admin API: `/admin/registry`, for services without Redis, or without a client for it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from math import isfinite
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from portico.client.registry_keys import key_of
from portico.net.redis.connection import failures
from portico.processes.control.admin.bodies import body_of
from portico.processes.control.admin.models import Registered, RegistryPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.discovery import Discovery
from portico.processes.control.problems import problem
from portico.processes.control.registration import VALUE_LIMIT, Entry, SentRegistration, entry_of, read_document
from portico.processes.control.registry import UnknownServiceError

_REGISTRATION: Final = body_of(SentRegistration)
_NOTHING: Final[dict[str, Any]] = {"status_code": 204, "response_model": None, "response_class": Response}


def registry_routes(discovery: Discovery) -> APIRouter:
    """The routes below `/admin/registry`. Where a service discovers from Redis, they write there."""
    router = APIRouter(prefix="/admin/registry", tags=["registry"])
    desk = _Desk(discovery)

    @router.get("", **shows(RegistryPage))
    async def show() -> dict[str, Any]:
        """Every accepted registration."""
        return desk.show()

    @router.put("/{name}/{instance}", **shows(Registered, 201), openapi_extra=_REGISTRATION)
    async def register(name: str, instance: str, request: Request) -> Response:
        """Register an instance, or change its registration; it lives for `ttl` seconds."""
        return await _in_words(desk.register(name, instance, request))

    @router.post("/{name}/{instance}/heartbeat", **_NOTHING)
    async def heartbeat(name: str, instance: str) -> Response:
        """Extend by another `ttl`; 404 where there is no registration: register again."""
        return await _in_words(desk.heartbeat(name, instance))

    @router.delete("/{name}/{instance}", **_NOTHING)
    async def deregister(name: str, instance: str) -> Response:
        """Deregister: the instance gets no more requests."""
        return await _in_words(desk.deregister(name, instance))

    return router


class _Desk:
    """Executes the requests; `_in_words` turns what it raises into an answer."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._registry = discovery.registry

    def show(self) -> dict[str, Any]:
        services: dict[str, list[dict[str, Any]]] = {}
        for _, entry in sorted(self._registry.entries.items()):
            services.setdefault(entry.service, []).append(described(entry))
        listed = [{"name": name, "instances": instances} for name, instances in services.items()]
        return {"redis": self._discovery.redis_state(), "services": listed}

    async def register(self, name: str, instance: str, request: Request) -> Response:
        key = key_of(name, instance)
        source = self._source(name)
        if source is None:
            raise UnknownServiceError(name)
        entry = entry_of(name, instance, source, read_document(await _body(request), SentRegistration))
        self._registry.check(entry)
        is_new = key not in self._registry.entries
        if source == "redis":
            await self._discovery.watch.write(entry)
        else:
            self._registry.register(entry)
        return JSONResponse({"name": name, "id": instance, "expires_in": entry.ttl}, 201 if is_new else 200)

    async def heartbeat(self, name: str, instance: str) -> Response:
        key = key_of(name, instance)
        source = self._source(name)
        lives = self._registry.heartbeat(key)
        if not lives and source == "redis":
            lives = await self._discovery.watch.keep_alive(key)
        return Response(status_code=204) if lives else problem(404, f"{name}/{instance} is not registered (any more)")

    async def deregister(self, name: str, instance: str) -> Response:
        key = key_of(name, instance)
        if self._source(name) == "redis":
            await self._discovery.watch.delete(key)
        else:
            self._registry.deregister(key)
        return Response(status_code=204)

    def _source(self, name: str) -> str | None:
        """Where instances of a service register, if it discovers any. Raises ValueError where they do not register."""
        source = self._registry.wanted(name)
        if source in ("kubernetes", "dns"):
            raise ValueError(f"{source} knows the instances of {name}: none of them registers")
        return source


async def _in_words(doing: Awaitable[Response]) -> Response:
    """The answer, or the problem."""
    try:
        return await doing
    except UnknownServiceError as error:
        where = f"write discover into services.{error}, or at the top of the file"
        return problem(422, f"nobody looks for instances of {error}: {where}")
    except ValueError as error:
        return problem(422, str(error))
    except failures():
        return problem(503, "the registry in Redis is out of reach; try again", {"Retry-After": "1"})


def described(entry: Entry) -> dict[str, Any]:
    """A registration as the admin API shows it."""
    left = entry.seconds_left(time.monotonic())
    return {
        "id": entry.instance,
        "url": entry.url,
        "weight": entry.weight,
        "version": entry.version,
        "metadata": entry.metadata,
        "openapi": entry.openapi,
        "source": entry.source,
        "expires_in": round(max(0.0, left), 3) if isfinite(left) else None,
        **({"lost": True} if entry.kept_until else {}),
    }


async def _body(request: Request) -> bytes:
    """The body, if it is not larger than a registration may be. Raises ValueError."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > VALUE_LIMIT:
            raise ValueError(f"a registration has {VALUE_LIMIT} bytes at most")
    return content
