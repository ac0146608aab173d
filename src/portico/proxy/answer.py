"""Responses that the gateway gives itself."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final

from portico.core.errors import STATUS_LINES, Answer, Refusal
from portico.core.exchange import Exchange

_PROBLEM: Final = b"Content-Type: application/problem+json"


class _DateLine:
    """The `Date` field line, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"Date: " + formatdate(second, usegmt=True).encode()
        return self._line


date_line: Final = _DateLine()


def send_answer(exchange: Exchange, answer: Answer) -> None:
    """Send `answer` as the exchange's whole response, with the fields that policies added."""
    body = answer.body
    lines = [*answer.lines, *exchange.response_lines, date_line(), b"X-Request-ID: " + exchange.request_id.encode()]
    if isinstance(answer, Refusal):
        body = answer.document(exchange.path, exchange.request_id)
        lines.append(_PROBLEM)
        lines.append(b"Cache-Control: no-store")
    if answer.status != 204:
        lines.append(b"Content-Length: %d" % len(body))
    content = b"" if exchange.method == "HEAD" else body
    head = b"\r\n".join((STATUS_LINES[answer.status], *lines))
    exchange.status = answer.status  # only now: an answer that could not be made is none
    exchange.reason = answer.reason
    exchange.ended = now = time.monotonic()
    exchange.stream.send_whole(answer.status, (head, b"\r\n\r\n", content), len(content), now)
