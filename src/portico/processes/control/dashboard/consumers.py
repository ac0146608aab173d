"""Consumers and their API keys."""

from __future__ import annotations

from typing import Any

from portico.processes.control.dashboard.api import segment
from portico.processes.control.dashboard.page import Context, Done, Page, Visit

_TONES = {"active": "good", "expired": "warn", "revoked": "bad"}


async def consumers(visit: Visit) -> Context:
    """Who there is, with what they have, and every key."""
    keys, known = await visit.tried("/admin/keys"), await visit.tried("/admin/consumers")
    return {
        "consumers": known.get("consumers", []),
        "consumers_problem": known.get("problem"),
        "keys": [{**each, "tone": _TONES.get(each["state"], "warn")} for each in keys.get("keys", [])],
        "keys_problem": keys.get("problem"),
        "made": None,
    }


async def _create(visit: Visit) -> Context:
    form = visit.form
    document: dict[str, Any] = {"consumer": form.text("consumer"), "note": form.text("note"), **_life(visit)}
    return {"made": await visit.api.post("/admin/keys", document)}


async def _rotate(visit: Visit) -> Context:
    document: dict[str, Any] = _life(visit)
    if overlap := visit.form.text("overlap"):
        document["overlap"] = overlap
    return {"made": await visit.api.post(f"/admin/keys/{_id(visit)}/rotate", document)}


async def _revoke(visit: Visit) -> Done:
    answer = await visit.api.post(f"/admin/keys/{_id(visit)}/revoke")
    late = f" These workers have not confirmed it yet: {', '.join(answer['late'])}." if answer["late"] else ""
    return Done(
        f"The key {answer['key']['key']} of {answer['key']['consumer']} is revoked.{late}", is_warning=bool(late)
    )


def _id(visit: Visit) -> str:
    return segment(visit.form.text("id"))


def _life(visit: Visit) -> dict[str, Any]:
    scopes, life = visit.form.text("scopes").replace(",", " ").split(), visit.form.text("expires_in")
    return ({"scopes": scopes} if scopes else {}) | ({"expires_in": life} if life else {})


CONSUMERS = Page(
    "consumers", "Consumers and keys", consumers, {"create": _create, "rotate": _rotate, "revoke": _revoke}
)
