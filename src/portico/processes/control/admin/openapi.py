"""The admin API described: its OpenAPI document at `/admin/openapi.json`, and Swagger UI at `/admin/docs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from portico import __version__
from portico.processes.control.admin.models import Problem
from portico.processes.control.openapi.swagger import FIELDS, swagger_files, swagger_page

_READS: Final = ["GET", "HEAD"]
_DESCRIPTION: Final = """\
What a running gateway is, and what may be done about it. Errors are problem documents (RFC 9457).

Where `gateway.admin_token` or `gateway.admin_tokens` is set, every request needs `Authorization: Bearer` and a token;
one with `access: read` may send GET and HEAD, and POST to questions that change nothing. Without one, programs on the
gateway's machine may do everything. `X-Portico-User` says for whom a program acts, in the audit log.
"""
_WRONG: Final = "What went wrong, and what to do about it."
_PROBLEMS: Final = "application/problem+json"
_PROBLEM: Final = {
    "description": _WRONG,
    "content": {_PROBLEMS: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_NO_PROBLEMS: Final[Mapping[int, type[BaseModel]]] = {}
_EVENT_STREAM: Final = "text/event-stream"


def shows(
    model: type[BaseModel],
    *also: int,
    description: str = "",
    stream: str = "",
    problems: Mapping[int, type[BaseModel]] = _NO_PROBLEMS,
) -> dict[str, Any]:
    """Arguments of an endpoint that answers with this document, also with these further statuses.

    `stream` says what comes as an event stream in place of it; `problems` are those with more than others have.
    """
    answer = {"model": model, **({"description": description} if description else {})}
    if stream:
        answer["content"] = {_EVENT_STREAM: {"schema": {"type": "string", "description": stream}}}
    refusals = {status: {"model": each, "description": _WRONG} for status, each in problems.items()}
    return {"response_model": None, "responses": {**dict.fromkeys((200, *also), answer), **refusals}}


def name_of(route: APIRoute) -> str:
    """What an operation is called: the name of its function, behind what it is about."""
    name = route.name.replace("_", "-")
    about = str(route.tags[0]) if route.tags else ""
    return name if not about or name.startswith(about) else f"{about}-{name}"


def add_documentation(app: FastAPI) -> None:
    """Have the application describe itself. What it shows is the same for every gateway of this release."""

    @app.api_route("/admin/openapi.json", methods=_READS, include_in_schema=False)
    async def document() -> Response:
        """The OpenAPI document of the admin API."""
        app.openapi_schema = app.openapi_schema or _document(app)
        return JSONResponse(app.openapi_schema, headers={**FIELDS, "Cache-Control": "no-cache"})

    @app.api_route("/admin/docs", methods=_READS, include_in_schema=False)
    async def page() -> Response:
        """Swagger UI."""
        return swagger_page("Portico admin API")

    app.include_router(swagger_files("/admin/docs"))


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Portico admin API", version=__version__, description=_DESCRIPTION, routes=app.routes, tags=_TAGS
    )
    document["servers"] = [{"url": "..", "description": "This gateway, also behind a prefix."}]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}, {}]
    for path in document["paths"].values():
        for operation in path.values():
            _describe_problems(operation["responses"])
    return document


def _describe_problems(responses: dict[str, Any]) -> None:
    """All errors are problem documents, also where FastAPI says otherwise."""
    for status in [status for status in responses if status >= "4"]:
        content = responses[status].get("content", {})
        schema = content.pop("application/json", {"schema": {}})["schema"]
        if schema.get("$ref", "").endswith("/HTTPValidationError"):
            del responses[status]
        else:
            content[_PROBLEMS] = {"schema": schema}
    responses["default"] = _PROBLEM


_TAGS: Final = [
    {"name": "gateway", "description": "The gateway itself."},
    {"name": "configuration", "description": "What is in force, what another document would change, and its history."},
    {"name": "services", "description": "Services, and what may be done with their instances."},
    {"name": "routes", "description": "Routes with their policies, and what becomes of a request."},
    {"name": "limits", "description": "Rate limits and quotas, and what is left of them."},
    {"name": "consumers", "description": "Who may sign in, or hold a key."},
    {"name": "registry", "description": "Instances that register."},
    {"name": "cache", "description": "What is stored of responses."},
    {"name": "certificates", "description": "What the gateway presents, and until when."},
    {"name": "canaries", "description": "Versions that get a growing share of requests."},
    {"name": "tokens", "description": "Tokens that the gateway issues."},
    {"name": "keys", "description": "API keys."},
    {"name": "live", "description": "What happens now."},
    {"name": "audit", "description": "Who changed what."},
]
