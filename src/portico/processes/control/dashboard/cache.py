"""The cache: what is stored, how often it answers, and how to get rid of something."""

from __future__ import annotations

from portico.processes.control.dashboard.page import Context, Done, Page, Visit

_KINDS = ("url", "prefix", "tag", "group", "service", "all")


async def cache(visit: Visit) -> Context:
    """Figures of all workers, and of each service."""
    found = await visit.get("/admin/cache/stats")
    return {"cache": found, "kinds": _KINDS, "shown": None}


async def _show(visit: Visit) -> Context:
    lines = [line for line in visit.form.text("headers").splitlines() if line.strip()]
    query = {"url": visit.form.text("url"), "method": visit.form.text("method") or "GET", "header": lines}
    return {"shown": await visit.api.get("/admin/cache/show", query)}


async def _purge(visit: Visit) -> Done:
    form = visit.form
    kind, value = form.text("kind"), form.text("value")
    document = {kind: True if kind == "all" else value, "soft": "soft" in form}
    if form.text("origin"):
        document["origin"] = form.text("origin")
    answer = await visit.api.post("/admin/cache/purge", document)
    late = f" These have not confirmed it yet: {', '.join(answer['late'])}." if answer["late"] else ""
    what = "everything" if kind == "all" else f"{kind} {value}"
    return Done(f"Purged {what}: {answer['entries']} stored responses in memory.{late}", is_warning=bool(late))


CACHE = Page("cache", "Cache", cache, {"show": _show, "purge": _purge}, reading=frozenset({"show"}))
