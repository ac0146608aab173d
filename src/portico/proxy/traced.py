"""Forwarding of exchanges that are recorded: each try at an instance has a span. Others pay nothing for it.

Whether one is recorded was decided when it began: that chooses among two kinds of forwarding. A span begins with the
choice of an instance and ends when that is left, whatever comes of the try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from portico.core.errors import UpstreamError
from portico.core.exchange import Exchange
from portico.core.messages import ResponseHead
from portico.core.trace_context import RANDOM, trace_context
from portico.observe.tracing import Trace, Try, trace_of
from portico.proxy.attempt import Attempt
from portico.proxy.forward import Forwarding
from portico.proxy.hedge import Hedge
from portico.proxy.mirror import Copy, Mirror
from portico.proxy.routing.route import Compose, Handling
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance

AnyForwarding = TypeVar("AnyForwarding", bound=Forwarding)

_TRACEPARENT: Final = b"\r\ntraceparent: "
_NOT_SAMPLED: Final = b"-00\r\nX-Request-ID: "
_FLAGS: Final = (b"-02\r\nX-Request-ID: ", b"-03\r\nX-Request-ID: ")
"""How `traceparent` ends, and what is behind it, in a head that was composed; in its place, in a trace that begins
here, without the flag that it is recorded and with it.
"""


def with_trace(compose: Compose) -> Compose:
    """The same composing, with the context of the try that the head is for."""

    def traced_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head = compose(exchange, handling, instance, upgrade)
        try:
            trace = exchange.trace
        except AttributeError:  # it began before traces were wanted
            return head
        if trace is None:
            return _not_recorded(head, exchange) if exchange.trusted else head.replace(_NOT_SAMPLED, _FLAGS[0], 1)
        found = trace.trying.get(instance)
        if found is not None and found.is_usual and not exchange.trusted:
            return head.replace(_NOT_SAMPLED, _FLAGS[1], 1)
        return _with_lines(head, trace.lines(exchange, instance, handling.service_name))

    return traced_head


def _not_recorded(head: bytes, exchange: Exchange) -> bytes:
    """The head of a trusted proxy's request: its context passes as it came, and without one a trace begins here."""
    request = exchange.request
    if request is None or trace_context(request.fields) is not None:
        return head
    end = head.index(b"\r\n", head.index(_TRACEPARENT) + 2)
    return b"".join((head[: end - 2], b"%02x" % RANDOM, head[end:]))


def _with_lines(head: bytes, lines: bytes) -> bytes:
    """A composed head with other lines in place of `traceparent`."""
    start = head.index(_TRACEPARENT) + 2
    return b"".join((head[:start], lines, head[head.index(b"\r\n", start) :]))


if TYPE_CHECKING:
    _Attempt = Attempt
else:
    _Attempt = object


class _Spanned(_Attempt):
    """Mixed into an attempt, before what it is otherwise."""

    __slots__ = ()

    trace: Trace

    def connect(self, instance: Instance, only_once: bool, fresh_only: bool = False) -> None:
        self.trace.first_try(self.exchange, instance, self.handling.service_name)
        super().connect(instance, only_once, fresh_only)

    def span(self) -> Try | None:
        """The one of the try that is under way."""
        return self.trace.trying.get(self.instance)

    def note_status(self, status: int) -> None:
        found = self.span()
        if found is not None and self.connection is not None:
            found.status, found.peer = status, self.connection.remote

    def note_error(self, error: UpstreamError) -> None:
        found = self.span()
        if found is not None:
            found.error = error.reason

    def drop(self) -> None:
        found = self.span()
        if found is not None:
            found.is_given_up = True
        super().drop()

    def leave(self) -> Instance | None:
        instance = super().leave()
        if instance is not None:
            self.trace.end_try(instance)
        return instance


class _SpannedForwarding(_Spanned):
    __slots__ = ()

    def response_started(self, head: ResponseHead) -> None:
        self.note_status(head.status)
        super().response_started(head)  # type: ignore[misc]

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        instance, trace = self.instance, self.trace
        found = trace.trying.get(instance)
        if found is not None and self.connection is not None:
            found.status, found.peer = head.status, self.connection.remote
        is_taken: bool = super().response_whole(head, content, now)  # type: ignore[misc]
        if is_taken:
            trace.end_try(instance, now)
        return is_taken

    def upstream_failed(self, error: UpstreamError) -> None:
        self.note_error(error)
        super().upstream_failed(error)

    def new_hedge(self, hedging: Hedging) -> Hedge:
        return _SpannedHedge(cast(Forwarding, self), hedging, self.loop)

    def new_copy(self, mirror: Mirror) -> Copy:
        return _SpannedCopy(self.exchange, mirror, self.loop)


class _SpannedHedge(_Spanned, Hedge):
    __slots__ = ("trace",)

    def __init__(self, owner: Any, hedging: Hedging, loop: asyncio.AbstractEventLoop) -> None:
        Hedge.__init__(self, owner, hedging, loop)
        self.trace = owner.trace

    def connect(self, instance: Instance, only_once: bool, fresh_only: bool = False) -> None:
        super().connect(instance, only_once, fresh_only)
        found = self.trace.trying.get(instance)
        if found is not None:
            found.role = "hedge"

    def response_started(self, head: ResponseHead) -> None:
        self.note_status(head.status)
        super().response_started(head)

    def upstream_failed(self, error: UpstreamError) -> None:
        self.note_error(error)
        super().upstream_failed(error)


class _SpannedCopy(_Spanned, Copy):
    __slots__ = ("trace",)

    def __init__(self, exchange: Exchange, mirror: Mirror, loop: asyncio.AbstractEventLoop) -> None:
        Copy.__init__(self, exchange, mirror, loop)
        trace = trace_of(exchange)
        assert trace is not None
        self.trace = trace

    def connect(self, instance: Instance, only_once: bool, fresh_only: bool = False) -> None:
        self.trace.begin_try(self.exchange, instance, self.handling.service_name).is_copy()
        Copy.connect(self, instance, only_once, fresh_only)  # the head, which was composed before, has begun its span

    def response_started(self, head: ResponseHead) -> None:
        self.note_status(head.status)
        super().response_started(head)

    def upstream_failed(self, error: UpstreamError) -> None:
        self.note_error(error)
        super().upstream_failed(error)


Making = Callable[[Exchange, Handling, asyncio.AbstractEventLoop], AnyForwarding]


def traced(kind: type[AnyForwarding]) -> Making[AnyForwarding]:
    """What makes a forwarding of this kind, with spans for an exchange that is recorded."""
    spanned: Any = vars(kind).get(_SPANNED)
    if spanned is None:
        spanned = type(f"Spanned{kind.__name__}", (_SpannedForwarding, kind), {"__slots__": ("trace",)})
        setattr(kind, _SPANNED, spanned)  # so that it goes with its kind

    return partial(_forwarding, kind, spanned)


def kind_of(forward: Callable[..., Any]) -> Any:
    """The kind of forwarding that something makes, which may be traced."""
    return forward.args[0] if isinstance(forward, partial) else forward


def _forwarding(
    kind: type[AnyForwarding], spanned: Any, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop
) -> AnyForwarding:
    try:
        trace = exchange.trace
    except AttributeError:  # it began before traces were wanted
        trace = None
    if trace is None or not trace.is_recorded:
        return kind(exchange, handling, loop)
    made: AnyForwarding = spanned(exchange, handling, loop)
    made.trace = trace  # type: ignore[attr-defined]
    return made


_SPANNED: Final = "spanned"
"""The attribute of a kind that is the same kind with spans."""
