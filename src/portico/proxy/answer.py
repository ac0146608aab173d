"""Responses that the gateway gives itself."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.policies.head import AnswerEdit, ResponseEdit, own_lines, paged
from portico.wire.http1.grammar import WITHOUT_BODY, status_line


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
    """Send `answer` as the whole response, with the fields that policies added, as their hooks edit it."""
    handling = exchange.match.handling
    if handling is None or handling.response_hooks is None:
        send_final(exchange, answer)
    else:
        send_edited(exchange, handling.response_hooks.run(exchange, AnswerEdit(exchange, answer)))


def send_edited(exchange: Exchange, edit: ResponseEdit) -> None:
    """Send an answer of the gateway's own that response hooks have seen."""
    answer = edit.answer
    assert answer is not None
    send_final(exchange, answer, edit if edit.changed else None)


def send_final(exchange: Exchange, answer: Answer, edit: ResponseEdit | None = None) -> None:
    """Send `answer`, with the status and fields of `edit` where there is one."""
    status, lines = answer.status, None
    if edit is not None:
        status, lines = edit.status, edit.lines
    if lines is None:
        answer = paged(exchange, answer)
        lines = own_lines(exchange, answer)
    if edit is None or "Date" not in edit.headers:
        lines.append(date_line())
    lines.append(b"X-Request-ID: " + exchange.request_id.encode())
    body = answer.content(exchange.path, exchange.request_id, status)
    if status not in WITHOUT_BODY:
        lines.append(b"Content-Length: %d" % len(body))
    content = b"" if exchange.method == "HEAD" else body
    head = b"\r\n".join((status_line(status, b""), *lines))
    exchange.status = status  # only now: an answer that could not be made is none
    exchange.reason = answer.reason
    exchange.ended = now = time.monotonic()
    exchange.stream.send_whole(status, (head, b"\r\n\r\n", content), len(content), now)
