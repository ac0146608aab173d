"""The service's side of HTTP/1.1 (RFC 9112): writes a request to a connection, reads its response from it.

What comes back is trusted no more than what a client sends: a service that lies about a length, answers twice or sends
unsolicited bytes harms its own exchange, and its connection is not used again.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Protocol

from portico.core.errors import MessageError, UpstreamError
from portico.core.exchange import Sink
from portico.core.faults import FAULTS, contain
from portico.core.messages import CHUNKED, TUNNEL, UNTIL_CLOSE, ResponseHead
from portico.net.tls.causes import cause_of, proxy_error_of
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.http1.chunked import ChunkedDecoder, encode_chunk, last_chunk, whole_body
from portico.wire.http1.grammar import is_hopeless
from portico.wire.http1.response_heads import HEAD_LIMIT, ResponseHeads
from portico.wire.lastwords import LastWords
from portico.wire.splice import LONG, Splice
from portico.wire.turn import LARGE_READ, Turn, TurnProtocol
from portico.wire.websocket import PROTOCOL, accepts
from portico.wire.writing import LARGE

P = ParamSpec("P")

_INTERIM_LIMIT: Final = 16
"""Informational responses before the final one; without a bound a service could send them endlessly."""

_UPLOAD: Final = 2
"""Pieces of content from which a request counts as an upload, which its service may refuse before the end.

