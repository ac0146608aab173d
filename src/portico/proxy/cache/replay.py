"""A response that is stored, or still arriving, to one client: as one whole, or piece by piece at the client's pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.faults import FAULTS, contain
from portico.core.messages import ResponseHead
from portico.core.tasks import background
from portico.proxy.cache.ranges import Ranged, slices
from portico.proxy.cache.recording import Reader
from portico.proxy.cache.stored import Body, BodyLostError
from portico.proxy.compose import HEAD_END, REQUEST_ID, TIMING, hides_timing, milliseconds, takes_trailers
from portico.proxy.filtered import FilteredForwarding
from portico.proxy.forward import Forwarding
from portico.proxy.headers.forwarded import passed_trailers
from portico.proxy.hooked import NO_NAMES, HookedForwarding, edited_start
from portico.proxy.routing.route import Handling

_AT_ONCE: Final = 512 * 1024
"""Bytes that one client is sent before others are served."""
_NO_TRAILERS: Final[list[bytes]] = []


def send_whole(exchange: Exchange, handling: Handling, head: ResponseHead, content: bytes) -> None:
    """Send a stored response with all of the content that the client gets, through the policies' response hooks."""
    exchange.id = exchange.request_id.encode()
    exchange.ended = now = time.monotonic()
    exchange.status = head.status
    start: bytes | None
    if handling.response_hooks is not None:
        if exchange.response_drop is None:
            exchange.response_drop = NO_NAMES
        start = edited_start(exchange, handling, head)
        if start is None:
            return
    elif head.passed and exchange.response_drop is None:
        start = b"\r\n".join((head.passed, *exchange.response_lines))
    else:
        start = b"\r\n".join((head.line, *handling.response_lines(exchange, head)))
    if hides_timing(exchange):
        pieces: tuple[bytes, ...] = (start, REQUEST_ID, exchange.id, HEAD_END, content)
    else:
        own, _ = milliseconds(now - exchange.started, 0.0)
        pieces = (start, REQUEST_ID, exchange.id, TIMING, own, HEAD_END, content)
    exchange.stream.send_whole(exchange.status, pieces, len(content), now)


class Source(Protocol):
    """Where a body is read from."""

    is_over: bool
    """Whether `read` gives nothing more than it has now."""
    failure: Answer | None
    """Why it is over, if the body is not complete."""
    trailers: list[bytes]

    def read(self, start: int) -> bytes:
        """What is there from byte `start` on, as much as can be sent at once."""

    def join(self, reader: Reader) -> None:
        """Have a reader advance when there is more."""

    def leave(self, reader: Reader) -> None:
        """It reads no more."""

    def progressed(self) -> None:
        """The reader has taken something."""


class InMemory:
    """A stored body in memory, or pieces made of it; one reader goes through it in order."""

    is_over = True
    failure: Answer | None = None
    trailers = _NO_TRAILERS

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, start: int) -> bytes:  # noqa: ARG002
        """The next piece."""
        return next(self._pieces, b"")

    def join(self, reader: Reader) -> None:
        """All of it is there."""

    def leave(self, reader: Reader) -> None:
        """Nothing is held for a reader."""

    def progressed(self) -> None:
        """The same."""


class Elsewhere:
    """A stored body whose pieces have to be waited for; the next one is asked for while one is being sent."""

    trailers = _NO_TRAILERS

    def __init__(self, body: Body, spans: Iterator[bytes | tuple[int, int, int]]) -> None:
        """`spans` are bytes to send, and where others are: the index of a piece and where in it."""
        self._body = body
        self._spans = spans
        self._next = b""
        self._reader: Reader | None = None
        self.is_over = False
        self.failure: Answer | None = None

    def read(self, start: int) -> bytes:  # noqa: ARG002
        """The next piece, if it has come."""
        data, self._next = self._next, b""
        if data:
            background(self._fetch(), "a stored body")
        return data

    def join(self, reader: Reader) -> None:
        """Serve this reader."""
        self._reader = reader
        background(self._fetch(), "a stored body")

    def leave(self, reader: Reader) -> None:  # noqa: ARG002
        """Fetch no more."""
        self._reader = None

    def progressed(self) -> None:
        """A piece is fetched when the one before it is taken."""

    async def _fetch(self) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            await self._fetch_next()
            if self._reader is reader:
                reader.advance()
        except FAULTS:
            contain(reader)

    async def _fetch_next(self) -> None:
        span = next(self._spans, b"")
        if isinstance(span, bytes):
            self._next, self.is_over = span, not span
            return
        index, start, stop = span
        try:
            self._next = (await self._body.piece(index))[start:stop]
        except BodyLostError:
            self.failure = Refusal("upstream_reset", "a stored response is not there any more")
            self.is_over = True


