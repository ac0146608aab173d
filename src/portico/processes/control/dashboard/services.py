"""Services and their instances: how they are, why, and what may be done about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from portico.processes.control.dashboard.api import segment
from portico.processes.control.dashboard.forms import whole_number
from portico.processes.control.dashboard.page import Context, Done, Page, Visit

_TONES = {
    **dict.fromkeys(("active", "backup"), "good"),
    **dict.fromkeys(("slow_start", "half_open", "unreachable", "panic", "drained"), "warn"),
    **dict.fromkeys(("ejected", "down"), "bad"),
}
"""How the states of instances look."""
_MEANINGS = {
    "active": "gets its share of requests",
    "backup": "gets requests when none of the others can",
    "drained": "gets no new requests",
    "slow_start": "was admitted again, and gets less than its share for a while",
    "unreachable": "gets its share, but the last connection could not be opened",
    "panic": "its breaker is open, but so many are ejected that it is used all the same",
    "half_open": "one request may try whether it has recovered",
    "ejected": "its breaker is open",
    "down": "fails its active health checks",
}


_MOST = 100
"""Services on one page."""


async def services(visit: Visit) -> Context:
    """Every service with its instances and, where something is counted, its figures."""
    found = await visit.get("/admin/services")
    wanted = visit.query.get("q", "").lower()
    shown = [each for each in found["services"] if wanted in each["name"].lower()]
    figures = {each["name"]: each for each in visit.history.latest().get("services", ())}
    canaries = await visit.tried("/admin/canaries")
    return {
        "services": [{**each, "instances": [*map(_instance, each["instances"])]} for each in shown[:_MOST]],
        "more": max(0, len(shown) - _MOST),
        "live": figures,
        "workers": found["workers"],
        "canaries": canaries.get("canaries", []),
    }


def _instance(instance: dict[str, Any]) -> dict[str, Any]:
    """With how it looks, and why it is so."""
    state = instance.get("state") or ("down" if instance["status"] == "unhealthy" else "active")
    tone = "bad" if instance["status"] == "unhealthy" else _TONES.get(state, "warn")
    why = instance.get("error") or (_MEANINGS.get(state, "") if tone != "good" else "")
    return {**instance, "state": state, "tone": tone, "why": why, "meaning": _MEANINGS.get(state, "")}


def _instances(action: str, said: str) -> Callable[[Visit], Awaitable[Done]]:
    async def act(visit: Visit) -> Done:
        form = visit.form
        service, url = form.text("service"), form.text("url")
        document: dict[str, Any] = {"url": url}
        if action == "weight":
            text = form.text("weight")
            document["weight"] = text if (number := whole_number(text)) is None else number
        answer = await visit.api.post(f"/admin/services/{segment(service)}/instances/{action}", document)
        warnings = [answer["warning"]] if answer.get("warning") else []
        warnings += [f"{worker} has not confirmed it yet" for worker in answer.get("late", ())]
        warnings += [] if answer.get("kept", True) else ["it will not outlast a restart"]
        done = f"{url} of {service} {said.format(document.get('weight', ''))}."
        return Done(". ".join([done, *warnings]), is_warning=bool(warnings))

    return act


async def _canary(visit: Visit) -> Done:
    form = visit.form
    route, action = form.text("route"), form.text("action")
    document = {"who": visit.session.caller.name, "why": form.text("why")}
    path = f"/admin/canaries/{segment(route)}/{segment(action)}"
    answer = await visit.api.post(path, document)
    return Done(f"Canary of {route}: {action}. It is {answer['canary']['phase']} now.")


SERVICES = Page(
    "services",
    "Services",
    services,
    {
        "drain": _instances("drain", "gets no new requests; those under way end"),
        "enable": _instances("enable", "gets requests as configured again"),
        "weight": _instances("weight", "has the weight {} now"),
        "canary": _canary,
    },
    samples=True,
)
