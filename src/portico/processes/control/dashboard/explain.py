"""What becomes of a request, and why: asked of the running gateway, counted by nobody."""

from __future__ import annotations

from portico.processes.control.dashboard.page import Context, Page, Visit

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
SAID = {
    "passes": ("passes", "good"),
    "forwarded": ("a service gets it", "good"),
    "answered": ("the gateway answers", "info"),
    "refused": ("refused", "bad"),
    "unknown": ("not known without asking", "warn"),
}
"""How verdicts and outcomes are said and look."""


async def explain(visit: Visit) -> Context:
    """The form; a link may bring its method and URL (`?method=GET&url=/api/orders`), and nothing secret."""
    given = {name: visit.query.get(name, "") for name in ("method", "url")}
    return {"methods": METHODS, "said": SAID, "given": given, "found": None}


async def _explain(visit: Visit) -> Context:
    form = visit.form
    headers = []
    for line in form.get("headers", "").splitlines():
        if line.strip():
            name, colon, value = line.partition(":")
            if not colon:
                return {"problem": f"A header field is NAME: VALUE, not {line.strip()!r}."}
            headers.append([name.strip(), value.strip()])
    document: dict[str, object] = {"method": form.text("method") or "GET", "url": form.text("url"), "headers": headers}
    document |= {name: form.text(name) for name in ("client_ip", "listener") if form.text(name)}
    if form.get("body"):
        document["body"] = form["body"]
    return {"found": await visit.api.post("/admin/explain", document)}


EXPLAIN = Page("explain", "Explain", explain, {"explain": _explain}, reading=frozenset({"explain"}), is_live=False)
