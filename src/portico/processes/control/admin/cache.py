"""The cache over the admin API: `/admin/cache/purge`, `/stats` and `/show`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from portico.config.problems import nearest
from portico.core.header_map import checked_line
from portico.processes.control.admin.bodies import schema_of
from portico.processes.control.admin.cache_overview import cache_overview
from portico.processes.control.admin.models import CacheShown, CacheStats, PurgedPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.bound import Bound
from portico.processes.control.problems import problem
from portico.processes.control.state import State
from portico.processes.ipc import channel
from portico.proxy.cache.purge_urls import purge_url
from portico.proxy.cache.purges import Purge

_BODY_LIMIT: Final = 1 << 20
_MOST: Final = 1000
"""Purges in one request."""
_AT_ONCE: Final = 64
_TIMEOUT: Final = 2.0
"""Seconds that workers have to say what they have stored."""
_KINDS: Final = ("url", "prefix", "tag", "group", "service")

Values = str | list[str]


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What a client wants purged: one value or several of each kind; `origin` is that of groups."""

    url: Values = []
    prefix: Values = []
    tag: Values = []
    group: Values = []
    service: Values = []
    all: bool = False
    origin: str = ""
    soft: bool = False

    def purges(self) -> list[Purge]:
        """Raises ValueError, which says what is wrong."""
        purges = [*self._each()]
        if not purges:
            raise ValueError(f"name what is to go: {', '.join(_KINDS)}, or all: true")
        if len(purges) > _MOST:
            raise ValueError(f"more than {_MOST} purges in one request")
        return purges

    def _each(self) -> Iterator[Purge]:
        for kind in _KINDS:
            values = getattr(self, kind)
            for value in [values] if isinstance(values, str) else values:
                origin = self.origin if kind == "group" else ""
                yield Purge.of(kind, value, origin=origin, soft=self.soft)
        if self.all:
            yield Purge.of("all", soft=self.soft)


def cache_routes(state: State) -> APIRouter:
    """The routes below `/admin/cache`."""
    router = APIRouter(prefix="/admin/cache", tags=["cache"])
    bounded = [Depends(Bound(_AT_ONCE))]

    @router.post("/purge", dependencies=bounded, **shows(PurgedPage, 202), openapi_extra=schema_of(_Wanted))
    async def purge(request: Request) -> dict[str, Any] | Response:
        """Purge; answers once every worker has confirmed it, 202 where one has not in time."""
        try:
            purges = msgspec.json.decode(await _body(request), type=_Wanted).purges()
            _check_services(purges, state)
        except ValueError as error:
            return problem(422, str(error))
        done = await state.purges.purge(purges)
        document = {
            "generation": state.generation,
            "purged": [{"kind": each.kind, "value": each.value, "soft": each.soft} for each in purges],
            "entries": done.entries,
            "workers": done.done,
            "late": done.late,
            "shared": done.shared,
        }
        return Response(msgspec.json.encode(document), 202 if done.late else 200, media_type="application/json")

    @router.get("/stats", dependencies=bounded, **shows(CacheStats))
    async def stats() -> dict[str, Any]:
        """What is stored and how often it was used: by worker, by service, and together."""
        overview = cache_overview(await state.workers.running())
        return {"generation": state.generation, **overview, "redis": await state.purges.redis_state()}

    @router.get("/show", dependencies=bounded, **shows(CacheShown))
    async def show(
        url: str, header: Annotated[Sequence[str], Query()] = (), method: str = "GET"
    ) -> dict[str, Any] | Response:
        """What is stored for a request, and what would become of it."""
        try:
            question = _question(url, method, header)
        except ValueError as error:
            return problem(422, str(error))
        answers = await state.workers.ask(question, _TIMEOUT)
        shown = {worker: answer.report for worker, answer in answers.items() if isinstance(answer, channel.Inspected)}
        workers = [{"name": worker, **msgspec.json.decode(report)} for worker, report in sorted(shown.items())]
        for worker in workers[1:]:  # what is in Redis is the same for all
            worker["keys"] = [key for key in worker["keys"] if key["store"] == "memory"]
        late = [worker for worker, answer in answers.items() if answer is None]
        return {"generation": state.generation, "url": url, "workers": workers, "late": late}

    return router


async def _body(request: Request) -> bytes:
    """The body, if it is no larger than it may be. Raises ValueError."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _BODY_LIMIT:
            raise ValueError(f"a purge has {_BODY_LIMIT} bytes at most")
    return content


def _check_services(purges: list[Purge], state: State) -> None:
    """Raise ValueError for a service that is none: what was meant would stay."""
    known = state.config.services
    for name in (purge.value for purge in purges if purge.kind == "service"):
        if name not in known:
            close = nearest(name, known)
            raise ValueError(f"there is no service {name}" + (f"; did you mean {close}?" if close else ""))


def _question(url: str, method: str, fields: Sequence[str]) -> Callable[[int], channel.Message]:
    """What workers are asked. Raises ValueError."""
    named = purge_url(url)
    lines = []
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise ValueError("a header is written as Name: value")
        lines.append(checked_line(name, value).decode("latin-1"))
    return lambda number: channel.Inspect(number, named, method.upper(), lines)
