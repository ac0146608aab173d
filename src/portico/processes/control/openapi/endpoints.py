"""`/openapi.json` and `/docs`: the merged document, and Swagger UI for it, whose files are all here."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_oauth2_redirect_html
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from portico.config import ListenerSettings
from portico.processes.control.openapi.merging import WHOLE
from portico.processes.control.openapi.swagger import FIELDS, swagger_files, swagger_page
from portico.processes.control.state import State

_READS: Final = ["GET", "HEAD"]
_MOST_HOSTS: Final = 50


def documentation(state: State) -> APIRouter:
    """The endpoints: which of them a gateway's port has is decided by its workers' routes."""
    app = APIRouter()

    @app.api_route("/openapi.json", methods=_READS)
    async def document(request: Request) -> Response:
        """The documents of all services in one."""
        return await _document(state, request, WHOLE)

    @app.api_route("/listeners/{key}/openapi.json", methods=_READS)
    async def document_of_listener(request: Request, key: str) -> Response:
        """The same of a listener that serves some of the routes."""
        return await _document(state, request, _listener(state, key))

    @app.api_route("/docs", methods=_READS)
    async def page() -> Response:
        """Swagger UI. All addresses in it are relative, for gateways behind a prefix."""
        return _page(state, WHOLE)

    @app.api_route("/listeners/{key}/docs", methods=_READS)
    async def page_of_listener(key: str) -> Response:
        """The same of a listener that serves some of the routes, whose hosts alone it names."""
        return _page(state, _listener(state, key))

    @app.api_route("/docs/oauth2-redirect.html", methods=_READS)
    async def redirected() -> Response:
        """Where the pages of an issuer of tokens come back to."""
        text, policy = _redirect_page()
        return HTMLResponse(text, headers={**FIELDS, "Content-Security-Policy": policy})

    app.include_router(swagger_files("/docs"))
    return app


def _listener(state: State, key: str) -> ListenerSettings:
    listeners = {listener.key: listener for listener in state.config.gateway.listeners}
    if key not in listeners:
        raise HTTPException(404)
    return listeners[key]


def _page(state: State, listener: ListenerSettings) -> Response:
    _check_is_on(state)
    return swagger_page(state.config.gateway.title, _origins(state, listener))


async def _document(state: State, request: Request, listener: ListenerSettings) -> Response:
    _check_is_on(state)
    try:
        page = await state.documents.page(listener)
    except TimeoutError:
        raise HTTPException(503, "the documents are not merged yet", {"Retry-After": "1"}) from None
    except LookupError:
        raise HTTPException(404) from None
    fields = {**FIELDS, "ETag": page.etag, "Cache-Control": "no-cache"}
    asked = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    if page.etag in asked or "*" in asked:
        return Response(status_code=304, headers=fields)
    return Response(page.body, media_type="application/json", headers=fields)


def _check_is_on(state: State) -> None:
    if state.config.gateway.endpoints.docs == "off":
        raise HTTPException(404, "gateway.endpoints.docs is off")


def _origins(state: State, listener: ListenerSettings) -> list[str]:
    """Where the page may send requests: to where it is from, and to the hosts of the listener's routes."""
    hosts = dict.fromkeys(host for route in state.config.served_by(listener) for host in route.hosts)
    return ["'self'", *list(hosts)[:_MOST_HOSTS]]


@cache
def _redirect_page() -> tuple[str, str]:
    """FastAPI's page, whose script is in it, and the policy that admits just that."""
    text = bytes(get_swagger_ui_oauth2_redirect_html().body).decode()
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    ]
    return text, f"default-src 'none'; script-src {' '.join(hashes)}; base-uri 'none'; frame-ancestors 'none'"
