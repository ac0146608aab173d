"""What the admin API answers where something goes wrong: always a problem document."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from portico.processes.control.problems import problem


def answer_errors(app: FastAPI) -> None:
    """Have the application do so."""

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}", error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
        found = error.errors()[0]
        if found["loc"] == ("body",):
            return problem(422, "the body has to be a JSON object, with Content-Type: application/json")
        return problem(422, f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}")

    @app.exception_handler(ClientDisconnect)
    async def cut_off(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001 - nobody reads the answer
        return problem(400, "the body was cut off")

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:  # noqa: ARG001 - it is raised again, and logged
        return problem(500, "the admin API failed on this request: the event log has the traceback")
