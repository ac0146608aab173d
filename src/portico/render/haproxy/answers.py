"""Answers that HAProxy gives itself, in the shape of Portico's (RFC 9457).

The texts stand once, in `defaults`: a text costs HAProxy a buffer, and there may be many routes. What differs is in
variables: `txn.reason` and, with 503, `txn.unavailable`; `txn.wait`, `txn.challenge` and `txn.allow` become fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from portico.core.errors import PHRASES
from portico.render.haproxy.text import plain, word

_TYPE: Final = "application/problem+json"
_REASONS: Final = {
    400: "malformed_request",
    401: "%[var(txn.reason)]",
    403: "%[var(txn.reason)]",
    404: "%[var(txn.reason)]",
    405: "%[var(txn.reason)]",
    408: "request_timeout",
    413: "body_too_large",
    429: "%[var(txn.reason)]",
    500: "internal_error",
    502: "upstream_reset",
    503: "%[var(txn.unavailable)]",
    504: "upstream_timeout",
}
_REFUSED: Final = "{ var(txn.reason) -m found }"


def refusal(status: int, reason: str, condition: str, **variables: str) -> Iterator[str]:
    """The lines that refuse requests that meet a condition; `variables` are further ones, their values formats."""
    yield f"http-request set-var(txn.reason) str({reason}) if {condition}"
    for name, value in variables.items():
        yield f"http-request set-var-fmt(txn.{name}) {word(value)} if {_REFUSED}"
    yield f"http-request deny deny_status {status} if {_REFUSED}"


def always(status: int, reason: str, **variables: str) -> Iterator[str]:
    """The lines that refuse all requests."""
    yield f"http-request set-var(txn.{'unavailable' if status == 503 else 'reason'}) str({reason})"
    for name, value in variables.items():
        yield f"http-request set-var-fmt(txn.{name}) {word(value)}"
    yield f"http-request deny deny_status {status}"


def too_long(condition: str) -> str:
    """The line that answers 414, for which HAProxy has no text."""
    return _returning(414, "url_too_long", condition)


def not_implemented(condition: str) -> str:
    """The line that answers 501, for which HAProxy has no text."""
    return _returning(501, "not_implemented", condition)


def _returning(status: int, reason: str, condition: str) -> str:
    return f"http-request return status {status} content-type {_TYPE} {_body(status, reason)} if {condition}"


def error_lines() -> list[str]:
    """The texts."""
    return [
        f"http-error status {status} content-type {_TYPE} {_body(status, reason)}"
        for status, reason in _REASONS.items()
    ]


def field_lines() -> list[str]:
    """The fields of answers, from the variables."""
    fields = {"Retry-After": "wait", "WWW-Authenticate": "challenge", "Allow": "allow"}
    return [
        f"http-after-response set-header {name} %[var(txn.{variable})] if {{ var(txn.{variable}) -m found }}"
        for name, variable in fields.items()
    ]


def _body(status: int, reason: str) -> str:
    head = plain(json.dumps({"type": "about:blank", "title": PHRASES[status], "status": status}))
    return "lf-string " + word(f'{head[:-1]}, "reason": "{reason}", "request_id": "%[unique-id]"}}')
