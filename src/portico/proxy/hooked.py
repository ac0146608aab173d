"""Forwarding on a route whose policies have hooks for responses and bodies; the others pay nothing for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange, Sink
from portico.core.messages import CHUNKED, TUNNEL, ResponseHead
from portico.policies.head import RequestView, ResponseEdit
from portico.policies.plugins.view import view_of
from portico.policies.policy import BodyFilter, HookFailedError, Return
from portico.proxy.answer import send_edited, send_final
from portico.proxy.compose import HEAD_END, edited_head, timing_lines
from portico.proxy.forward import Forwarding
from portico.proxy.routing.route import Compose, Handling
from portico.upstreams.instance import Instance
from portico.wire.http1.grammar import status_line

_NO_NAMES: Final[frozenset[bytes]] = frozenset()
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_OF_BYTES: Final = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
"""Fields about the exact bytes of a body: they are not true of a filtered one."""
_OF_FILTERED: Final = _OF_BYTES | {b"content-length", b"accept-ranges"}
"""Fields of a response that a filtered body makes untrue."""
_RANGES: Final = frozenset({b"range", b"if-range"})
_PARTIAL: Final = 206
_NOT_MODIFIED: Final = 304
_WITHOUT_BODY: Final = (204, 205)


def hooked(compose: Compose) -> Compose:
    """The same composing, with what hooks set and remove."""

    def hooked_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head = compose(exchange, handling, instance, upgrade)
        edits = exchange.view.upstream if exchange.view is not None else None
        return head if edits is None else edited_head(head, frozenset(edits.dropped), edits.added)

    return hooked_head


def feed(filters: Sequence[BodyFilter], data: bytes) -> bytes:
    """Pass a piece of a body through filters in their order. Raises HookFailedError."""
    for each in filters:
        if data:
            data = each.feed(data)
    return data


def end(filters: Sequence[BodyFilter]) -> bytes:
    """What filters have left at the end of a body. Raises HookFailedError."""
    rest = b""
    for each in filters:
        rest = (each.feed(rest) if rest else b"") + each.end()
    return rest


class HookedForwarding(Forwarding):
    """One exchange with a service, whose response passes hooks once it is decided which one is forwarded.

    Filtered bodies are chunked, unless they are there as a whole: their length is known at their end only.
    """

    __slots__ = ("back", "filters", "has_passed", "request_filters")

    back: Return
    filters: Sequence[BodyFilter]
    """What the response's body passes."""
    request_filters: Sequence[BodyFilter]
    has_passed: bool
    """Whether a response has been through the hooks: they see one only."""

    def start(self) -> None:
        assert self.handling.back is not None
        self.back = back = self.handling.back
        self.filters = self.request_filters = ()
        self.has_passed = False
        if self.exchange.response_drop is None:
            self.exchange.response_drop = _NO_NAMES  # no response is sent as it is for all
        if back.bodies and self.framing != 0 and not self.upgrade:
            self.stream.receiver = self
            try:
                self._filter_request()
            except HookFailedError as error:
                self.answer(error.answer)
                return
        super().start()

    # ---- to the service

    def _filter_request(self) -> None:
        """Find the filters of the request's body, and pass through them what is there already."""
        edits = view_of(self.exchange).upstream_headers
        head = RequestView(edits)
        found = [hook(self.exchange, head) for hook in reversed(self.back.bodies)]
        self.request_filters = filters = [each for each in found if each is not None]
        if not filters:
            return
        edits.dropped |= _OF_BYTES | _FRAMING | _RANGES  # a request with a body is not sent again without its range
        if self.body_done:
            content = feed(filters, b"".join(self.kept)) + end(filters)
            self.exchange.content = content
            self.kept = [content] if content else []
            self.kept_size = self.framing = len(content)
            edits.added.append(b"Content-Length: %d" % len(content))
        else:
            self.framing = CHUNKED
            edits.added.append(b"Transfer-Encoding: chunked")

    def body_received(self, data: bytes) -> None:
        if self.request_filters:
            try:
                data = feed(self.request_filters, data)
            except HookFailedError as error:
                self._fail(error.answer)
                return
        if data:
            super().body_received(data)

    def body_ended(self) -> None:
        if self.request_filters:
            try:
                rest = end(self.request_filters)
            except HookFailedError as error:
                self._fail(error.answer)
                return
            if rest:
                super().body_received(rest)
        super().body_ended()

    # ---- to the client

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        return not self.back.bodies and super().response_whole(head, content, now)

    def send_back(self, head: ResponseHead, content: bytes, now: float) -> bool:
        exchange = self.exchange
        edit = self._run_hooks(head)
        if edit.answer is not None:
            send_edited(exchange, edit)
            return True
        start = head.passed
        if edit.changed or exchange.response_drop or not start:
            line = head.line if edit.status == head.status else status_line(edit.status, b"")
            start = b"\r\n".join((line, *(edit.lines or self.handling.response_lines(exchange, head))))
        elif exchange.response_lines:
            start = b"\r\n".join((start, *exchange.response_lines))
        exchange.status = edit.status
        upstream_seconds = exchange.upstream_seconds or 0.0
        timing = timing_lines(exchange, now - exchange.started - upstream_seconds, upstream_seconds)
        self.stream.send_whole(edit.status, (start, b"\r\n", timing, HEAD_END, content), head.framing, now)
        return True

    def forward_head(self, head: ResponseHead, now: float) -> None:
        exchange, bodies = self.exchange, self.back.bodies
        try:
            if bodies and head.status == _PARTIAL and self._filters_of(ResponseEdit(*self._as_received(head))):
                self._ask_for_whole()
                return
            edit = self._run_hooks(head)
            framing = head.framing
            if bodies and edit.answer is None:
                framing = self._filter_response(edit, framing)
        except HookFailedError as error:
            edit = ResponseEdit.of(error.answer)
        if edit.answer is not None:
            self.drop_connection()
            send_edited(exchange, edit)
            return
        exchange.status = edit.status
        self.send_head(head, edit.status, edit.lines or self.handling.response_lines(exchange, head), framing, now)

    def _run_hooks(self, head: ResponseHead) -> ResponseEdit:
        self.has_passed = True
        return self.back.run(self.exchange, ResponseEdit(*self._as_received(head)))

    def _as_received(self, head: ResponseHead) -> tuple[int, Callable[[], list[bytes]]]:
        return head.status, partial(self.handling.response_lines, self.exchange, head)

    def _filters_of(self, edit: ResponseEdit) -> list[BodyFilter]:
        found = [hook(self.exchange, edit) for hook in self.back.bodies]
        return [each for each in found if each is not None]

    def _filter_response(self, edit: ResponseEdit, framing: int) -> int:
        """Find the filters of the response's body; how it is framed then. What they make untrue is not said."""
        if framing == TUNNEL or edit.status in _WITHOUT_BODY or edit.status == _PARTIAL:
            return framing
        if edit.status == _NOT_MODIFIED:
            edit.weaken_tag()
            return framing
        filters = self._filters_of(edit)
        if not filters:
            return framing
        edit.drop(_OF_FILTERED)
        edit.weaken_tag()
        if self.request.method == b"HEAD":
            return framing
        self.filters = filters
        return CHUNKED

    def _ask_for_whole(self) -> None:
        """A part cannot be filtered: ask the same instance again, for the whole."""
        instance, edits = self.instance, view_of(self.exchange).upstream_headers
        assert instance is not None
        self.drop_connection()
        self.answered = False
        if edits.dropped >= _RANGES:
            self._refuse("upstream_malformed", f"{self.service.name} sent a part of what was asked for as a whole")
        else:
            edits.dropped |= _RANGES
            self.connect(instance, only_once=False)

    def response_body(self, data: bytes) -> None:
        if self.filters:
            try:
                data = feed(self.filters, data)
            except HookFailedError as error:
                self._fail(error.answer)
                return
            if not data:
                return
        self.stream.send_body(data)

    def response_sink(self) -> Sink | None:
        return None if self.filters else super().response_sink()

    def response_ended(self) -> None:
        if self.filters:
            try:
                rest = end(self.filters)
            except HookFailedError as error:
                self._fail(error.answer)
                return
            if rest:
                self.stream.send_body(rest)
        super().response_ended()

    # ---- ends

    def answer(self, answer: Answer) -> None:
        if not self.has_passed:
            super().answer(answer)
        elif not self.over:
            send_final(self.exchange, answer)

    def _fail(self, answer: Answer) -> None:
        """A filter failed: with what it has let through, the body cannot be completed."""
        self.drop()
        if self.answered:
            self.break_off(answer)
        else:
            self.answer(answer)
