"""Limits: what they refuse, what is left of the keys that use most, and making one whole again."""

from __future__ import annotations

from portico.processes.control.dashboard.page import Context, Done, Page, Visit


async def limits(visit: Visit) -> Context:
    """Every limit with its fullest keys; with `?id=` and `?key=` one key of one limit."""
    only, key = visit.query.get("id", ""), visit.query.get("key", "")
    wanted = {name: value for name, value in (("limit", only), ("key", key)) if value}
    found = await visit.api.get("/admin/limits", wanted)
    return {"limits": found["limits"], "late": found["late"], "trouble": found.get("problem"), "only": only, "key": key}


async def _reset(visit: Visit) -> Done:
    limit, key = visit.form.text("limit"), visit.form.get("key", "")
    answer = await visit.api.send("DELETE", "/admin/limits", query={"limit": limit, "key": key})
    late = f" These workers have not confirmed it yet: {', '.join(answer['late'])}." if answer["late"] else ""
    return Done(f"{key or 'The key without a name'} of {limit} is whole again.{late}", is_warning=bool(late))


LIMITS = Page("limits", "Limits", limits, {"reset": _reset})
