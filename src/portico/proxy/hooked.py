"""Forwarding on a route whose policies have hooks for responses; the others pay nothing for them."""

from __future__ import annotations

from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import ResponseHead
from portico.policies.head import ResponseEdit
from portico.policies.policy import ResponseHooks
from portico.proxy.answer import send_edited, send_final
from portico.proxy.compose import response_lines
from portico.proxy.forward import Forwarding
from portico.proxy.routing.route import Handling
from portico.wire.http1.grammar import status_line

NO_NAMES: Final[frozenset[bytes]] = frozenset()
"""No field is dropped, but a response is not sent as it is for all others: see `Exchange.response_drop`."""


class _Received(ResponseEdit):
    """The response of a service."""

    exchange: Exchange
    head: ResponseHead

    def _unedited_lines(self) -> list[bytes]:
        lines: list[bytes] = self.exchange.match.handling.response_lines(self.exchange, self.head)
        return lines


_new: Final = _Received.__new__


class HookedForwarding(Forwarding):
    """One exchange with a service, whose response passes hooks once it is decided which one is forwarded."""

    __slots__ = ("received_status",)

    received_status: int
    """What the service is judged by, whatever hooks make of it; 0 before its response."""

    def start(self) -> None:
        exchange = self.exchange
        if exchange.response_drop is None:
            exchange.response_drop = NO_NAMES
        self.received_status = 0
        Forwarding.start(self)

    @property
    def hooks(self) -> ResponseHooks:
        """The hooks."""
        hooks = self.handling.response_hooks
        assert hooks is not None
        return hooks

    def as_received(self, head: ResponseHead) -> ResponseEdit:
        """The service's response, with nothing edited."""
        self.received_status = head.status
        edit = _new(_Received)  # its __init__ would take as long as a hook
        edit.exchange, edit.head, edit._status = self.exchange, head, head.status
        return edit

    def start_of(self, head: ResponseHead) -> bytes | None:
        self.received_status = head.status
        return edited_start(self.exchange, self.handling, head)

    def forward_head(self, head: ResponseHead, now: float) -> None:
        self.forward_edited(head, self.run_hooks(head), head.framing, now)

    def run_hooks(self, head: ResponseHead) -> ResponseEdit:
        """What the hooks make of the service's response, or give in its place."""
        edit = self.hooks.run(self.exchange, self.as_received(head))
        self.exchange.status = edit.status
        return edit

    def forward_edited(self, head: ResponseHead, edit: ResponseEdit, framing: int, now: float) -> None:
        """Forward the head as edited, or the answer that takes its place."""
        if edit.answer is not None:
            self.drop_connection()
            send_edited(self.exchange, edit)
            return
        self.send_head(head, edit.status, self._lines(head, edit), framing, now)

    def _lines(self, head: ResponseHead, edit: ResponseEdit) -> list[bytes]:
        return self.handling.response_lines(self.exchange, head) if edit.lines is None else edit.lines

    def answer(self, answer: Answer) -> None:
        if not self.exchange.status:
            super().answer(answer)
        elif not self.over:  # hooks have seen another response: they see one only
            send_final(self.exchange, answer)


def edited_start(exchange: Exchange, handling: Handling, head: ResponseHead) -> bytes | None:
    """7. The status line and field lines of a whole response as hooks edit it; None where they sent another."""
    hooks = handling.response_hooks
    assert hooks is not None
    received = _new(_Received)  # as in `as_received`, whose call every response would pay for
    received.exchange, received.head, received._status = exchange, head, head.status
    return start_of(exchange, handling, head, hooks.run(exchange, received))


def start_of(exchange: Exchange, handling: Handling, head: ResponseHead, edit: ResponseEdit) -> bytes | None:
    """The same, once hooks have edited it."""
    if edit.answer is not None:
        send_edited(exchange, edit)
        return None
    if edit.changed:
        exchange.status = edit.status
    elif head.passed and not exchange.response_drop and handling.response_lines is response_lines:
        added = exchange.response_lines
        return b"\r\n".join((head.passed, *added)) if added else head.passed
    lines = handling.response_lines(exchange, head) if edit.lines is None else edit.lines
    return b"\r\n".join((line_of(head, edit), *lines))


def line_of(head: ResponseHead, edit: ResponseEdit) -> bytes:
    """The status line of a service's response as hooks edited it."""
    return head.line if edit.status == head.status else status_line(edit.status, b"")
