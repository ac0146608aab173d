"""Routes over the admin API: what each matches, where it leads, and which policies it has from which level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from portico.config import Config, RedirectSettings, ResolvedRoute
from portico.config.problems import nearest
from portico.config.resolve import scope_path
from portico.config.versions import kind_of
from portico.observe.log_fields import is_secret_field
from portico.policies import POLICY_SETTINGS
from portico.processes.control.admin.models import Page, Shown
from portico.processes.control.admin.openapi import shows
from portico.processes.control.admin.places import Places, Where
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_MOST: Final = 1000
_MASK: Final = "********"
"""In place of a value that lets others in."""
_LEVELS: Final = {"gateway": "gateway", "service": "service", "route": "route"}


class PolicyModel(Shown):
    """A policy of a route."""

    key: str
    level: Literal["gateway", "service", "version", "route"]
    """The lowest level that says something about it."""
    off: bool
    """Whether it is one that is on anyway, and is turned off here."""
    where: str | None
    """File and line of what that level says."""


class SideModel(Shown):
    """One of the services or versions that a route leads to."""

    service: str
    version: str | None
    rewrite: str
    """What the path becomes there."""
    share: float | None = None
    """Per cent of the requests, as written, where the route is a split."""


class AnswerModel(Shown):
    """What a route answers itself."""

    status: int
    to: str | None = None
    """Where it redirects to."""
    file: str | None = None
    """What it sends."""


class RouteModel(Shown):
    """A route."""

    name: str
    path: str
    """A prefix, `= /exact`, `~ pattern`, or `fallback`."""
    hosts: list[str]
    methods: list[str]
    headers: dict[str, str]
    query: dict[str, str | Literal[True]]
    """Parameters that a request has to have; true: with any value."""
    version_by: list[str]
    """What tells between the versions of its service."""
    leads_to: list[SideModel]
    """The services, and their versions, that it leads to; several for a split, or versions."""
    answer: AnswerModel | None
    """What it answers itself, where it leads nowhere."""
    mirrors: list[str]
    """Who gets copies of its requests."""
    failovers: list[str]
    """Who is asked where its service fails."""
    policies: list[PolicyModel]
    """In the order in which requests pass them; then those of responses."""
    default: bool
    """Whether nobody has written it: it is there because its service is."""
    listeners: list[str] | None
    """The listeners that serve it, where several are written."""
    where: str | None
    """File and line of it, or, of a default route, of its service; null where they are not known."""


class RoutesPage(Page):
    """Routes in the order of the configuration."""

    total: int
    """How many there are that were asked for."""
    routes: list[RouteModel]


class RoutePage(Page):
    """One route."""

    route: RouteModel


def route_routes(state: State, places: Places) -> APIRouter:
    """`/admin/routes`."""
    router = APIRouter(prefix="/admin/routes", tags=["routes"])

    @router.get("", **shows(RoutesPage))
    async def routes(
        service: str | None = None,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = _MOST,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """Routes in the order of the configuration: all of them, or those that lead to a service."""
        where, groups = await places.where(), [*_groups(state.config)]
        if service is not None:
            groups = [group for group in groups if any(service == side.service for side in group)]
        shown = [_model(group, state.config, where) for group in groups[offset : offset + limit]]
        return _json(RoutesPage(generation=state.generation, total=len(groups), routes=shown))

    @router.get("/{name:path}", **shows(RoutePage))
    async def route(name: str) -> Response:
        """One route."""
        where, groups = await places.where(), {group[0].name: group for group in _groups(state.config)}
        if name not in groups:
            close = nearest(name, groups)
            return problem(404, f"there is no route {name}" + (f"; did you mean {close}?" if close else ""))
        return _json(RoutePage(generation=state.generation, route=_model(groups[name], state.config, where)))

    return router


def routes_to(config: Config, key: str) -> list[str]:
    """The names of the routes that lead to a service, or to `NAME@VERSION`."""
    names = (group[0].name for group in _groups(config) if any(key in _keys(side) for side in group))
    return list(dict.fromkeys(names))


def _keys(side: ResolvedRoute) -> tuple[str, ...]:
    return (str(side.service), f"{side.service}@{side.version}")


def _groups(config: Config) -> Iterator[list[ResolvedRoute]]:
    """Each route with its variants, for other versions and sides, behind it."""
    group: list[ResolvedRoute] = []
    for route in config.all_routes:
        if group and not route.is_variant:
            yield group
            group = []
        group.append(route)
    if group:
        yield group


def _model(group: Sequence[ResolvedRoute], config: Config, where: Where) -> RouteModel:
    route = group[0]
    written = config.gateway.listen
    return RouteModel(
        name=route.name,
        path=route.place,
        hosts=[*route.hosts],
        methods=[*route.methods],
        headers={name: _MASK if is_secret_field(name) else value for name, value in route.headers.items()},
        query={name: _MASK if is_secret_field(name) else value for name, value in route.query.items()},
        version_by=[kind_of(source) for source in route.choice.sources] if route.choice is not None else [],
        leads_to=[_side(side) for side in group if side.service is not None],
        answer=_answer(route),
        mirrors=[_named(mirror.service, mirror.version) for mirror in route.mirrors],
        failovers=[_named(failover.service, failover.version) for failover, _ in route.failovers],
        policies=[*_policies(route, where)],
        default=route.is_default,
        listeners=[each.key for each in written if each.serves(route.name)] if written else None,
        where=where(route.source),
    )


def _side(side: ResolvedRoute) -> SideModel:
    share = None
    if side.split is not None and side.side is not None:
        share = round(100 * side.side.weight / (sum(side.split.weights.values()) or 1), 3)
    return SideModel(service=str(side.service), version=side.version, rewrite=side.rewrite, share=share)


def _answer(route: ResolvedRoute) -> AnswerModel | None:
    answer = route.answer
    if answer is None:
        return None
    if isinstance(answer, RedirectSettings):
        return AnswerModel(status=answer.status, to=answer.to)
    return AnswerModel(status=answer.status, file=str(answer.file) if answer.file is not None else None)


def _named(service: str, version: str | None) -> str:
    return service if version is None else f"{service}@{version}"


def _policies(route: ResolvedRoute, where: Where) -> Iterable[PolicyModel]:
    for key in POLICY_SETTINGS:
        if key in route.policies:
            settings, scope = route.policies[key]
            level: Any = "version" if "@" in scope else _LEVELS[scope.partition(":")[0]]
            place = where((*scope_path(route, scope), key))
            yield PolicyModel(key=key, level=level, off=settings is None, where=place)


def _json(page: BaseModel) -> Response:
    return Response(page.model_dump_json(), media_type="application/json")
