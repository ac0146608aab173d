"""Every request that may change something goes into the audit log, refused ones too; and how the log is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portico.processes.control.admin.guard import writes
from portico.processes.control.admin.models import Page, Shown
from portico.processes.control.audit import KEEP, Audit
from portico.processes.control.state import State


class Audited:
    """Notes what `app`, the guarded admin API, answers to requests that write."""

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not writes(scope):
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._audit.answered(scope, status)


class AuditEntryModel(Shown):
    """A request that could change something, or several that were refused one after the other."""

    at: float
    """When it came, in seconds since the epoch."""
    until: float
    """When the last of them came."""
    times: int
    """How many they are."""
    caller: str
    """The name of the token that was shown; `admin` for `gateway.admin_token`, `local` where none is demanded, empty
    for who had none."""
    user: str
    """Who the client said that it acts for (`X-Portico-User`)."""
    client_ip: str
    """From where."""
    action: str
    """What was asked for: a word, or the method."""
    what: str
    """Of what: a name, or the path."""
    status: int
    """What it was answered with."""
    result: str
    """`done`, `refused`, `failed`, or more in words."""


class AuditPage(Page):
    """Entries of the audit log, the newest first."""

    entries: list[AuditEntryModel]


def audit_routes(state: State) -> APIRouter:
    """`/admin/audit`."""
    router = APIRouter(tags=["audit"])

    @router.get("/admin/audit")
    async def audit(
        limit: Annotated[int, Query(ge=1, le=KEEP)] = 100, caller: str | None = None, action: str | None = None
    ) -> AuditPage:
        """Who changed what, and who was not let to: the newest first."""
        found = (
            entry for entry in state.audit.newest() if caller in (None, entry.caller) and action in (None, entry.action)
        )
        shown = [entry for entry, _ in zip(found, range(limit), strict=False)]
        entries = [AuditEntryModel.model_validate(entry, from_attributes=True) for entry in shown]
        return AuditPage(generation=state.generation, entries=entries)

    return router
