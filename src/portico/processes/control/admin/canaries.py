"""Canaries over the admin API: `/admin/canaries`, and what may be done with one of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from portico.config.problems import nearest
from portico.processes.control.admin.bodies import schema_of
from portico.processes.control.admin.models import CanariesPage, CanaryPage
from portico.processes.control.admin.openapi import shows
from portico.processes.control.bound import Bound
from portico.processes.control.canaries import Canaries, Canary, UnavailableError, advice
from portico.processes.control.canary import ACTIONS, RefusedError
from portico.processes.control.canary_counts import Counts
from portico.processes.control.problems import problem
from portico.processes.control.state import State

_BODY_LIMIT: Final = 4096
_AT_ONCE: Final = 64
_LONGEST: Final = 200
"""Characters of a name or a reason in a history."""
_ADMIN: Final = "admin API"
"""Who asks that does not say so."""


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Who asks for something, and why: both are in the history."""

    who: str = _ADMIN
    why: str = ""


def canary_routes(state: State) -> APIRouter:
    """The routes below `/admin/canaries`."""
    router = APIRouter(prefix="/admin/canaries", tags=["canaries"], dependencies=[Depends(Bound(_AT_ONCE))])

    @router.get("", **shows(CanariesPage))
    async def canaries() -> dict[str, Any]:
        """All of them. `shared` says whether all gateways decide together; null where there is no Redis for that."""
        shown = [canary_document(canary) for canary in state.canaries]
        return {"generation": state.generation, "shared": state.canaries.up, "canaries": shown}

    @router.post("/{route}/{action}", **shows(CanaryPage), openapi_extra=schema_of(_Asked, required=False))
    async def command(route: str, action: str, request: Request) -> dict[str, Any] | Response:
        """Do it, and show what came of it."""
        if action not in ACTIONS:
            return problem(404, f"there is no {action}: expected one of {', '.join(ACTIONS)}")
        if state.canaries.get(route) is None:
            return problem(404, _unknown(route, state.canaries))
        try:
            asked = await _asked(request)
            canary = await state.canaries.command(route, action, asked.who, asked.why)
        except ValueError as error:
            return problem(422, str(error))
        except KeyError:  # a reload came between
            return problem(404, _unknown(route, state.canaries))
        except RefusedError as error:
            return problem(409, f"the canary of {route} cannot {action}: {error}")
        except UnavailableError as error:
            return problem(503, str(error), {"Retry-After": "1"})
        return {"generation": state.generation, "canary": canary_document(canary)}

    return router


def _unknown(route: str, canaries: Canaries) -> str:
    names = [canary.route for canary in canaries]
    close = nearest(route, names)
    return f"the route {route} has no canary" + (f"; did you mean {close}?" if close else "")


async def _asked(request: Request) -> _Asked:
    """The body, which may be empty. Raises ValueError."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _BODY_LIMIT:
            raise ValueError(f"a command has {_BODY_LIMIT} bytes at most")
    asked = msgspec.json.decode(content, type=_Asked) if content else _Asked()
    return _Asked(asked.who[:_LONGEST] or _ADMIN, asked.why[:_LONGEST])


def canary_document(canary: Canary) -> dict[str, Any]:
    """One canary: where it is, what it waits for, what was counted of its step, and what happened before."""
    decision, settings = canary.decision, canary.settings
    return {
        "route": canary.route,
        "service": decision.service,
        "to": decision.to,
        "phase": decision.phase,
        "share": decision.share,
        "step": decision.step + 1,
        "steps": list(decision.steps),
        "every": settings.every,
        "elapsed": round(decision.elapsed, 1),
        "waits_for": canary.waits_for,
        "advice": advice(decision),
        "counted": {
            decision.service: _counted(canary.of_all.old),
            decision.to: _counted(canary.of_all.new),
        },
        "history": [msgspec.structs.asdict(entry) for entry in decision.history],
    }


def _counted(counts: Counts) -> dict[str, Any]:
    """What one side's requests of this step came to; `p99` is in seconds."""
    p99 = round(counts.quantile(0.99), 4) if counts.measured else None
    return {"requests": counts.requests, "errors": counts.errors, "p99": p99}
