"""The client's side of HTTP/1.1 (RFC 9112): reads requests from a connection, writes responses to it.

It does not depend on the gateway: a `Handler` receives each request and answers through the `Stream`, the connection.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from portico.core.errors import MessageError
from portico.core.exchange import Client, Handler, Receiver, Sink, ToldAside
from portico.core.faults import FAULTS, contain
from portico.core.fields import AsideError, is_aside
from portico.core.messages import CHUNKED, TUNNEL, RequestHead
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.frontend import Frontend, Limits
from portico.wire.http1.chunked import ChunkedDecoder, encode_chunk, encode_whole, last_chunk
from portico.wire.http1.diagnosis import diagnosed
from portico.wire.http1.grammar import (
    STATUS_PHRASE,
    is_hopeless,
    name_of,
    parse_request_head,
    status_line,
    without_empty_lines,
)
from portico.wire.http1.half_close import FIRST_LOOK, HalfClose
from portico.wire.http1.repeats import RequestHeads
from portico.wire.http1.request_forms import RequestForms
from portico.wire.peer import client_at
from portico.wire.proxy_protocol import Origin
from portico.wire.turn import LARGE_READ, Turn, TurnProtocol
from portico.wire.writing import LARGE, reset_on_close, unsent_bytes

logger: Final = logging.getLogger("portico.wire")

_PIPELINE_BUFFER: Final = 64 * 1024
_LEAST_READ: Final = 4096
"""Bytes that a client has to read within `body_timeout` while more is waiting for it; with less it is stalled."""
_PIPELINE_TURN: Final = 16
"""Requests answered in a row on one connection before others are served."""
_DISCARD_LIMIT: Final = 256 * 1024
"""Bytes of an unwanted request body that are read so that a connection can be kept, or closed without a reset."""
_LINGER: Final = 2.0
"""Seconds for a client to read an answer that came before its request had ended (RFC 9112, section 9.6)."""
_LAST_REQUEST_GRACE: Final = 0.5
"""Seconds that a connection of a draining server has for a request: its bytes may have arrived already, unread."""
_UNFINISHED: Final = "an exchange could not be ended as it should"


class State(Enum):
    """What a connection is doing; it goes down this list, and from an exchange back to reading the next head."""

    READING_HEAD = "between requests, or in the middle of a head"
    EXCHANGE = "a request or its response is under way"
    TUNNEL = "another protocol is spoken"
    LINGERING = "answered; what the client still sends is read and dropped"
    CLOSING = "what was written is being sent"
    CLOSED = "gone"


class BodyMode(Enum):
    """How the response's body is delimited."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunks"
    UNTIL_CLOSE = "the connection ends behind it"
    RAW = "the bytes of a tunnel"


READING_HEAD, _EXCHANGE, _TUNNEL, _LINGERING, _CLOSING, _CLOSED = State
_BODILESS, _LENGTH, _CHUNKED, _TO_CLOSE, _RAW = BodyMode


class _Nobody:
    """A closed connection's receiver."""

    def _ignore(self, *what: object) -> None:
        """Do nothing."""

    body_received = body_ended = body_failed = pause_writing = resume_writing = going_away = finished = _ignore


_NOBODY: Final = _Nobody()


