"""The admin API's errors: problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from portico.core.errors import PHRASES


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
) -> Response:
    """A response that describes what went wrong, in sentences; `more` are other members of the document."""
    document = {"type": "about:blank", "title": PHRASES[status], "status": status, "detail": detail, **(more or {})}
    media_type = "application/problem+json"
    return Response(msgspec.json.encode(document), status, headers=dict(headers or {}), media_type=media_type)
