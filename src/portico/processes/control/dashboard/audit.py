"""Who changed what, and who was refused."""

from __future__ import annotations

from portico.processes.control.dashboard.page import Context, Page, Visit


async def audit(visit: Visit) -> Context:
    """The newest entries of the audit log."""
    return {"entries": (await visit.get("/admin/audit"))["entries"]}


AUDIT = Page("audit", "Audit log", audit)
