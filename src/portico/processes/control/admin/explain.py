"""`POST /admin/explain`: what would become of a request, asked of a worker that serves. Nothing changes by it."""

from __future__ import annotations

import re
from base64 import b64decode
from ipaddress import ip_address
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from portico.processes.control.admin.models import Page
from portico.processes.control.admin.openapi import shows
from portico.processes.control.admin.places import Places
from portico.processes.control.bound import Bound
from portico.processes.control.problems import problem
from portico.processes.control.state import State
from portico.processes.ipc import channel
from portico.snapshot.explain import located

_AT_ONCE: Final = 8
_TIMEOUT: Final = 5.0
"""Seconds that a worker has for it: more than its turn and an explanation take."""


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _address(text: str) -> str:
    return str(ip_address(text))


def _decoded(coded: bytes) -> bytes:
    return b64decode(coded, validate=True)


class ExplainRequest(BaseModel):
    """The request that is asked about. It is sent nowhere."""

    model_config = ConfigDict(extra="forbid")

    method: str = "GET"
    url: str
    """A path, or a URL with the host that clients ask."""
    headers: list[tuple[str, str]] = Field(default=[], max_length=1000)
    """Names and values, in their order."""
    body: str = ""
    body_base64: Annotated[bytes, AfterValidator(_decoded)] = b""
    """The body in base64, where it is no text."""
    client_ip: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    listener: str | None = None
    """The name or port of the listener that gets it; unless written, the one that the URL names, else the first."""
    others: Annotated[int, Field(ge=0, le=1000)] = 10
    """How many other routes are named, the nearest ones."""
    worker: str | None = None
    """Which worker is asked; unless written, any."""


class ExplanationPage(Page):
    """All that is said of one request."""

    worker: str
    """The one that was asked."""
    request: dict[str, Any]
    """As it was read."""
    outcome: str
    """`forwarded`, `answered`, `refused`, or `unknown` where that depends on what is not there."""
    route: dict[str, Any] | None
    """The route that takes it, with what it meets."""
    others: list[dict[str, Any]]
    """Those that are nearest, with what each lost by."""
    more: dict[str, int]
    """How many others there are, by what they lost by."""
    nearest: dict[str, Any] | None
    """The first of them, where no route takes it."""
    path: dict[str, Any] | None
    """What becomes of the path."""
    policies: list[dict[str, Any]]
    """What each would say, in their order."""
    cache: dict[str, Any] | None
    instance: dict[str, Any] | None
    """The one that would be chosen, and why."""
    head: str | None
    """What the service gets, up to the empty line, a character for each byte."""
    answer: dict[str, Any] | None
    """What the gateway answers itself."""
    notes: list[str]


def explain_routes(state: State, places: Places) -> APIRouter:
    """The route `/admin/explain`."""
    router = APIRouter(prefix="/admin", tags=["routes"])

    @router.post("/explain", dependencies=[Depends(Bound(_AT_ONCE))], **shows(ExplanationPage))
    async def explain(asked: ExplainRequest) -> Response:
        """Why a request takes the route that it takes, and what each policy, the balancer and the service make of it.

        It counts against no limit, changes nothing, and nobody is asked for it.
        """
        names = state.workers.names
        worker = asked.worker if asked.worker is not None else next(iter(names), None)
        if worker not in names:
            return problem(503, "no worker serves yet") if not names else problem(422, f"no worker is called {worker}")
        texts = asked.method, asked.url, asked.listener or "", *(part for pair in asked.headers for part in pair)
        if any(map(_SURROGATE.search, texts)):
            return problem(422, "half of a surrogate pair is no text, and cannot be sent")
        answers = await state.workers.ask(lambda number: _question(asked, number), _TIMEOUT, only=worker)
        answer = answers.get(worker)
        if not isinstance(answer, channel.Explained):
            return problem(503, f"worker {worker} has not answered within {_TIMEOUT:g} s; try again", _SOON)
        if answer.problem:
            return problem(503, answer.problem, _SOON) if answer.is_busy else problem(422, answer.problem)
        explanation: Any = located(msgspec.json.decode(answer.explanation), await places.where())
        document = {"generation": state.generation, "worker": worker, **explanation}
        return Response(msgspec.json.encode(document), media_type="application/json", headers=_NOT_STORED)

    return router


_SOON: Final = {"Retry-After": "1"}
_NOT_STORED: Final = {"Cache-Control": "no-store"}


def _question(asked: ExplainRequest, number: int) -> channel.Explain:
    return channel.Explain(
        number,
        asked.method,
        asked.url,
        asked.headers,
        asked.body.encode("utf-8", "surrogatepass") or asked.body_base64,
        asked.client_ip,
        asked.listener,
        asked.others,
    )
