"""Forwarding on a route whose policies have hooks for bodies: what filters do to messages, beside their bodies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Sink
from portico.core.messages import CHUNKED, TUNNEL, ResponseHead
from portico.policies.head import WITHOUT_CONTENT, Head, RequestView, ResponseEdit
from portico.policies.plugins.view import view_of
from portico.policies.policy import BodyFilter, BodyHook, HookFailedError
from portico.proxy.compose import HEAD_END, timing_lines
from portico.proxy.hooked import HookedForwarding, line_of, start_of

_OF_BYTES: Final = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
"""Fields about the exact bytes of a body: they are not true of a filtered one."""
_OF_FILTERED: Final = _OF_BYTES | {b"content-length", b"accept-ranges"}
"""Fields of a response that a filtered body makes untrue."""
_RANGES: Final = frozenset({b"range", b"if-range"})
_READS: Final = (b"GET", b"HEAD")
_PARTIAL: Final = 206
_NOT_MODIFIED: Final = 304


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


class FilteredForwarding(HookedForwarding):
    """One exchange with a service, whose bodies may pass filters.

    Filtered bodies are chunked, unless they are there as a whole: their length is known at their end only.
    """

    content = b""
    """All of a response's body, where that came at once."""
    held: tuple[ResponseHead, ResponseEdit] | None = None
    """The response's head, while a filter that may still edit it has let nothing through."""

    filters: Sequence[BodyFilter] = ()
    """What the response's body passes."""
    request_filters: Sequence[BodyFilter] = ()

    def start(self) -> None:
        if self.framing or self.request.method not in _READS:
            self.stream.receiver = self
            if b"range" in self.request.fields.names:  # only of what is read there are parts (RFC 9110, section 14.2)
                view_of(self.exchange).upstream_headers.drop(_RANGES)
            try:
                if self.framing:
                    self._filter_request()
            except HookFailedError as error:
                self.answer(error.answer)
                return
        super().start()

    def _found(self, hooks: Sequence[BodyHook], head: Head) -> list[BodyFilter]:
        """The filters that hooks want for a body. Raises HookFailedError."""
        found = [hook(self.exchange, head) for hook in hooks]
        return [each for each in found if each is not None]

    def _drop_trailers(self) -> None:
        """No trailer field speaks of the bytes of a filtered body."""
        if not self.handling.trailers.isdisjoint(_OF_BYTES):
            self.handling = replace(self.handling, trailers=self.handling.trailers - _OF_BYTES)

    # ---- to the service

    def _filter_request(self) -> None:
        """Find the filters of the request's body, and pass through them what is there already."""
        edits = view_of(self.exchange).upstream_headers
        self.request_filters = filters = self._found(self.hooks.bodies[::-1], RequestView(edits))
        if not filters:
            return
        edits.drop(_OF_BYTES)
        self._drop_trailers()
        if self.body_done:
            content = feed(filters, b"".join(self.kept)) + end(filters)
            self.exchange.content = content
            self.kept = [content] if content else []
            self.kept_size = self.framing = len(content)
            edits.frame(b"Content-Length: %d" % len(content))
        else:
            self.framing = CHUNKED
            edits.frame(b"Transfer-Encoding: chunked")

    def body_received(self, data: bytes) -> None:
        if self.over:
            return
        if self.request_filters:
            try:
                data = feed(self.request_filters, data)
            except HookFailedError as error:
                self._fail(error.answer)
                return
        if data:
            super().body_received(data)

    def body_ended(self) -> None:
        if self.over:
            return
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
        """7. All of it at once, through its filters. A part may have to be asked for again: step by step."""
        if head.status == _PARTIAL:
            return False
        self.content = content
        return super().response_whole(head, content, now)

    def start_of(self, head: ResponseHead) -> bytes | None:
        """7. The same as elsewhere where no filter wants the body; else send what they make of all of it."""
        self.received_status = head.status
        try:
            edit = self.run_hooks(head)
            filters = [] if edit.answer is not None else self._filters_of(edit, head)
            if not filters or self.request.method == b"HEAD":
                self._describe(edit, filters)
                return start_of(self.exchange, self.handling, head, edit)
            content = feed(filters, self.content) + end(filters)
        except HookFailedError as error:
            self._fail(error.answer)
            return None
        lines, framing = self._lines_of_whole(head, edit, filters, content)
        exchange = self.exchange
        assert exchange.upstream_seconds is not None
        timing = timing_lines(exchange, exchange.ended - exchange.started - exchange.upstream_seconds)
        start = b"\r\n".join((line_of(head, edit), *lines, timing))
        self.stream.send_whole(edit.status, (start, HEAD_END, content), framing, exchange.ended)
        return None

    def forward_head(self, head: ResponseHead, now: float) -> None:
        framing = head.framing
        try:
            if head.status == _PARTIAL and self._found(self.hooks.bodies, self.as_received(head)):
                self._ask_for_whole()
                return
            edit = self.run_hooks(head)
            if edit.answer is None and framing != TUNNEL:
                filters = self._filters_of(edit, head)
                if self.request.method != b"HEAD":
                    self.filters = filters
                    if any(getattr(each, "holds_head", False) for each in filters):
                        self.held = head, edit
                        return
                if self._describe(edit, filters) and self.filters:
                    framing = CHUNKED
        except HookFailedError as error:
            self._fail(error.answer)
            return
        self.forward_edited(head, edit, framing, now)

    def _filters_of(self, edit: ResponseEdit, head: ResponseHead) -> list[BodyFilter]:
        """The filters of a response's body, if it has one and that is whole. Raises HookFailedError."""
        if head.status == _NOT_MODIFIED:  # it says what a 200 would have said (RFC 9110, section 15.4.5)
            edit.drop(_OF_FILTERED)
            edit.weaken_tag()
        if head.status in WITHOUT_CONTENT or head.status == _PARTIAL:
            return []
        return self._found(self.hooks.bodies, edit)

    def _describe(self, edit: ResponseEdit, filters: Sequence[BodyFilter]) -> bool:
        """Leave out of the head what filters make untrue; whether they do."""
        if not any(getattr(each, "changed", True) for each in filters):
            return False
        edit.drop(_OF_FILTERED)
        edit.weaken_tag()
        self._drop_trailers()
        return True

    def _lines_of_whole(
        self, head: ResponseHead, edit: ResponseEdit, filters: Sequence[BodyFilter], content: bytes
    ) -> tuple[list[bytes], int]:
        """The field lines of a response whose filtered body is there, and how that is framed."""
        if not self._describe(edit, filters):
            return self._lines(head, edit), head.framing
        return [*self._lines(head, edit), b"Content-Length: %d" % len(content)], len(content)

    def _release(self, content: bytes, *, is_whole: bool) -> None:
        """Send the head that was held back, now that there is something of the body, or all of it."""
        assert self.held is not None
        (head, edit), self.held = self.held, None
        if is_whole:
            lines, framing = self._lines_of_whole(head, edit, self.filters, content)
        else:
            framing = CHUNKED if self._describe(edit, self.filters) else head.framing
            lines = self._lines(head, edit)
        self.exchange.status = edit.status
        self.send_head(head, edit.status, lines, framing, time.monotonic())

    def _ask_for_whole(self) -> None:
        """A part cannot be filtered: ask the same instance again, for the whole."""
        request, instance, edits = self.request, self.instance, view_of(self.exchange).upstream_headers
        assert instance is not None
        self.drop_connection()
        self.answered = False
        if b"range" not in request.fields.names or b"range" in edits.dropped:
            self._refuse("upstream_malformed", f"{self.service.name} sent a part of what was asked for as a whole")
            return
        edits.drop(_RANGES)
        self.replayable = True  # there is no body
        self.exchange.attempts += 1
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
            if self.held is not None:
                self._release(data, is_whole=False)
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
            if self.held is not None:
                self._release(rest, is_whole=True)
            if rest:
                self.stream.send_body(rest)
        super().response_ended()

    def break_off(self, refusal: Answer) -> None:
        if self.held is None:
            super().break_off(refusal)
        else:
            self.held = None
            self.answered = False
            self.answer(refusal)

    def _fail(self, answer: Answer) -> None:
        """A hook or a filter failed: with what filters have let through, the body cannot be completed."""
        self.drop()
        self.held = None
        if self.stream.response_started:
            self.break_off(answer)
        else:
            self.answered = False
            self.answer(answer)
