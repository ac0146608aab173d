"""Limits over the admin API: their numbers, how often they refused, and what is left of the keys that use most."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from portico.config import Config
from portico.config.problems import KeyPath, nearest
from portico.config.resolve import scope_path
from portico.net.redis.connection import failures
from portico.policies.limit_report import is_masked, shown_key
from portico.processes.control.admin.models import Page, Shown
from portico.processes.control.admin.openapi import shows
from portico.processes.control.admin.places import Places
from portico.processes.control.bound import Bound
from portico.processes.control.limit_redis import Counted, RedisLimits
from portico.processes.control.problems import problem
from portico.processes.control.state import State
from portico.processes.ipc import channel

_AT_ONCE: Final = 8
_TIMEOUT: Final = 3.0
"""Seconds that workers have to say what they count, and Redis."""
_MOST: Final = 20
_MOST_LIMITS: Final = 1000


class MeasureModel(Shown):
    """One number that requests count against."""

    of: str
    """`rate`, or the period of a quota."""
    name: str
    """What clients, the log and metrics call it."""
    allowed: int
    """The burst, or the quota."""
    per_minute: float | None = None
    """The rate."""


class StandingModel(Shown):
    """What is left of a key."""

    key: str
    """A client's address or network, a consumer, or the value of a field; empty for those without one. What is long
    has a name in Redis that begins with `#`."""
    of: str
    """`rate`, or the period of a quota."""
    left: float
    allowed: int
    whole_in: float
    """Seconds until nothing is taken any more."""
    worker: str | None = None
    """Which worker counts it, where each counts by itself."""


class LimitModel(Shown):
    """A limit."""

    id: str
    """What it is reset by: its scope and its name."""
    name: str
    scope: str
    """The level that has it: `gateway`, `service:NAME`, `service:NAME@VERSION`, `route:NAME`."""
    by: str
    """`client_ip`, `consumer`, or `header.NAME`."""
    enforced: bool
    costs: bool
    """Whether it counts what responses cost, in place of requests."""
    fallback: str
    store: str
    """Where it counts: in the `memory` of each worker, in that of all `workers` together, or in `redis`."""
    allowed: int
    """Requests that it has admitted, since the workers began."""
    refused: int
    """Requests that it has refused, or would have, where it is not enforced."""
    measures: list[MeasureModel]
    keys: list[StandingModel]
    """Those of which least is left, the fullest first; those of which nothing is taken are not there."""
    complete: bool
    """Whether there are no others in Redis that were not looked at."""
    where: str | None
    """File and line; null where they are not known."""


class LimitsPage(Page):
    """Limits in the order in which they were compiled."""

    total: int
    limits: list[LimitModel]
    late: list[str]
    """Workers that have not answered."""
    problem: str | None = None
    """Why nothing is known of what is in Redis."""


class LimitReset(Page):
    """A key that is whole again."""

    limit: str
    key: str
    late: list[str]
    """Workers that have not confirmed it."""


def limit_routes(state: State, places: Places) -> APIRouter:
    """`/admin/limits`."""
    router = APIRouter(prefix="/admin/limits", tags=["limits"], dependencies=[Depends(Bound(_AT_ONCE))])
    desk = _Desk(state, places)

    @router.get("", **shows(LimitsPage))
    async def limits(
        limit: Annotated[str | None, Query(description="Only the limit with this id.")] = None,
        key: Annotated[str | None, Query(description="What is left of this key, in place of the fullest.")] = None,
        most: Annotated[int, Query(ge=1, le=100, description="Keys of each limit.")] = _MOST,
    ) -> Response:
        """Every rate limit and quota, what it has refused, and what is left now of the keys that use most."""
        page = await desk.page(limit, key, most)
        if limit is not None and not page.limits:
            return problem(404, await desk.unknown(limit))
        return Response(page.model_dump_json(), media_type="application/json")

    @router.delete("", **shows(LimitReset, 202, description="202: a worker has not confirmed it."))
    async def reset(limit: str, key: str, request: Request) -> Response:
        """Make one key of a limit whole again, wherever it is counted."""
        state.audit.record(request, "reset limit", limit)
        try:
            done = await desk.reset(limit, key)
        except failures():
            return problem(503, "Redis, where this limit is counted, is out of reach; try again", {"Retry-After": "1"})
        if done is None:
            return problem(404, await desk.unknown(limit))
        state.audit.record(request, "reset limit", f"{limit} {done.key}")
        return Response(done.model_dump_json(), 202 if done.late else 200, media_type="application/json")

    return router


class _Desk:
    """Asks the workers, and Redis where limits are there."""

    def __init__(self, state: State, places: Places) -> None:
        self._state = state
        self._places = places

    async def page(self, only: str | None, key: str | None, most: int) -> LimitsPage:
        reports, late = await self._ask(key, most)
        merged = [each for each in _merged(reports) if only is None or each["id"] == only]
        where, paths = await self._places.where(), _paths(self._state.config)
        shown = merged[:_MOST_LIMITS]
        trouble = await self._read_redis(shown, key, most)
        for each in shown:
            each["keys"] = sorted(each["keys"], key=_by_what_is_left)[:most]
            each["where"] = where(paths[each["scope"]]) if each["scope"] in paths else None
        limits = [LimitModel.model_validate(each) for each in shown]
        return LimitsPage(
            generation=self._state.generation, total=len(merged), limits=limits, late=late, problem=trouble
        )

    async def unknown(self, limit: str) -> str:
        reports, _ = await self._ask("", 1)
        close = nearest(limit, [each["id"] for each in _merged(reports)])
        return f"there is no limit {limit}" + (f"; did you mean {close}?" if close else ": GET /admin/limits lists all")

    async def reset(self, limit: str, key: str) -> LimitReset | None:
        """None where there is no such limit. Raises what Redis does."""
        reports, late = await self._ask(key, 1)
        meant = [each for each in _merged(reports) if each["id"] == limit]
        if not meant:
            return None
        shared = [each for each in meant if each["store"] == "redis"]
        if shared:
            await self._with_redis(lambda redis: _reset(redis, shared, key))
        answers = await self._state.workers.ask(lambda number: channel.ResetLimit(number, limit, key), _TIMEOUT)
        late = sorted({*late, *(worker for worker, answer in answers.items() if answer is None)})
        shown = key if is_masked(key) else shown_key(meant[0]["by"], key)
        return LimitReset(generation=self._state.generation, limit=limit, key=shown, late=late)

    async def _look(self, redis: RedisLimits, limits: Sequence[dict[str, Any]], key: str | None, most: int) -> None:
        """Add what is left of one key, or of those that are found there."""
        for each in limits:
            each["complete"] = True
        if key is not None:
            names = [(measure.name(key), measure, key, each) for each in limits for measure in _measures_of(each, key)]
        else:
            found = await redis.find([measure for each in limits for measure in _all_measures(each)])
            owners = {measure.before: each for each in limits for measure in _all_measures(each)}
            names = []
            await self._learn_numbers(limits, [known for _, _, known in found.names])
            for name, measure, known in found.names:
                owner = owners[measure.before]
                own = (each for each in _measures_of(owner, known) if each.before == measure.before)
                names += [(name, each, known, owner) for each in own]
            for each in limits:
                each["complete"] = found.complete
        entries = await asyncio.gather(*(redis.look(name, measure, known) for name, measure, known, _ in names))
        for entry, (_, _, known, owner) in zip(entries, names, strict=True):
            if entry is not None:
                owner["keys"].append({**entry, "key": shown_key(owner["by"], known)})
        for each in limits:
            each["keys"] = sorted(each["keys"], key=_by_what_is_left)[:most]

    async def _learn_numbers(self, limits: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
        """Have the numbers of those of these consumers that have their own, where a limit is by consumer."""
        if not any(each["names"] for each in limits):
            return
        reports, _ = await self._ask("", 1, list(dict.fromkeys(keys)))
        owns = {each["id"]: each["owns"] for each in _merged(reports)}
        for each in limits:
            each["owns"] = owns.get(each["id"], {})

    async def _ask(
        self, key: str | None, most: int, consumers: Sequence[str] = ()
    ) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
        answers = await self._state.workers.ask(
            lambda number: channel.ShowLimits(number, most, key, [*consumers]), _TIMEOUT
        )
        reports = {
            worker: msgspec.json.decode(answer.report)
            for worker, answer in sorted(answers.items())
            if isinstance(answer, channel.Inspected)
        }
        return reports, [worker for worker, answer in answers.items() if answer is None]

    async def _read_redis(self, limits: Sequence[dict[str, Any]], key: str | None, most: int) -> str | None:
        """Add what is counted in Redis; or say why that is not known."""
        shared = [each for each in limits if each["store"] == "redis"]
        if not shared:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._with_redis(lambda redis: self._look(redis, shared, key, most))
        except TimeoutError:
            return "Redis, where limits are counted, is too slow"
        except failures():
            return "Redis, where limits are counted, is out of reach"
        return None

    async def _with_redis(self, doing: Any) -> None:
        url = self._state.config.gateway.redis_url
        assert url is not None
        redis = RedisLimits(url.get_secret_value())
        try:
            await doing(redis)
        finally:
            await redis.close()


async def _reset(redis: RedisLimits, limits: Sequence[Mapping[str, Any]], key: str) -> None:
    names = [measure.name(key) for each in limits for measure in _all_measures(each)]
    if is_masked(key):
        owners = {measure: each["by"] for each in limits for measure in _all_measures(each)}
        found = await redis.find([*owners])
        names += [name for name, measure, known in found.names if shown_key(owners[measure], known) == key]
    await redis.reset(names)


def _all_measures(limit: Mapping[str, Any]) -> Sequence[Counted]:
    """What it counts by, with the names that consumers may have in Redis beside: their numbers are not these."""
    usual = [*map(Counted.described, limit["measures"])]
    known = {each.of for each in usual}
    return [*usual, *(Counted(kind, 0, "", *names) for kind, names in limit["names"].items() if kind not in known)]


def _measures_of(limit: Mapping[str, Any], key: str) -> Sequence[Counted]:
    """What a key counts against."""
    return [*map(Counted.described, limit["owns"].get(key, limit["measures"]))]


def _merged(reports: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All limits once; what each worker counts by itself has the worker's name."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    alone = len(reports) == 1
    for worker, report in reports.items():
        for each in report:
            known = merged.setdefault((each["id"], each["store"]), {**each, **_NOTHING, "keys": []})
            known["asked"] += each["asked"]
            known["refused"] += each["refused"]
            own = {} if alone or each["store"] != "memory" else {"worker": worker}
            seen = {(entry["key"], entry["of"]) for entry in known["keys"]} if not own else set()
            known["keys"] += [{**entry, **own} for entry in each["keys"] if (entry["key"], entry["of"]) not in seen]
    for each in merged.values():
        each["allowed"] = max(0, each["asked"] - each["refused"])
    return [*merged.values()]


_NOTHING: Final = {"complete": True, "asked": 0, "refused": 0}


def _by_what_is_left(entry: Mapping[str, Any]) -> tuple[float, float]:
    return entry["left"] / entry["allowed"], -entry["whole_in"]


def _paths(config: Config) -> dict[str, KeyPath]:
    """Where the limits of each scope are written."""
    found: dict[str, KeyPath] = {}
    for route in config.all_routes:
        _, scope = route.policies.get("rate_limit", (None, ""))
        if scope and scope not in found:
            found[scope] = (*scope_path(route, scope), "rate_limit")
    return found