def source_of(body: Body, ranged: Ranged | None) -> InMemory | Elsewhere:
    """Where a stored body, or what was asked for of it, is read from."""
    return InMemory(in_memory(body, ranged)) if is_here(body) else Elsewhere(body, spans_of(body, ranged))


def is_here(body: Body) -> bool:
    """Whether all of a stored body is in memory."""
    return len(body.pieces) == body.count


def spans_of(body: Body, ranged: Ranged | None) -> Iterator[bytes | tuple[int, int, int]]:
    """What is sent of a body, all of it or the parts that were asked for: bytes, and where others are in its pieces."""
    if ranged is None:
        yield from slices(0, body.size)
        return
    for before, start, stop in ranged.parts:
        if before:
            yield before
        yield from slices(start, stop)
    if ranged.after:
        yield ranged.after


def in_memory(body: Body, ranged: Ranged | None) -> Iterator[bytes]:
    """The same of a body that is in memory, as bytes."""
    for span in spans_of(body, ranged):
        if isinstance(span, bytes):
            yield span
        else:
            index, start, stop = span
            yield body.pieces[index][start:stop]


class Replay(Forwarding):
    """Sends a response that does not come from a connection; mixed into the forwarding that its route has.

    `whole` gives head and source of the whole response, for a filter that cannot have a part of it.
    """

    source: Source
    sent: int
    is_paused: bool
    whole: Callable[[], tuple[ResponseHead, Source]] | None

    def begin(
        self,
        head: ResponseHead,
        source: Source,
        whole: Callable[[], tuple[ResponseHead, Source]] | None = None,
    ) -> None:
        """Send the head, and as much of the body as is there."""
        self._take_over(source, whole)
        self.forward_head(head, time.monotonic())
        self.advance()

    def go_on(self, source: Source, sent: int) -> None:
        """Send the rest of a body, behind the `sent` bytes that the client has, once it reads on."""
        self._take_over(source, None)
        self.sent = sent
        self.is_paused = True

    def _take_over(self, source: Source, whole: Callable[[], tuple[ResponseHead, Source]] | None) -> None:
        exchange = self.exchange
        exchange.id = exchange.request_id.encode()
        if self.handling.response_hooks is not None and exchange.response_drop is None:
            exchange.response_drop = NO_NAMES
        self.answered = True
        self.source, self.whole = source, whole
        self.sent = 0
        self.is_paused = False
        self.stream.receiver = self
        source.join(self)

    def advance(self) -> None:
        """Send what there is, as long as the client takes it."""
        source = self.source
        most = self.sent + _AT_ONCE
        while not self.is_paused and not self.over and self.waiting is None:
            data = source.read(self.sent)
            if not data:
                self._end_if_over()
                return
            self.sent += len(data)
            self.response_body(data)
            source.progressed()
            if self.sent >= most and not self.over:
                self.waiting = self.loop.call_later(0, self._advance_later)

    def _advance_later(self) -> None:
        self.waiting = None
        try:
            self.advance()
        except FAULTS:
            contain(self)

    def _end_if_over(self) -> None:
        if not self.source.is_over:
            return
        self.source.leave(self)
        if self.source.failure is not None:
            self.break_off(self.source.failure)
        else:
            self.response_ended()

    def free_connection(self) -> list[bytes]:
        """There is none; the trailers came with the body."""
        trailers = self.source.trailers
        return passed_trailers(trailers, self.handling.trailers) if trailers and takes_trailers(self.request) else []

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.advance()

    def finished(self, failure: str | None) -> None:
        exchange = self.exchange
        finish = exchange.finish
        self.over = True
        try:
            if self.waiting is not None:
                self.drop()
            self.source.leave(self)
        finally:
            finish(exchange, failure)


class PlainReplay(Replay):
    """On a route without hooks for responses."""


class HookedReplay(Replay, HookedForwarding):
    """On a route whose policies see responses."""


class FilteredReplay(Replay, FilteredForwarding):
    """On a route whose policies may filter bodies."""

    def _ask_for_whole(self) -> None:
        """A part cannot be filtered: send the whole."""
        if self.whole is None:
            self._refuse("upstream_malformed", f"{self.service.name} sent a part of what was asked for as a whole")
            return
        self.source.leave(self)
        head, self.source = self.whole()
        self.source.join(self)
        self.forward_head(head, time.monotonic())
