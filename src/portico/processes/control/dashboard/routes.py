"""Routes: sortable, with their policies and when they were last used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from portico.processes.control.dashboard.forms import whole_number
from portico.processes.control.dashboard.page import Context, Page, Visit

_LIVE_AT_MOST: Final = 500
"""Routes that a page is kept fresh with: to list 10,000 each two seconds would be work for nobody."""
_PAGE: Final = 100
"""Routes on one page: a gateway may have 10,000."""
_SORTS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "name": lambda route: route["name"].lower(),
    "path": lambda route: route["path"],
    "service": lambda route: route["service"].lower(),
    "policies": lambda route: len(route["policy_names"]),
    "rate": lambda route: route["rate"] or 0.0,
    "last_hit": lambda route: route["last_hit"] or 0.0,
}
_COLUMNS: Final = (
    ("name", "Route"),
    ("path", "Path"),
    ("service", "Leads to"),
    ("policies", "Policies"),
    ("rate", "Requests/s"),
    ("last_hit", "Last hit"),
)


async def routes(visit: Visit) -> Context:
    """Those that have a text in their name, path, service or policies, in the order asked for, a page of them."""
    found = await _all(visit)
    hits = {each["name"]: each for each in visit.history.latest().get("routes", ())}
    every = [_route(each, hits.get(each["name"], {})) for each in found]
    wanted = visit.query.get("q", "").lower()
    shown = [each for each in every if wanted in each["words"]]
    sort, down = visit.query.get("sort", ""), bool(visit.query.get("down"))
    if sort in _SORTS:
        shown.sort(key=_SORTS[sort], reverse=down)
    text = visit.query.get("page", "1")
    page = min(max(1, whole_number(text) or 1), max(1, -(-len(shown) // _PAGE)))
    return {
        "routes": shown[(page - 1) * _PAGE : page * _PAGE],
        "found": len(shown),
        "all": len(every),
        "is_live": len(every) <= _LIVE_AT_MOST,
        "columns": [_column(name, label, sort, down, wanted) for name, label in _COLUMNS],
        "before": _address(sort, down, wanted, page - 1) if page > 1 else "",
        "after": _address(sort, down, wanted, page + 1) if page * _PAGE < len(shown) else "",
        "number_of_page": page,
        "since": visit.history.latest().get("since"),
    }


async def _all(visit: Visit) -> list[dict[str, Any]]:
    """The admin API gives so many at once."""
    found: list[dict[str, Any]] = []
    while True:
        page = await visit.get(f"/admin/routes?offset={len(found)}")
        found += page["routes"]
        if not page["routes"] or len(found) >= page["total"]:
            return found


def _route(route: dict[str, Any], hit: dict[str, Any]) -> dict[str, Any]:
    """With what is looked for in it, and what it is sorted by."""
    policies = [each["key"] for each in route["policies"] if not each["off"]]
    leads_to = [each["service"] + (f"@{each['version']}" if each["version"] else "") for each in route["leads_to"]]
    answer = route["answer"] or {}
    return {
        **route,
        "service": ", ".join(dict.fromkeys(leads_to)),
        "answers": f"{answer['status']} {answer.get('to') or answer.get('file') or ''}" if answer else "",
        "policy_names": policies,
        "rate": hit.get("rate"),
        "last_hit": hit.get("last_hit"),
        "words": " ".join((route["name"], route["path"], *leads_to, *policies, *route["hosts"])).lower(),
    }


def _column(name: str, label: str, sort: str, down: bool, wanted: str) -> dict[str, Any]:
    is_sorted = name == sort
    # figures are wanted from the greatest down, names from A up
    goes_down = not down if is_sorted else name in ("rate", "last_hit", "policies")
    order = ("descending" if down else "ascending") if is_sorted else ""
    return {"name": name, "label": label, "order": order, "address": _address(name, goes_down, wanted, 1)}


def _address(sort: str, down: bool, wanted: str, page: int) -> str:
    parts = {"sort": sort, "down": "1" if down else "", "q": wanted, "page": str(page) if page > 1 else ""}
    query = urlencode({name: value for name, value in parts.items() if value})
    return f"routes?{query}" if query else "routes"


ROUTES = Page("routes", "Routes", routes, samples=True)
