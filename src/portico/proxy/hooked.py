"""Forwarding on a route whose policies have hooks for responses; the others pay nothing for them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import ResponseHead
from portico.policies.head import ResponseEdit
from portico.policies.policy import Return
from portico.proxy.answer import send_edited, send_final
from portico.proxy.compose import HEAD_END, edited_head, response_lines, timing_lines
from portico.proxy.forward import Forwarding
from portico.proxy.routing.route import Compose, Handling
from portico.upstreams.instance import Instance
from portico.wire.http1.grammar import status_line

_NO_NAMES: Final[frozenset[bytes]] = frozenset()


def hooked(compose: Compose) -> Compose:
    """The same composing, with what policies set and remove."""

    def hooked_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head = compose(exchange, handling, instance, upgrade)
        edits = exchange.view.upstream if exchange.view is not None else None
        if edits is None or not (edits.dropped or edits.added):
            return head
        return edited_head(head, frozenset(edits.dropped), edits.added)

    return hooked_head


class HookedForwarding(Forwarding):
    """One exchange with a service, whose response passes hooks once it is decided which one is forwarded."""

    __slots__ = ("back", "has_passed")

    back: Return
    has_passed: bool
    """Whether a response has been through the hooks: they see one only."""

    def __init__(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(exchange, handling, loop)
        assert handling.back is not None
        self.back = handling.back
        self.has_passed = False
        if exchange.response_drop is None:
            exchange.response_drop = _NO_NAMES  # no response is sent as it is for all

    def run_hooks(self, head: ResponseHead) -> ResponseEdit:
        """What the hooks make of the service's response, or give in its place."""
        self.has_passed = True
        return self.back.run(self.exchange, self.as_received(head))

    def as_received(self, head: ResponseHead) -> ResponseEdit:
        """The service's response, with nothing edited."""
        return ResponseEdit(head.status, partial(self.handling.response_lines, self.exchange, head))

    def send_back(self, head: ResponseHead, content: bytes, now: float) -> bool:
        exchange = self.exchange
        edit = self.run_hooks(head)
        if edit.answer is not None:
            send_edited(exchange, edit)
            return True
        start = head.passed
        if edit.changed or exchange.response_drop or not start or self.handling.response_lines is not response_lines:
            start = b"\r\n".join((_line_of(head, edit), *self._lines_of(head, edit)))
        elif exchange.response_lines:
            start = b"\r\n".join((start, *exchange.response_lines))
        exchange.status = edit.status
        upstream_seconds = exchange.upstream_seconds or 0.0
        timing = timing_lines(exchange, now - exchange.started - upstream_seconds, upstream_seconds)
        self.stream.send_whole(edit.status, (start, b"\r\n", timing, HEAD_END, content), head.framing, now)
        return True

    def forward_head(self, head: ResponseHead, now: float) -> None:
        self.forward_edited(head, self.run_hooks(head), head.framing, now)

    def forward_edited(self, head: ResponseHead, edit: ResponseEdit, framing: int, now: float) -> None:
        """Forward the head as edited, or the answer that takes its place."""
        exchange = self.exchange
        if edit.answer is not None:
            self.drop_connection()
            send_edited(exchange, edit)
            return
        exchange.status = edit.status
        self.send_head(head, edit.status, self._lines_of(head, edit), framing, now)

    def answer(self, answer: Answer) -> None:
        if not self.has_passed:
            self.has_passed = True
            super().answer(answer)
        elif not self.over:
            send_final(self.exchange, answer)

    def _lines_of(self, head: ResponseHead, edit: ResponseEdit) -> list[bytes]:
        return self.handling.response_lines(self.exchange, head) if edit.lines is None else edit.lines


def _line_of(head: ResponseHead, edit: ResponseEdit) -> bytes:
    return head.line if edit.status == head.status else status_line(edit.status, b"")
