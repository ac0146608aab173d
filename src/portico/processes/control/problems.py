"""The admin API's errors: problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import Response


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response that describes what went wrong, in sentences."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    media_type = "application/problem+json"
    return Response(msgspec.json.encode(document), status, headers=dict(headers or {}), media_type=media_type)
