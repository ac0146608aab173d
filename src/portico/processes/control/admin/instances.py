"""Instances over the admin API: drained, enabled again, and given another weight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from portico.config.problems import nearest
from portico.core.overrides import Override
from portico.processes.control.admin.bodies import Asked, asked, body_of
from portico.processes.control.admin.guard import caller_of
from portico.processes.control.admin.models import OverrideModel, Page
from portico.processes.control.admin.openapi import shows
from portico.processes.control.bound import Bound
from portico.processes.control.overrides import Overrides, Said
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_AT_ONCE: Final = 64


class InstanceChoice(Asked):
    """Which instance is meant."""

    url: str
    """As `GET /admin/services` shows it."""


class WeightChoice(InstanceChoice):
    """Which instance is meant, and the weight that it has from now on."""

    weight: Annotated[int, Field(strict=True, ge=0, le=1000)]
    """In place of the one that is written; with 0 only sticky sessions go there that it has already."""


class InstanceAnswer(Page):
    """What holds for an instance now."""

    service: str
    url: str
    override: OverrideModel | None
    """What was said about it; null where what is configured holds."""
    late: list[str]
    """The workers that have not confirmed it yet."""
    kept: bool
    """Whether it outlasts a restart of the gateway."""
    warning: str | None = None
    """What is bad about it, if anything: no instance that gets requests is left."""


_ANSWER: Final = shows(InstanceAnswer, 202, description="What holds; 202: not yet everywhere, or not after a restart.")


def instance_routes(state: State) -> APIRouter:
    """The routes below `/admin/services/NAME/instances`."""
    router = APIRouter(
        prefix="/admin/services/{name}/instances",
        tags=["services"],
        dependencies=[Depends(Bound(_AT_ONCE))],
    )

    @router.post("/drain", **_ANSWER, openapi_extra=body_of(InstanceChoice))
    async def drain(name: str, request: Request) -> Response:
        """No new exchange for an instance, not even of a sticky session: these move. Those under way go on."""
        return await _said(state, request, name, InstanceChoice, lambda each, url, _, by: each.drain(name, url, by))

    @router.post("/enable", **_ANSWER, openapi_extra=body_of(InstanceChoice))
    async def enable(name: str, request: Request) -> Response:
        """What is configured holds for an instance again, whatever was said about it."""
        return await _said(state, request, name, InstanceChoice, lambda each, url, _, by: each.enable(name, url, by))

    @router.post("/weight", **_ANSWER, openapi_extra=body_of(WeightChoice))
    async def weight(name: str, request: Request) -> Response:
        """Another weight for an instance than the one that is written."""

        def weigh(each: Overrides, url: str, wanted: InstanceChoice, by: str) -> Awaitable[Said]:
            assert isinstance(wanted, WeightChoice)
            return each.weigh(name, url, wanted.weight, by)

        return await _said(state, request, name, WeightChoice, weigh)

    return router


async def _said(
    state: State,
    request: Request,
    name: str,
    kind: type[InstanceChoice],
    say: Callable[[Overrides, str, InstanceChoice, str], Awaitable[Said]],
) -> Response:
    """The answer, 202 where a worker is late or it is not kept; or what is wrong."""
    assert state.overrides is not None
    try:
        wanted = await asked(request, kind)
    except ValueError as error:
        return problem(422, str(error))
    known = [url for key, url in state.health.checks if key == name]
    url = next((each for each in known if each.rstrip("/") == wanted.url.rstrip("/")), None)
    what = f"{name} {wanted.url}" + (f" {wanted.weight}" if isinstance(wanted, WeightChoice) else "")
    state.audit.record(request, request.url.path.rpartition("/")[2], what)
    if url is None:
        return problem(404, _unknown(state, name, wanted.url, known))
    said = await say(state.overrides, url, wanted, caller_of(request).name)
    answer = InstanceAnswer(
        generation=state.generation,
        service=name,
        url=url,
        override=override_model(said.override) if said.override is not None else None,
        late=said.late,
        kept=said.is_kept,
        warning=f"no instance of {name} is left that gets requests" if all_drained(state, name) else None,
    )
    status = 202 if said.late or not said.is_kept else 200
    return Response(answer.model_dump_json(), status, media_type="application/json")


def override_model(override: Override) -> OverrideModel:
    """An override as the admin API shows it."""
    return OverrideModel(drained=override.is_drained, weight=override.weight, at=override.at, by=override.by)


def override_document(state: State, key: str, url: str) -> dict[str, object] | None:
    """The same as plain data, of an instance; None where nothing was said about it."""
    override = state.overrides.get(key, url) if state.overrides is not None else None
    return override_model(override).model_dump() if override is not None else None


def all_drained(state: State, key: str) -> bool:
    """Whether a service has instances, and somebody has seen to it that none gets requests."""
    if state.overrides is None:
        return False
    weights = []
    for check in state.health.of(key.partition("@")[0]):
        if check.key == key:
            said = state.overrides.get(key, check.instance.url) or Override(key, check.instance.url)
            own = check.instance.weight if said.weight is None else said.weight
            weights.append((0 if said.is_drained else own, said))
    return bool(weights) and not any(weight for weight, _ in weights) and any(said.at for _, said in weights)


def _unknown(state: State, name: str, url: str, known: list[str]) -> str:
    if not known:
        keys = sorted({key for key, _ in state.health.checks})
        close = nearest(name, keys)
        return f"there is no service {name} with instances" + (f"; did you mean {close}?" if close else "")
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    return f"{name} has no instance {url}: it has {shown}"
