"""Bodies of requests to the admin API: read, bounded, checked, and described in its OpenAPI document."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT: Final = 64 << 10
"""Bytes of a command."""

LARGEST: Final = 32 << 20
"""Bytes of any body, before anybody reads it: a request with the largest configuration as JSON has fewer."""


class Bounded:
    """Has `app` fail with 413 at a body of more than `LARGEST` bytes, also where a framework reads it as a whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST:
                raise HTTPException(413, f"a body has {LARGEST >> 20} MiB at most")
            return message

        await self._app(scope, bounded, send)


class Asked(BaseModel):
    """What a client wants; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


T = TypeVar("T", bound=Asked)


async def read_body(request: Request, limit: int = LIMIT) -> bytes:
    """The body, whatever it says that it is. Raises ValueError where it is larger than `limit` bytes."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > limit:
            raise ValueError(f"a command has {limit} bytes at most")
    return content


async def asked(request: Request, kind: type[T], limit: int = LIMIT) -> T:
    """The body, which may be empty where nothing has to be said. Raises ValueError, which says what is wrong."""
    content = await read_body(request, limit)
    try:
        return kind.model_validate_json(content or b"{}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, found["loc"]))
        raise ValueError(f"{path}: {found['msg']}" if path else found["msg"]) from None


def body_of(kind: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The same for the OpenAPI document: what FastAPI takes as `openapi_extra`."""
    return _described(kind.model_json_schema(), required=required)


def schema_of(kind: type[msgspec.Struct], *, required: bool = True) -> dict[str, Any]:
    """The same of a struct that refers to no other."""
    (schema,), components = msgspec.json.schema_components([kind])
    return _described(components[schema["$ref"].rpartition("/")[2]], required=required)


def _described(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