class HttpServer(Frontend):
    """What all connections of a worker share; a call creates the protocol of a new one."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        deadlines: Deadlines,
        turn: Turn,
        loop: asyncio.AbstractEventLoop,
        noted: frozenset[bytes] = frozenset(),
        passes: Callable[[bytes], bool] | None = None,
    ) -> None:
        super().__init__(handler, limits, deadlines, turn, loop, noted, passes)
        self.forms = RequestForms()

    def change(self, limits: Limits, passes: Callable[[bytes], bool] | None = None) -> None:
        self.forms = self.forms.renewed()  # they are made of heads that were allowed
        super().change(limits, passes)

    def __call__(self) -> ServerConnection:
        return ServerConnection(self)


class ServerConnection(TurnProtocol):
    """One client connection, and the `Stream` of the exchange that runs on it.

    `origin` is its source, if a PROXY header gave one; `handler` what receives its requests, in place of the server's.
    """

    # fmt: off
    __slots__ = (
        # as long as the connection
        "advancing", "buffer", "client", "deadline", "half_close", "handler", "heads", "origin", "planned",
        "reading_paused", "yielding", "server", "state", "unsent", "wakes", "writing_paused",
        # as long as an exchange
        "awaits_continue", "body_limit", "body_since", "bytes_in", "bytes_out", "decoder", "head_begun", "head_start",
        "keep_alive", "left", "mode", "paused_at", "receiver", "request", "request_done", "response_done",
        "response_started", "scanned",
    )
    # fmt: on

    client: Client
    receiver: Receiver

    def __init__(self, server: HttpServer, origin: Origin | None = None, handler: Handler | None = None) -> None:
        super().__init__(server.turn)
        self.server = server
        self.handler = handler or server.handler
        self.origin = origin
        self.state = READING_HEAD
        self.buffer = b""
        self.deadline = NEVER
        self.wakes = NEVER
        self.advancing = self.planned = False
        self.half_close: HalfClose | None = None
        self.reading_paused = self.yielding = self.writing_paused = False
        self.unsent = 0
        self.request: RequestHead | None = None
        self.heads = RequestHeads()
        self._reset()

    def _reset(self) -> None:
        """Forget an exchange; one that ended in the usual way leaves nothing to forget."""
        self.decoder: ChunkedDecoder | None = None
        self.keep_alive = False
        self.request_done = True
        self.response_started = self.response_done = self.awaits_continue = False
        self.mode = _BODILESS
        self.head_begun = False
        self.head_start = -1
        self.left = self.bytes_in = self.bytes_out = self.scanned = 0
        self.body_since = self.paused_at = 0.0

    # ---- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self.begin_connection(transport)
        except FAULTS:
            contain(self)

    def begin_connection(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client, or refuse it."""
        self.client = client_at(transport, self.origin)
        server = self.server
        error = server.admit(self)
        if error is not None:
            self.refuse(error, b"")
            return
        timeout = _LAST_REQUEST_GRACE if server.draining else server.limits.header_timeout
        server.deadlines.set(self, time.monotonic() + timeout)

    def process(self, data: bytes, now: float) -> None:
        """Take what was read."""
        if self.state is READING_HEAD and not self.writing_paused:
            if not self.buffer and self._begin_again(data, now):
                return
            self.buffer = self.buffer + data if self.buffer else data
            if self.planned:
                self._hold_back()
            else:
                self._advance()
        elif self.state is _EXCHANGE and not self.request_done:
            if len(data) >= LARGE_READ:
                self._yield_turn()
            self._take_body(data)
        elif self.state is _TUNNEL:
            if len(data) >= LARGE_READ:
                self._yield_turn()
            self.bytes_in += len(data)
            self.receiver.body_received(data)
        elif self.state in (READING_HEAD, _EXCHANGE):  # pipelined: it waits for the earlier ones
            self.buffer += data
            self._hold_back()
        else:
            self.left -= len(data)
            if self.left < 0:
                self.transport.abort()

    def eof_received(self) -> bool:
        self.turn.settle(self)
        try:
            return self._end_of_client()
        except FAULTS:
            contain(self)
            return False

    def _end_of_client(self) -> bool:
        """The client has closed its side: whether the connection stays open for an answer."""
        self.half_close = half_close = HalfClose()
        if self.state is _TUNNEL:
            self.receiver.body_ended()
            return self.transport.can_write_eof()  # TLS cannot close one direction only
        if self.state is READING_HEAD:
            self._close()  # what was answered in this turn still has to be written
        if self.state is not _EXCHANGE or not self.request_done:
            self.write_out()
            return False
        self.keep_alive = self.keep_alive and bool(self.buffer)  # requests that it has sent are answered
        wait = half_close.begin(self)
        if not self.writing_paused:
            self.server.deadlines.set(self, time.monotonic() + wait)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.turn.settle(self)
        state, self.state = self.state, _CLOSED
        self.keep_alive = False
        try:
            self.server.release(self)
            if state in (_EXCHANGE, _TUNNEL) and not self.response_done:
                self._finish("client_closed")
            self.server.deadlines.forget(self)
        except FAULTS:
            contain(self)
        self.receiver = _NOBODY  # breaks the cycle of exchange and stream, which only a collection would free

    def _hold_back(self) -> None:
        """Pause reading from a client that sends requests faster than they are answered."""
        if len(self.buffer) > _PIPELINE_BUFFER and not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()

    def _yield_turn(self) -> None:
        """Serve other connections before this client is read from again."""
        if not self.yielding and not self.transport.is_closing():
            self.yielding = True
            self.transport.pause_reading()
            self.server.loop.call_soon(self._resume_turn)

    def _resume_turn(self) -> None:
        self.yielding = False
        if self.reading_paused:
            return
        if self.decoder is not None and self.decoder.has_more and self.state is _EXCHANGE and not self.request_done:
            try:
                self._take_body(b"")
            except FAULTS:
                contain(self)
        if not self.yielding and not self.reading_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.unsent = unsent_bytes(self.transport)
        self.server.deadlines.set(self, time.monotonic() + self.server.limits.body_timeout)
        if self.is_running:
            try:
                self.receiver.pause_writing()
            except FAULTS:
                contain(self)

    def resume_writing(self) -> None:
        self.writing_paused = False
        try:
            if self.state in (_EXCHANGE, _TUNNEL):
                self._expect_body()
                if not self.response_done:
                    self.receiver.resume_writing()
            elif self.state is READING_HEAD:
                self._await_request()
        except FAULTS:
            contain(self)

    def deadline_passed(self) -> None:
        if self.writing_paused and self._is_taking():
            self.server.deadlines.set(self, time.monotonic() + self.server.limits.body_timeout)
        elif self.state is _EXCHANGE:
            self._exchange_stalled()
        elif self.state is _TUNNEL:
            self._break_off("client_stalled")
        elif self.writing_paused:
            self.transport.abort()
        elif self.state is READING_HEAD and self.buffer:
            self.refuse(MessageError("request_timeout", "the request's head did not arrive in time"), self.buffer)
        elif self.state is READING_HEAD or (self.state is _LINGERING and self.mode is _RAW):
            self._close()
        else:
            self.transport.abort()

    def _is_taking(self) -> bool:
        """Whether a client that has to read has read anything since the last call.

        The kernel wakes a writer only when it has sent a large part of megabytes, which takes a slow client minutes.
        """
        before, self.unsent = self.unsent, unsent_bytes(self.transport)
        return before - self.unsent >= _LEAST_READ

    def _exchange_stalled(self) -> None:
        if self.writing_paused:
            self._break_off("client_stalled")
        elif self.response_done:
            self._close()
        elif not self.request_done:
            self._fail_body(MessageError("request_timeout", "the request's body did not arrive in time"))
        elif self.half_close is None:
            pass  # the service has to send next
        elif self.half_close.is_gone(self):
            self._break_off("client_closed")
        else:
            self.server.deadlines.set(self, time.monotonic() + self.half_close.wait(self))

    # ---- reading requests

    def _begin_again(self, data: bytes, now: float) -> bool:
        """Begin a request that is all of `data`, or its beginning, and has the fields of an earlier one.

        False for anything else, which is then read field by field.
        """
        server, heads = self.server, self.heads
        limits = server.limits
        request = heads.find(data, server.forms)
        if request is None:
            return False
        size = len(data)
        if request.framing:
            if request.framing > limits.body_size:
                return False
            size = len(request.method) + len(request.target) + len(request.tail) + 2
        if size > limits.header_size or size > limits.url_length:
            return False
        if request is not heads.latest:
            heads.add(request)
            self.request = request
        if request.framing:
            self.buffer = data[size:]
            self._begin(request, now)
            return True
        self.state = _EXCHANGE
        self.keep_alive = request.keep_alive and not server.draining
        server.in_flight += 1
        self.handler.begin(self, request, b"", now)
        return True

    def forget_heads(self) -> None:
        """Read the next request field by field: what was allowed before may not be allowed now."""
        self.heads.forget()

    def _advance(self) -> None:
        """Begin what is in the buffer, request after request: a later one waits for the response before it."""
        self.planned = False
        if self.advancing:
            return
        self.advancing = True
        turn = _PIPELINE_TURN
        try:
            while self.buffer and self.state is READING_HEAD and not self.writing_paused:
                if not turn:
                    self._advance_later()
                    break
                turn -= 1
                if not self._read_head():
                    break
        except FAULTS:
            contain(self)
        finally:
            self.advancing = False

    def _advance_later(self) -> None:
        if not self.planned:
            self.planned = True
            self._hold_back()
            self.server.loop.call_soon(self._advance)

    def _read_head(self) -> bool:
        """Take one head from the buffer and begin its exchange; False where it is not complete."""
        server, buffer = self.server, self.buffer
        limits = server.limits
        if buffer[0] == 13 and not self.scanned:  # RFC 9112, section 2.2: empty lines before a request are skipped
            buffer = self.buffer = without_empty_lines(buffer)
        line = buffer.find(b"\r\n")
        end = buffer.find(b"\r\n\r\n", self.scanned)
        if end < 0 or end > limits.header_size:
            error = limits.broken_by(buffer, end)
            if error is not None:
                self.refuse(error, buffer)
                return True
            if end < 0:
                self._await_head(buffer)
                return False
        try:
            count, length = limits.header_count, limits.url_length
            line_of_it, block = buffer[:line], buffer[line + 2 : end]
            request = parse_request_head(line_of_it, block, count, length, server.noted, server.passes)
        except MessageError as refused:
            self.refuse(refused, buffer[: end + 2])
            return True
        except AsideError:
            self._read_aside(line_of_it, block, end)
            return True
        request.tail = buffer[line - len(b"HTTP/1.1") : end + 4]
        self.heads.add(request)
        server.forms.learn(request)
        self.buffer = buffer[end + 4 :]
        self.head_begun = False
        self.scanned = 0
        self._begin(request, time.monotonic())
        return True

    def _read_aside(self, line: bytes, block: bytes, end: int) -> None:
        """Begin a request of whose fields some are for the handler alone: it is read, and gone by, without them."""
        server, limits, buffer = self.server, self.server.limits, self.buffer
        aside: list[bytes] = []
        others: list[bytes] = []
        for each in block.split(b"\r\n"):
            (aside if is_aside(each.partition(b":")[0].lower()) else others).append(each)
        count, length = limits.header_count - len(aside), limits.url_length
        try:
            for each in aside:
                name_of(each)
            request = parse_request_head(line, b"\r\n".join(others), count, length, server.noted, server.passes)
        except (MessageError, ValueError) as error:
            refused = error if isinstance(error, MessageError) else diagnosed(line + b"\r\n" + block)
            self.refuse(refused, buffer[: end + 2])
            return
        request.tail = b""
        self.heads.latest = None  # this request is not it
        self.buffer = buffer[end + 4 :]
        self.head_begun = False
        self.scanned = 0
        handler = self.handler
        if isinstance(handler, ToldAside):
            self.handler = handler.beside(aside)
        try:
            self._begin(request, time.monotonic())
        finally:
            self.handler = handler

    def _await_head(self, buffer: bytes) -> None:
        self._read_on()
        start, self.scanned = self.scanned, max(0, len(buffer) - 3)
        if is_hopeless(buffer, start):
            self.refuse(diagnosed(buffer), buffer)
        elif self.half_close is not None:
            self._close()
        elif buffer and not self.head_begun:  # its first bytes: from here its timeout runs, however slowly they arrive
            self.head_begun = True
            self.server.deadlines.set(self, time.monotonic() + self.server.limits.header_timeout)

    def _begin(self, request: RequestHead, now: float) -> None:
        server = self.server
        self.receiver = _NOBODY  # until the handler sets one: the last exchange is over
        self.state = _EXCHANGE
        self.request = request
        self.keep_alive = request.keep_alive and not server.draining
        size = request.framing
        if self.half_close is not None and not self._begin_after_end(size, now):
            return
        server.in_flight += 1
        self.body_limit = limit = server.limits.body_size
        if size > limit:
            self.body_limit = limit = self.handler.body_limit(request) or limit
            if size > limit:
                self._begin_too_large(request, now)
                return
        if 0 <= size <= len(self.buffer):
            content, self.buffer = self.buffer[:size], self.buffer[size:]
            self.bytes_in = size
            self.handler.begin(self, request, content, now)  # the idle deadline may pass meanwhile, without effect
            return
        self.request_done = False
        self.body_since = self.paused_at = now
        if request.framing == CHUNKED:
            self.decoder = ChunkedDecoder("malformed_request")
        else:
            self.left = request.framing
        self.awaits_continue = request.expects_continue and not self.buffer
        self._expect_body()
        self.handler.begin(self, request, b"", now)
        if self.buffer and not self.request_done and self.state is _EXCHANGE:
            data, self.buffer = self.buffer, b""
            self._take_body(data)

    def _begin_after_end(self, size: int, now: float) -> bool:
        """Begin one of the requests after which the client closed its side; False where that cut it off."""
        if size == CHUNKED or size > len(self.buffer):
            self._close()
            return False
        self.keep_alive = self.keep_alive and size < len(self.buffer)
        self.half_close = HalfClose()
        self.server.deadlines.set(self, now + FIRST_LOOK)
        return True

    def _begin_too_large(self, request: RequestHead, now: float) -> None:
        """Begin an exchange that ends with 413 at the latest; none of its content is passed on."""
        self.keep_alive = self.request_done = False
        self.body_since = self.paused_at = now
        self.left = request.framing
        self.awaits_continue = request.expects_continue and not self.buffer
        self.buffer = b""
        self._expect_body()
        self.handler.begin_refused(self, request, self._too_large(), now)

    def _too_large(self) -> MessageError:
        return MessageError("body_too_large", f"the body is larger than {self.body_limit} bytes")

    def _expect_body(self) -> None:
        """Set the deadline for the client's next action."""
        if self.state is _TUNNEL and self.writing_paused:
            return  # it has to read: that deadline stays
        if self.state is _TUNNEL:
            deadline = NEVER  # the tunnel's receiver has its own idle timeout
        elif not self.request_done and not self.reading_paused and not self.awaits_continue:
            deadline = self._body_deadline()
        elif self.half_close is not None:
            deadline = time.monotonic() + self.half_close.grace
        else:
            deadline = NEVER
        self.server.deadlines.set(self, deadline)

    def _body_deadline(self) -> float:
        """When the next piece of the request has to arrive, so that pauses and the overall rate are within limits."""
        limits = self.server.limits
        deadline = time.monotonic() + limits.body_timeout
        if not limits.body_rate:
            return deadline
        return min(deadline, self.body_since + limits.body_timeout + self.bytes_in / limits.body_rate)

    def _take_body(self, data: bytes) -> None:
        if self.decoder is None:
            if len(data) > self.left:
                self.buffer = data[self.left :]
                data = data[: self.left]
            self.left -= len(data)
            self.request_done = not self.left
        else:
            try:
                data = self.decoder.feed(data)
            except MessageError as error:
                self._fail_body(error)
                return
            if self.decoder.done:
                self.request_done = True
                self.buffer = self.decoder.rest
            elif self.decoder.has_more:
                self._yield_turn()
        self.bytes_in += len(data)
        if self.bytes_in > self.body_limit:
            self._fail_body(self._too_large())
            return
        if not self.writing_paused:
            self._expect_body()
        if self.response_done:
            self._discarded()
            return
        receiver = self.receiver
        if data:
            receiver.body_received(data)
        if self.request_done and self.state is _EXCHANGE and not self.response_done:
            receiver.body_ended()

    def _discarded(self) -> None:
        """More of a request arrived after its response: its end frees the connection, too much of it closes it."""
        if self.request_done:
            self._next()
        elif self.bytes_in > _DISCARD_LIMIT:
            self._linger()

    def _fail_body(self, error: MessageError) -> None:
        self.keep_alive = False
        self.server.deadlines.set(self, NEVER)
        if self.response_done:
            self._linger()
        elif self.response_started:
            self._break_off(error.reason)
        else:
            self.receiver.body_failed(error)

    def refuse(self, error: MessageError, seen: bytes) -> None:
        """Answer bytes that are not a request, and close."""
        self._reset()
        self.receiver = _NOBODY
        self.request = self.heads.latest = None
        self.buffer = b""
        self.state = _EXCHANGE
        self.request_done = False
        self.server.in_flight += 1
        self.server.deadlines.set(self, NEVER)
        self.handler.refuse(self, error, seen)

    # ---- the handler's calls: Stream

    def read_body(self) -> None:
        if self.awaits_continue:
            self.awaits_continue = False
            self.put(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.body_since = time.monotonic()  # nothing was expected until now
            self._expect_body()

    def pause_reading(self) -> None:
        if not self.reading_paused and not self.request_done and not self.transport.is_closing():
            self.reading_paused = True
            self.paused_at = time.monotonic()
            self.transport.pause_reading()
            self._expect_body()

    def resume_reading(self) -> None:
        if self.reading_paused:
            self.reading_paused = False
            self.body_since += time.monotonic() - self.paused_at  # that the service is slow is not the client's fault
            if self.decoder is not None and self.decoder.has_more:
                self._yield_turn()
            elif not self.transport.is_closing():
                self.transport.resume_reading()
            self._expect_body()

    def send_interim(self, status: int, phrase: bytes, lines: list[bytes]) -> None:
        if self.takes_interim():
            self.put(b"\r\n".join((status_line(status, phrase), *lines, b"", b"")))

    def takes_interim(self) -> bool:
        """Whether an interim response may be sent now: behind a final one it may not, and HTTP/1.0 has none."""
        return not self.response_started and self.request is not None and self.request.version == 11

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        self.response_started = True
        self.has_written = False
        self.head_start = len(self.outgoing)
        old = self.request is not None and self.request.version == 10
        head = [status_line(status, phrase), *lines]
        if framing == TUNNEL:
            self._open_tunnel(head)
            return
        if framing > 0:
            self.mode = _LENGTH
        elif framing == 0:
            self.mode = _BODILESS
        elif old:
            self.mode = _TO_CLOSE
            self.keep_alive = False
        else:
            self.mode = _CHUNKED
            head.append(b"Transfer-Encoding: chunked")
        if not self.request_done and (self.awaits_continue or self.decoder or self.left > _DISCARD_LIMIT):
            self.keep_alive = False
        if self.server.draining:
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"Connection: close")
        elif old:
            head.append(b"Connection: keep-alive")
        head += (b"", b"")
        self.put(b"\r\n".join(head))

    def _open_tunnel(self, head: list[bytes]) -> None:
        """The upgrade is accepted: from here on the connection carries another protocol."""
        self.put(b"\r\n".join((*head, b"Connection: Upgrade", b"", b"")))
        self.state = _TUNNEL
        self.mode = _RAW
        self.keep_alive = self.request_done = False
        self.server.tunnels += 1
        self._expect_body()
        if self.buffer:  # the client did not wait for the 101
            data, self.buffer = self.buffer, b""
            self.bytes_in += len(data)
            self.receiver.body_received(data)
        self.resume_reading()
        if self.half_close is not None:
            self.receiver.body_ended()
        if self.server.draining:
            self.receiver.going_away()

    def send_body(self, data: bytes) -> None:
        self.bytes_out += len(data)
        if self.mode is _CHUNKED:
            for piece in encode_chunk(data):
                self.put(piece)
        elif self.mode is not _BODILESS:
            self.put(data)

    def sink(self) -> Sink | None:
        is_free = self.mode is _LENGTH and not self.outgoing and self.has_caught_up()
        return self if is_free and not self.transport.is_closing() else None

    def body_moved(self, size: int, rest: bytes) -> None:
        """The kernel spliced content into this socket, except for the `rest`."""
        self.bytes_out += size
        if rest:
            self.is_direct = False
            self.transport.write(rest)

    @property
    def trailers(self) -> Sequence[bytes]:
        return self.decoder.trailers if self.decoder is not None else ()

    def end(self, trailers: Sequence[bytes] = ()) -> None:
        if self.mode is _CHUNKED:
            self.put(last_chunk(trailers))
        self._finish(None)
        try:
            if self.state is _TUNNEL and self.half_close is None:
                self._linger()
            elif self.state is _TUNNEL:
                self._close()
            elif self.state is not _EXCHANGE:
                return
            elif self.request_done:
                if self.keep_alive:
                    self._next()
                else:
                    self._close()
            elif self.keep_alive:
                self.resume_reading()
            else:
                self._linger()
        except FAULTS:  # the exchange is over: its owner is not affected
            contain(self)

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:
        server, is_usual = self.server, self.heads.latest is not None and not self.body_since
        if not self.keep_alive or server.draining or not (is_usual or self._is_ordinary()):
            *head, _, content = pieces
            line, *lines = b"".join(head).split(b"\r\n")
            self.send_head(status, line[STATUS_PHRASE:], lines, framing)
            if content:
                self.send_body(content)
            self.end()
            return
        self.bytes_out = size = len(pieces[-1])
        if framing == CHUNKED:
            *head, _, content = pieces
            pieces = (*head, b"\r\nTransfer-Encoding: chunked\r\n\r\n", *encode_whole(content))
        if size < LARGE:
            self.gather(b"".join(pieces))
        else:
            self.response_started = True  # in case the write below fails
            self.gather(b"".join(pieces[:-1]))
            self.put(pieces[-1])
            self.response_started = False
        if not is_usual or self.buffer or self.writing_paused or self.reading_paused:
            self.response_started = True
            self._finish(None)
            try:
                self._next(now)
            except FAULTS:  # the exchange is over: its owner is not affected
                contain(self)
            return
        server.in_flight -= 1
        self.state = READING_HEAD
        try:
            self.receiver.finished(None)
        except FAULTS:
            logger.exception(_UNFINISHED)
        self.bytes_in = self.bytes_out = 0
        self.deadline = deadline = now + server.limits.idle_timeout
        if deadline < self.wakes:
            try:
                server.deadlines.set(self, deadline)
            except FAULTS:
                contain(self)

    def _is_ordinary(self) -> bool:
        """Whether a whole response needs only its content's length for the connection to be kept open."""
        return self.request_done and self.request is not None and self.request.version == 11

    def take_back(self) -> bool:
        if self.head_start < 0 or self.response_done or self.has_written or self.state is not _EXCHANGE:
            return False
        self.outgoing = self.outgoing[: self.head_start]  # earlier responses, and what was sent before the head
        self.response_started = False
        self.head_start = -1
        self.mode = _BODILESS
        self.bytes_out = 0
        return True

    def abort(self, reason: str) -> None:
        if self.is_running:
            self._break_off(reason)

    def close_if_idle(self) -> None:
        """Close a connection that waits for another request; one that has not sent its first yet gets a moment more.

        A tunnel would never be idle: it is notified.
        """
        if self.state is _TUNNEL and not self.response_done:
            self.receiver.going_away()
        elif self.state is READING_HEAD and not self.buffer:
            if self.request is not None:
                self._close()
            else:
                self.server.deadlines.set(self, time.monotonic() + _LAST_REQUEST_GRACE)

    def close_after_exchange(self) -> bool:
        if not self.keep_alive or self.state is not _EXCHANGE or self.response_started or self.buffer:
            return False
        self.keep_alive = False
        return True

    def cut(self) -> None:
        """The server stops: end what has not ended by itself; a request without a response gets one that says so."""
        if self.is_running and not self.response_started:
            self._fail_body(MessageError("drain_timeout", "the gateway is restarting; send the request again"))
        self.abort("drain_timeout")
        if self.response_done:
            self.write_out()
        else:
            self.transport.abort()

    # ---- ends

    @property
    def is_running(self) -> bool:
        """Whether there is an exchange whose end is still to come."""
        return self.state in (_EXCHANGE, _TUNNEL) and not self.response_done

    @property
    def is_streaming(self) -> bool:
        """Whether a response has begun that may go on for ever."""
        return self.is_running and self.response_started and self.mode in (_CHUNKED, _TO_CLOSE)

    def _finish(self, failure: str | None) -> None:
        """The exchange is over: every outcome passes here once."""
        if self.response_done:
            return  # a fault kept whoever answers from noticing
        self.response_done = True
        self.server.in_flight -= 1
        if self.mode is _RAW:
            self.server.tunnels -= 1
        try:
            self.receiver.finished(failure)
        except FAULTS:  # the connection may still be kept open
            logger.exception(_UNFINISHED)

    def _next(self, now: float = 0.0) -> None:
        """The connection is free for another request."""
        if self.half_close is not None and not self.buffer:
            self._close()
            return
        self.state = READING_HEAD
        self._reset()
        if not self.writing_paused:
            self._await_request(now)

    def _await_request(self, now: float = 0.0) -> None:
        """Take up the next request: from the buffer, or from the client within the idle timeout.

        Where the response began before the server drained, the client does not know yet that it was the last.
        """
        server = self.server
        timeout = _LAST_REQUEST_GRACE if server.draining else server.limits.idle_timeout
        self.deadline = deadline = (now or time.monotonic()) + timeout
        if deadline < self.wakes:
            server.deadlines.set(self, deadline)
        if self.reading_paused and len(self.buffer) <= _PIPELINE_BUFFER:
            self._read_on()
        if self.buffer and not self.advancing:
            self._advance_later()

    def _read_on(self) -> None:
        """Resume reading that pipelining has paused; before the buffer has shrunk, each request would let it grow."""
        if self.reading_paused and not self.transport.is_closing():
            self.reading_paused = False
            self.transport.resume_reading()

    def _break_off(self, reason: str) -> None:
        """Abort an exchange in the middle of its response, so that no client can take it as complete."""
        if self.mode is _TO_CLOSE:
            reset_on_close(self.transport)
        self.write_out()  # what was right before
        self._finish(reason)
        self.state = _CLOSING
        self.transport.abort()

    def faulted(self) -> None:
        """End the connection, and the exchange that runs on it."""
        super().faulted()
        is_running = self.is_running
        self.state = _CLOSING
        if is_running:
            self._finish("internal_error")

    def _linger(self) -> None:
        """Close once the client has had time to read the answer while its request is still under way.

        Through a tunnel it may be sending a message of any size when the service has ended its side.
        """
        self.state = _LINGERING
        is_tunnel = self.mode is _RAW
        self.left = sys.maxsize if is_tunnel else _DISCARD_LIMIT
        timeout = self.server.limits.body_timeout if is_tunnel and self.writing_paused else _LINGER
        self.server.deadlines.set(self, time.monotonic() + timeout)
        if self.reading_paused:
            self.reading_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.write_out()
            self.transport.write_eof()
        else:
            self._close()

    def _close(self) -> None:
        """Close when all that was written is sent, but not after the timeout of a stalled client."""
        self.state = _CLOSING
        self.left = _DISCARD_LIMIT
        self.server.deadlines.set(self, time.monotonic() + self.server.limits.body_timeout)
        self.write_out()
        self.transport.close()