Through a tunnel it is a large piece: small ones are written when everything received has been read.
"""


class State(Enum):
    """What a connection is doing."""

    IDLE = "in its pool, or with its next receiver"
    AWAITING = "a request was sent, or is being sent; no final head has come"
    BODY = "the head of the response has come"
    TUNNEL = "another protocol is spoken"
    CLOSED = "gone"


_IDLE, _AWAITING, _BODY, _TUNNEL, _CLOSED = State


class ResponseTimeouts(Protocol):
    """Seconds to wait: until the response's head, and between pieces of either body.

    After `silence` without a head, which is `response` at most, the receiver is notified.
    """

    @property
    def silence(self) -> float: ...

    @property
    def response(self) -> float: ...

    @property
    def idle(self) -> float: ...


class ResponseReceiver(Protocol):
    """A connection's callbacks for the one exchange that it carries."""

    def response_interim(self, head: ResponseHead) -> None:
        """An informational response (1xx) other than 100."""

    def response_started(self, head: ResponseHead) -> None:
        """The final response's head; with a framing of `TUNNEL` the connection is a tunnel from now on."""

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        """A final response that came in one piece; its connection is the receiver's to `free`.

        `now` is the monotonic time. False where the receiver wants it step by step, by the calls below.
        """

    def response_body(self, data: bytes) -> None:
        """A piece of content, without its transfer coding; never empty."""

    def response_sink(self) -> Sink | None:
        """Where the kernel may send content directly, bypassing `response_body`."""

    def response_ended(self) -> None:
        """The response is complete; `is_reusable` says whether the connection may be reused."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """No complete response will come; the connection is closed."""

    def response_faulted(self) -> None:
        """A fault of this process ended the connection, perhaps in the middle of another call: end the exchange."""

    def upstream_silent(self) -> None:
        """No response has begun for a while; the connection keeps waiting."""

    def upstream_pause_writing(self) -> None:
        """The service reads more slowly than the request comes."""

    def upstream_resume_writing(self) -> None:
        """The service has caught up."""


def _contained(
    method: Callable[Concatenate[UpstreamConnection, P], None],
) -> Callable[Concatenate[UpstreamConnection, P], None]:
    """Limit a fault in an event loop callback to the connection and its exchange."""

    @wraps(method)
    def call(self: UpstreamConnection, /, *args: P.args, **kwargs: P.kwargs) -> None:
        receiver = self.receiver
        try:
            method(self, *args, **kwargs)
        except FAULTS:
            self.keep_receiver(receiver)
            contain(self)

    return call


class UpstreamConnection(TurnProtocol):
    """One connection to an instance of a service; it carries one exchange at a time."""

    # fmt: off
    __slots__ = (
        # as long as the connection
        "buffer", "deadline", "deadlines", "heads", "idle_since", "keep_alive_timeout", "paused",
        "remote", "yielding", "splice", "stalled", "state", "wakes",
        # as long as an exchange
        "awaited", "bodiless", "by_steps", "chunked", "decoder", "head", "received", "interims", "keep_alive",
        "last_words", "left", "timeouts", "pieces", "receiver", "request_done", "scanned", "total_deadline", "upgrade",
        "websocket_key",
    )
    # fmt: on

    turn_order = 0  # a response may free what a request waits for

    awaited: float
    total_deadline: float
    head: ResponseHead
    bodiless: bool
    """Whether the response answers HEAD."""
    by_steps: bool
    """Whether the response is to be read step by step, even if it comes whole."""

    def __init__(self, deadlines: Deadlines, turn: Turn, heads: ResponseHeads) -> None:
        super().__init__(turn)
        self.deadlines = deadlines
        self.heads = heads
        self.state = _IDLE
        self.deadline = NEVER
        self.wakes = NEVER
        self.idle_since = 0.0
        self.keep_alive_timeout: float | None = None
        self.remote = ""
        """The address that it is connected to, where its instance has several."""
        self.receiver: ResponseReceiver | None = None
        self.paused = self.yielding = self.stalled = self.received = False
        self.request_done = True
        self.upgrade = b""
        self.scanned = self.interims = 0
        self.decoder: ChunkedDecoder | None = None
        self.buffer = b""
        self.last_words: LastWords | None = None
        self.splice: Splice | None = None

    # ---- the transport's calls

    def process(self, data: bytes, now: float) -> None:
        """Take what was read: mostly a complete response, with a head like an earlier one."""
        receiver = self.receiver
        try:
            if self.state is _AWAITING and self.has_written and not self.by_steps and not self.buffer and receiver:
                head = self.heads.latest
                rest = data.removeprefix(head.raw)
                if len(rest) == len(data):
                    head = self.heads.known(data)
                    rest = data[len(head.raw) :]
                whole: bytes | None = rest
                if head.framing != len(rest):
                    whole = whole_body(rest) if head.framing == CHUNKED else None
                if whole is not None and receiver.response_whole(head, whole, now):
                    return
            if len(data) >= LARGE_READ:
                self._yield_turn()
            self._process_in_steps(data)
        except FAULTS:
            self.keep_receiver(receiver)
            raise

    def _process_in_steps(self, data: bytes) -> None:
        try:
            if self.state is _BODY:
                self._take_body(data)
            elif self.state is _AWAITING and not self.has_written:  # no response to a request that was not sent yet
                self.outgoing = b""
                self._fail("reset", "the service sent bytes that nobody asked for")
            elif self.state is _AWAITING:
                self.received = True
                self.buffer = self.buffer + data if self.buffer else data
                while self.state is _AWAITING and self.buffer and self._read_head():
                    pass
            elif self.state is _TUNNEL and self.receiver is not None:
                self.receiver.response_body(data)
            else:
                self.close()  # unsolicited bytes
        except MessageError as error:
            coding = "http_response_transfer_coding" if self.state is _BODY else None
            self._fail("protocol", error.detail, proxy_error=error.proxy_error or coding)

    def eof_received(self) -> bool:
        self.turn.settle(self)
        if self.state is _AWAITING or (self.state is _BODY and self.head.framing != UNTIL_CLOSE):
            self._lose(None)  # now: what was not sent to the client yet can be taken back
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.turn.settle(self)
        self._lose(exc)

    @_contained
    def _lose(self, exc: Exception | None) -> None:
        """The connection is gone: the exchange is notified, if there is one."""
        self._end_splice()
        while self.state is _BODY and self.decoder is not None and self.decoder.has_more:
            self._process_in_steps(b"")
        if exc is not None and self.last_words is not None and (data := self.last_words.read()):
            self._process_in_steps(data)
        if self.state is _BODY and self.head.framing == UNTIL_CLOSE and exc is None:
            self.keep_alive = False
            self._end()
        elif self.state in (_AWAITING, _BODY):
            when, proxy_error = "before it answered", _alert_of(exc)
            if self.received:
                when, proxy_error = "in the middle of its response", "http_response_incomplete"
            self._fail("reset", f"the service closed the connection {when}", _cause_of(exc), proxy_error)
        elif self.state is _TUNNEL:
            self._lose_tunnel(exc)
        self.state = _CLOSED
        self._forget_last_words()
        self.deadlines.forget(self)

    @_contained
    def pause_writing(self) -> None:
        self.stalled = True
        if self.receiver is not None:
            self.receiver.upstream_pause_writing()

    @_contained
    def resume_writing(self) -> None:
        self.stalled = False
        if self.receiver is not None:
            self._progress()
            self.receiver.upstream_resume_writing()

    @_contained
    def deadline_passed(self) -> None:
        if self.state is _AWAITING and self._waits_on():
            return
        if self.state in (_AWAITING, _BODY):
            what = "go on with its response" if self.received else "answer"
            self._fail("timeout", f"the service did not {what} in time")
        else:
            self.close()

    def _waits_on(self) -> bool:
        """Whether there is more time for a response; the receiver is notified each time that the wait has doubled."""
        now, waited = time.monotonic(), self.awaited
        self.awaited = min(2 * waited, self.timeouts.response)
        if waited >= self.awaited or now >= self.total_deadline or self.receiver is None:
            return False
        self.deadlines.set(self, min(now + self.awaited - waited, self.total_deadline))
        self.receiver.upstream_silent()
        return True

    # ---- one exchange

    def start(
        self,
        receiver: ResponseReceiver,
        method: bytes,
        head: bytes,
        chunked: bool,
        timeouts: ResponseTimeouts,
        now: float,
        total_deadline: float,
        upgrade: bytes = b"",
        websocket_key: bytes | None = None,
    ) -> None:
        """Begin a request with its head; its content goes through `send_body` and `end_body`.

        `upgrade` is the protocol, in lower case, to which the service may switch with a 101.
        """
        self.chunked = chunked
        self.pieces = 0
        self.websocket_key = websocket_key
        self.start_whole(receiver, method, head, timeouts, now, total_deadline)
        self.request_done = False
        if upgrade:
            self.upgrade = upgrade
            self.by_steps = True

    def start_whole(
        self,
        receiver: ResponseReceiver,
        method: bytes,
        head: bytes,
        timeouts: ResponseTimeouts,
        now: float,
        total_deadline: float,
    ) -> None:
        """Begin a request without content, or whose content is all in `head` or follows by `send_rest`.

        `now` is the monotonic time, `total_deadline` the time when the exchange must be over, `NEVER` for none.
        """
        self.receiver = receiver
        self.state = _AWAITING
        self.has_written = False
        self.by_steps = self.bodiless = method == b"HEAD"
        self.timeouts = timeouts
        self.awaited = silence = timeouts.silence
        self.total_deadline = total_deadline
        self.gather(head)
        deadline = now + silence
        if deadline > total_deadline:
            deadline = total_deadline
        self.deadline = deadline
        if deadline < self.wakes:
            self.deadlines.set(self, deadline)

    def send_rest(self, content: bytes) -> None:
        """All of the request's content, of the length that its head declares."""
        self.put(content)

    def send_body(self, data: bytes) -> None:
        """A piece of the request's content."""
        self.pieces += 1
        if self.last_words is None and (len(data) >= LARGE if self.state is _TUNNEL else self.pieces == _UPLOAD):
            self._keep_last_words()
        for piece in encode_chunk(data) if self.chunked else (data,):
            self.put(piece)
        if not self.stalled:
            self._progress()

    def end_body(self, trailers: Sequence[bytes] = ()) -> None:
        """The request is complete; `trailers` are field lines that follow content of unknown length."""
        self.request_done = True
        if self.chunked:
            self.put(last_chunk(trailers))

    @property
    def trailers(self) -> Sequence[bytes]:
        """The trailer field lines of the last response."""
        return self.decoder.trailers if self.decoder is not None else ()

    def end_tunnel(self) -> None:
        """The client will send no more through the tunnel; TLS can only signal that by ending it."""
        self.write_out()
        if not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def hang_up(self) -> None:
        """End a tunnel; what was sent before goes out first, if the service reads on."""
        self.state = _CLOSED
        self.receiver = None
        self._forget_last_words()
        self.deadlines.set(self, time.monotonic() + self.timeouts.idle)
        self.write_out()
        self.transport.close()

    def pause_reading(self) -> None:
        """Read no more of the response until `resume_reading`; no deadline runs meanwhile but the total one."""
        if not self.paused and not self.transport.is_closing():
            self.paused = self.by_steps = True
            self._end_splice()
            self.transport.pause_reading()
            self.deadlines.set(self, self.total_deadline)

    def resume_reading(self) -> None:
        """Read the response again."""
        if self.paused:
            self.paused = False
            if self.state is _BODY and self.decoder is not None and self.decoder.has_more:
                self._yield_turn()
            elif not self.yielding and not self.transport.is_closing():
                self._read_on_in_turn()
            self._progress()

    def _read_on_in_turn(self) -> None:
        """Where much is to come, once those have read that could do so earlier: each may bring as much as it likes."""
        if self.state is _BODY and self.left >= LONG:
            self.yielding = True
            self.turn.paced.plan(self._resume_turn)
        else:
            self._read_on()

    def _yield_turn(self) -> None:
        """Serve other connections before this service is read from again."""
        if not self.yielding and not self.transport.is_closing():
            self.yielding = True
            self.transport.pause_reading()
            self.turn.loop.call_soon(self._resume_turn)

    @_contained
    def _resume_turn(self) -> None:
        self.yielding = False
        if self.paused:
            return
        if self.state is _BODY and self.decoder is not None and self.decoder.has_more:
            self._process_in_steps(b"")
        if not self.yielding and not self.paused and not self.transport.is_closing():
            self._read_on()

    def _read_on(self) -> None:
        """Read from the service again, or have the kernel pass on the middle of a long response.

        Only one of the two, and only one splice: otherwise later bytes would overtake earlier ones.
        """
        sink = self.receiver.response_sink() if self.receiver is not None and self._is_long() else None
        if sink is not None:
            with contextlib.suppress(OSError):  # no descriptor left: go on without a splice
                if self.turn.pipe.is_of_use:
                    self.splice = Splice(self, sink, self.turn.pipe, self.turn.paced)
                    return
        self.transport.resume_reading()

    def _is_long(self) -> bool:
        """Whether the kernel may splice most of what is still to come."""
        return self.state is _BODY and self.left >= LONG and self.descriptor >= 0 and not self.pending

    def body_moved(self, size: int) -> None:
        """The kernel passed content on, which is not to be read here any more."""
        self.left -= size
        self._progress()

    def read_again(self) -> None:
        """The kernel passes on no more: read what follows."""
        self.splice = None
        if not self.paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _end_splice(self) -> None:
        if self.splice is not None:
            self.splice.close()
            self.splice = None

    def is_reusable(self) -> bool:
        """Whether another exchange may follow: both messages were complete, and both sides keep the connection."""
        return self.state is _IDLE and self.keep_alive and self.request_done and not self.transport.is_closing()

    def is_alive(self) -> bool:
        """Whether the connection is open and unused."""
        return self.state is _IDLE and not self.transport.is_closing()

    def free(self, head: ResponseHead) -> bool:
        """Release the connection after a complete response with `head`; whether it may be reused, if it stays open."""
        self.state = _IDLE
        self.receiver = None
        self.keep_alive = keep_alive = head.keep_alive
        self.keep_alive_timeout = head.keep_alive_timeout
        if self.last_words is not None:
            self._forget_last_words()
        return keep_alive and self.request_done

    def close(self) -> None:
        """End the connection; its exchange, if one runs, is not notified."""
        self.state = _CLOSED
        self.receiver = None
        try:
            self.deadlines.forget(self)
            self._end_splice()
            self._forget_last_words()
        finally:
            self.transport.abort()

    def keep_receiver(self, receiver: ResponseReceiver | None) -> None:
        """After a fault: a receiver that got a response, and may have freed the connection, is notified of the end."""
        if self.receiver is None:
            self.receiver = receiver

    def faulted(self) -> None:
        """End the connection, and the exchange on it."""
        receiver = self.receiver
        try:
            self.close()
        finally:
            if receiver is not None:
                receiver.response_faulted()

    def _progress(self) -> None:
        """There was progress: set the next deadline."""
        if not self.paused and self.state is not _TUNNEL:
            timeouts = self.timeouts
            deadline = time.monotonic() + (timeouts.idle if self.state is _BODY else self.awaited)
            if deadline > self.total_deadline:
                deadline = self.total_deadline
            self.deadline = deadline
            if deadline < self.wakes:
                self.deadlines.set(self, deadline)

    def _read_head(self) -> bool:
        """Take one head from the buffer; False where it is not complete."""
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n", self.scanned)
        if (end if end >= 0 else len(buffer)) > HEAD_LIMIT:
            detail = f"the response's head is larger than {HEAD_LIMIT} bytes"
            raise MessageError("upstream_malformed", detail, "http_response_header_section_size")
        if end < 0:
            if is_hopeless(buffer, self.scanned):
                raise MessageError("upstream_malformed", "the response is not HTTP/1.1")
            self.scanned = max(0, len(buffer) - 3)
            return False
        self.scanned = 0
        raw = buffer[:end]
        head = self.heads.parse(raw, self.bodiless) if self.bodiless or self.upgrade else self.heads[raw]
        self.buffer = b""
        rest = buffer[end + 4 :]
        if head.status == 101 and self.upgrade:
            self._switch(head, rest)
            return False
        if head.status < 200:
            self.buffer = rest
            self._take_interim(head)
            return True
        framing = head.framing
        receiver = self.receiver
        assert receiver is not None
        self._forget_waiting()
        whole = rest if framing == len(rest) else whole_body(rest) if framing == CHUNKED else None
        if whole is not None and not self.paused and receiver.response_whole(head, whole, time.monotonic()):
            return False
        self.received = True
        self.head = head
        self.keep_alive = head.keep_alive and framing != UNTIL_CLOSE
        self.keep_alive_timeout = head.keep_alive_timeout
        self.state = _BODY
        self.decoder = ChunkedDecoder("upstream_malformed") if framing == CHUNKED else None
        self.left = framing
        receiver.response_started(head)
        if self.state is not _BODY:
            return False  # the receiver ended the exchange
        if framing == 0:
            self.keep_alive = self.keep_alive and not rest
            self._end()
        elif rest:
            self._take_body(rest)
        else:
            self._progress()
        return False

    def _forget_waiting(self) -> None:
        """The final head is here: drop the state of waiting for it, which must not reach the next exchange."""
        self.received = False
        self.interims = 0
        self.upgrade = b""

    def _switch(self, head: ResponseHead, rest: bytes) -> None:
        """Switch to the protocol that the service was offered, if it accepted that one."""
        fields = head.fields
        right = fields.tokens(b"upgrade") == [self.upgrade] and b"upgrade" in fields.tokens(b"connection")
        if self.upgrade == PROTOCOL:
            right = right and accepts(self.websocket_key, fields.get(b"sec-websocket-accept"))
        if not right:
            raise MessageError("upstream_malformed", "the service switches protocols in a way that nobody asked for")
        head.framing = TUNNEL
        self.keep_alive = False
        self.state = _TUNNEL
        self.total_deadline = NEVER
        self.deadlines.set(self, NEVER)
        receiver = self.receiver
        assert receiver is not None
        receiver.response_started(head)
        if rest and self.receiver is not None:  # the receiver may be another by now
            self.receiver.response_body(rest)

    def _lose_tunnel(self, exc: Exception | None) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            return
        if exc is None:
            receiver.response_ended()
        else:
            receiver.upstream_failed(UpstreamError("reset", "the service broke the connection off"))

    def _take_interim(self, head: ResponseHead) -> None:
        self.interims += 1
        self.by_steps = True
        if head.status == 101 or self.interims > _INTERIM_LIMIT:
            raise MessageError("upstream_malformed", "an informational response that nobody asked for")
        if head.status != 100 and self.receiver is not None:
            self.receiver.response_interim(head)

    def _take_body(self, data: bytes) -> None:
        receiver = self.receiver
        assert receiver is not None
        if self.decoder is not None:
            try:
                data = self.decoder.feed(data)
            except MessageError:
                if self.decoder.sound:
                    receiver.response_body(self.decoder.sound)
                raise
            if self.decoder.has_more:
                self._yield_turn()
            ended = self.decoder.done
            surplus = bool(self.decoder.rest)
        elif self.left == UNTIL_CLOSE:
            ended = surplus = False
        else:
            surplus = len(data) > self.left
            if surplus:
                data = data[: self.left]
            self.left -= len(data)
            ended = not self.left
        if data:
            receiver.response_body(data)
        if self.state is not _BODY:
            return
        if ended:
            self.keep_alive = self.keep_alive and not surplus
            self._end()
            return
        self._progress()
        if len(data) >= LARGE and self._is_long() and not self.paused:
            self._yield_turn()  # by then, earlier writes have reached the kernel: see `_read_on`

    def _end(self) -> None:
        """The response is complete."""
        receiver, self.receiver = self.receiver, None
        self.state = _IDLE
        self.received = False
        self._forget_last_words()
        if self.paused:
            self.paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if receiver is not None:
            receiver.response_ended()

    def _keep_last_words(self) -> None:
        if self.transport.get_extra_info("ssl_object") is None:
            with contextlib.suppress(OSError):
                self.last_words = LastWords(self.transport)

    def _forget_last_words(self) -> None:
        if self.last_words is not None:
            self.last_words.close()
            self.last_words = None

    def _fail(self, phase: str, detail: str, cause: str = "", proxy_error: str | None = None) -> None:
        receiver = self.receiver
        self.close()
        if receiver is not None:
            receiver.upstream_failed(UpstreamError(phase, detail, cause, proxy_error))


def _alert_of(exc: Exception | None) -> str | None:
    """What `Proxy-Status` says where the service ended TLS with an alert."""
    found = proxy_error_of(exc) if isinstance(exc, ssl.SSLError) else None
    return found if found == "tls_alert_received" else None


def _cause_of(exc: Exception | None) -> str:
    """What was wrong with TLS: in 1.3 a server says only after the handshake that it wants another certificate."""
    return f"TLS failed: {cause_of(exc)}" if isinstance(exc, ssl.SSLError) else ""
