"""Answers that HAProxy gives itself, in the shape of Portico's (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from portico.render.haproxy.text import plain, word

_TITLES: Final = {413: "Content Too Large", 414: "URI Too Long"}
_OWN: Final = {
    400: "malformed_request",
    408: "request_timeout",
    500: "internal_error",
    502: "upstream_failed",
    503: "no_healthy_upstream",
    504: "upstream_timeout",
}
"""What HAProxy answers by itself, with our word for it."""


def problem(status: int, reason: str, *fields: tuple[str, str]) -> str:
    """The action that refuses a request; `fields` are further ones, their values formats."""
    lines = "".join(f" hdr {name} {word(value)}" for name, value in fields)
    return f"http-request return status {status} content-type application/problem+json{lines} {_body(status, reason)}"


def error_lines() -> list[str]:
    """What stands in place of HAProxy's own pages."""
    return [
        f"http-error status {status} content-type application/problem+json {_body(status, reason)}"
        for status, reason in _OWN.items()
    ]


def _body(status: int, reason: str) -> str:
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    text = json.dumps({"type": "about:blank", "title": title, "status": status, "reason": reason})
    return "lf-string " + word(plain(text[:-1]) + ', "request_id": "%[unique-id]"}')
