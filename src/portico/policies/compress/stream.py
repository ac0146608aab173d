"""The client's side of an exchange whose response may be compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from portico.core.codings import encoder
from portico.core.exchange import Exchange, Sink
from portico.core.messages import CHUNKED, TUNNEL
from portico.policies.compress.body import CodedBody
from portico.policies.compress.counts import Counts
from portico.policies.compress.negotiation import Choice
from portico.policies.compress.rules import Head, Rules, values_of
from portico.policies.stream_behind import StreamBehind

_NOT_MODIFIED: Final = 304
_OLD: Final = 10
_HEAD_END: Final = b"\r\n\r\n"


_MOST_HELD: Final = 1 << 20
"""Bytes of a stored response that is held until it is there, since it may well have been compressed before."""


class _Held:
    """A stored response whose coded form may be known, once all of its content is there."""

    __slots__ = ("head", "phrase", "pieces", "status")

    def __init__(self, status: int, phrase: bytes, head: Head) -> None:
        self.status = status
        self.phrase = phrase
        self.head = head
        self.pieces: list[bytes] = []


class CompressingStream(StreamBehind):
    """Compresses what is sent, where the response's head and the client allow it.

    It takes the place of an exchange's stream until that is finished.
    """

    __slots__ = (
        "_body",
        "_choice",
        "_counts",
        "_exchange",
        "_finish",
        "_held",
        "_is_head",
        "_is_old",
        "_known",
        "_rules",
    )

    def __init__(
        self, exchange: Exchange, rules: Rules, choice: Choice, known: Mapping[bytes, bytes], counts: Counts
    ) -> None:
        request = exchange.request
        assert request is not None
        super().__init__(exchange.stream)
        self._exchange = exchange
        self._rules = rules
        self._choice = choice
        self._known = known
        self._counts = counts
        self._is_head = request.method == b"HEAD"
        self._is_old = request.version == _OLD
        self._body: CodedBody | None = None
        self._held: _Held | None = None
        self._finish = exchange.finish
        exchange.finish = self._finished
        exchange.stream = self

    def _finished(self, exchange: Exchange, failure: str | None) -> None:
        """Leave its place: else the two would refer to each other, and only a collection free them."""
        exchange.stream, exchange.finish = self.inner, self._finish
        if self._body is not None:
            self._body.drop()
        exchange.finish(exchange, failure)

    # ---- a response that comes piece by piece

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        if framing == TUNNEL or (framing == 0 and not self._is_head and status != _NOT_MODIFIED):
            self.inner.send_head(status, phrase, lines, framing)
            return
        size = framing if framing > 0 else None
        head = self._head(status, b"\r\n".join(lines).split(b"\r\n"), size, can_be_coded=not self._is_old)
        if head.coding is None or self._is_head:
            self.inner.send_head(status, phrase, head.lines, framing)
            return
        if size is not None and size <= _MOST_HELD and self._counts.is_stored(self._exchange) and not head.flushes:
            self._held = _Held(status, phrase, head)
            return
        self.inner.send_head(status, phrase, head.lines, CHUNKED)
        self._begin(head)

    def send_body(self, data: bytes) -> None:
        if self._body is not None:
            self._body.feed(data)
        elif self._held is not None:
            self._held.pieces.append(data)
        else:
            self.inner.send_body(data)

    def sink(self) -> Sink | None:
        return self.inner.sink() if self._body is None and self._held is None else None

    def end(self, trailers: Sequence[bytes] = ()) -> None:
        if self._held is not None:
            self._release(self._held)
        if self._body is None:
            self.inner.end(trailers)
        else:
            self._body.end(trailers)

    def take_back(self) -> bool:
        if self._held is not None:
            self._held = None
            return True
        if not self.inner.take_back():
            return False
        if self._body is not None:
            self._body.drop()
            self._body = None
        return True

    def _begin(self, head: Head, keep: Callable[[bytes], None] | None = None) -> None:
        assert head.coding is not None
        rules, coding = self._rules, head.coding
        coder = encoder(coding, rules.levels[coding])
        count = partial(self._counts.count, self._exchange, coding)
        sizes = rules.at_once[coding], rules.pieces[coding]
        self._body = CodedBody(self.inner, coder, *sizes, count, keep, flushes=head.flushes)

    def _release(self, held: _Held) -> None:
        """All of a stored response is there: send its coded form, or begin to make it."""
        self._held = None
        head, content = held.head, tuple(held.pieces)
        assert head.coding is not None
        key = content, head.coding, self._rules.levels[head.coding]
        coded = self._counts.forms.get(key)
        if coded is None:
            self.inner.send_head(held.status, held.phrase, head.lines, CHUNKED)
            self._begin(head, partial(self._counts.forms.put, key))
            for piece in content:
                self.send_body(piece)
        else:
            lines = [*head.lines, b"Content-Length: %d" % len(coded)]
            self.inner.send_head(held.status, held.phrase, lines, len(coded))
            self.inner.send_body(coded)
            self._counts.count(self._exchange, head.coding, sum(map(len, content)), len(coded))

    # ---- one that is there as a whole

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:
        *start, _, content = pieces
        is_small = len(content) < self._rules.min_size and not self._choice.refuses_identity
        if is_small and not self._is_head and status != _NOT_MODIFIED:
            self.inner.send_whole(status, pieces, framing, now)
            return
        line, *lines = b"".join(start).split(b"\r\n")
        size, coding = len(content), self._choice.coding
        if self._is_head:
            size = _length(lines)
        can_be_coded = coding is not None and (size <= self._rules.at_once[coding] or not self._is_old)
        head = self._head(status, lines, size if size >= 0 else None, can_be_coded=can_be_coded)
        if head.coding is not None and not self._is_head:
            if size > self._rules.at_once[head.coding]:
                self._send_slowly(status, line, head, content)
                return
            coded = self._counts.coded(self._exchange, content, head.coding, self._rules.levels[head.coding])
            if len(coded) < size:
                length = b"Content-Length: %d" % len(coded)
                whole = b"\r\n".join((line, *head.lines, length)), _HEAD_END, coded
                self.inner.send_whole(status, whole, len(coded), now)
                return
            head = self._head(status, lines, size, can_be_coded=False)
        framing = 0 if head.coding is not None else framing
        self.inner.send_whole(status, (b"\r\n".join((line, *head.lines)), _HEAD_END, content), framing, now)

    def _send_slowly(self, status: int, line: bytes, head: Head, content: bytes) -> None:
        """A large one: a thread compresses it, so that others need not wait."""
        self._exchange.ended = 0.0
        self.inner.send_head(status, line[_PHRASE:], head.lines, CHUNKED)
        self._begin(head)
        self.send_body(content)
        self.end()

    def _head(self, status: int, lines: list[bytes], size: int | None, *, can_be_coded: bool) -> Head:
        if status == _NOT_MODIFIED:
            return Head(self._rules.not_modified(lines, self._known))
        choice = self._choice
        coding = choice.coding if can_be_coded else None
        return self._rules.head_of(status, lines, size, coding, always=choice.refuses_identity)


_PHRASE: Final = len(b"HTTP/1.1 200 ")


def _length(lines: Sequence[bytes]) -> int:
    """The Content-Length of a response to HEAD, -1 where there is none."""
    names = [line.partition(b":")[0].lower() for line in lines]
    values = values_of(b"content-length", names, lines)
    return int(values[0]) if len(values) == 1 and values[0].isdigit() else -1
