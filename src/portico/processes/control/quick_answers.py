"""What is asked all the time of the gateway's own endpoints: `/`, `/health`, `/metrics`, answered without FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from portico.processes.control.front_page import front_page
from portico.processes.control.health_report import states_only
from portico.processes.control.state import State

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from portico.processes.control.scrapes import Scrapes

Page = tuple[bytes, str]
"""A body and its content type."""

_JSON: Final = "application/json"
_NOT_ALLOWED: Final = b'{"detail":"Method Not Allowed"}'
"""As FastAPI has it."""
_LISTENERS: Final = "/listeners/"


class QuickAnswers:
    """An ASGI application that answers at these paths itself; `others` answers everything else."""

    def __init__(self, state: State, others: ASGIApp) -> None:
        self._state = state
        self._others = others
        self._pages: dict[str, Callable[[Scope], Awaitable[Page]]] = {
            "/": self._front_page,
            "/health": self._health,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._page(scope) if scope["type"] == "http" else None
        if page is None:
            await self._others(scope, receive, send)
            return
        reads = scope["method"] in ("GET", "HEAD")
        body, content_type = await page(scope) if reads else (_NOT_ALLOWED, _JSON)
        fields = [(b"content-length", b"%d" % len(body)), (b"content-type", content_type.encode())]
        if not reads:
            fields.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": 200 if reads else 405, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _page(self, scope: Scope) -> Callable[[Scope], Awaitable[Page]] | None:
        path: str = scope["path"]
        if path.startswith(_LISTENERS) and "/" not in path[len(_LISTENERS) :]:
            return self._front_page
        return self._pages.get(path)

    async def _front_page(self, scope: Scope) -> Page:
        """Of the whole gateway, or of a listener that serves some of the routes."""
        key = scope["path"].removeprefix(_LISTENERS)
        config = self._state.config
        listeners = {listener.key: listener for listener in config.gateway.listeners}
        return msgspec.json.encode(front_page(config, listeners.get(key))), _JSON

    async def _health(self, _: Scope) -> Page:
        return msgspec.json.encode(await health_document(self._state)), _JSON

    async def _metrics(self, scope: Scope) -> Page:
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        return await self._scrapes.page(accept.decode("latin-1"))

    @cached_property
    def _scrapes(self) -> Scrapes:
        from portico.processes.control.scrapes import Scrapes  # with Prometheus's client, once somebody asks

        return Scrapes(self._state)


async def health_document(state: State) -> dict[str, Any]:
    """The gateway and every service, checked now where these are few."""
    services = await state.health.report()
    if state.config.gateway.endpoints.health.detail == "states":
        services = {name: states_only(entry) for name, entry in services.items()}
    return {"gateway": "healthy", "services": services}
