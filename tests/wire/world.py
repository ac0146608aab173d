"""A fake world for the wire: a loop turned by hand, a transport that keeps what is written, receivers that record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, cast

from portico.core.errors import REASONS, MessageError, UpstreamError
from portico.core.exchange import Stream
from portico.core.messages import RequestHead, ResponseHead
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.client import UpstreamConnection
from portico.wire.http1.request_forms import RequestForms
from portico.wire.http1.response_forms import ResponseForms
from portico.wire.http1.response_heads import ResponseHeads
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.turn import Turn
from support.hand_transport import HandTransport


def splits(data: bytes) -> Iterator[list[bytes]]:
    """The data whole, cut in two at every position, and byte by byte."""
    yield [data]
    for position in range(1, len(data)):
        yield [data[:position], data[position:]]
    yield [data[index : index + 1] for index in range(len(data))]


class FakeTimer:
    """What `call_later` gives back."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Runs what was put off on command; time never passes."""

    def __init__(self) -> None:
        self.ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.timers: list[FakeTimer] = []

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(callback)
        self.timers.append(timer)
        return timer

    def run(self) -> None:
        while self.ready:
            callback, args = self.ready.pop(0)
            callback(*args)

    def as_loop(self) -> asyncio.AbstractEventLoop:
        return cast(asyncio.AbstractEventLoop, self)


class FakeTransport(HandTransport):
    """Keeps what is written; reports a loss to its protocol on the loop's next turn, as real ones do."""

    def __init__(self, loop: FakeLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("192.0.2.7", 40000), "sockname": ("192.0.2.1", 8000)})
        self.loop = loop
        self.protocol = protocol
        self.sent = b""
        self.aborted = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written
        self.sent += bytes(data)

    @property
    def written(self) -> bytes:
        """What has been written by the end of the loop's turn."""
        self.loop.run()
        return self.sent

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Wire:
    """One end's bytes on their way to a protocol; they are lost once it closed."""

    def __init__(self, loop: FakeLoop, protocol: asyncio.Protocol) -> None:
        self.loop = loop
        self.protocol = protocol
        self.transport = FakeTransport(loop, protocol)
        protocol.connection_made(self.transport)
        loop.run()

    def feed(self, pieces: list[bytes]) -> None:
        """Deliver pieces as single reads."""
        for piece in pieces:
            self.loop.run()
            if self.transport.closing:
                return
            assert not self.transport.paused, "a reader that never resumes"
            self.protocol.data_received(piece)
        self.loop.run()

    def end(self, error: Exception | None = None) -> None:
        """The peer closes its side for good."""
        if not self.transport.closing:
            if error is None:
                self.protocol.eof_received()
            if not self.transport.closing:
                self.transport.closing = True
                self.protocol.connection_lost(error)
        self.loop.run()


# ---- the client's side


@dataclass
class Recorded:
    """What a server connection reported about one exchange."""

    stream: Stream
    request: RequestHead | None
    refused: MessageError | None = None
    pieces: list[bytes] = field(default_factory=list)
    ended: int = 0
    failures: list[MessageError] = field(default_factory=list)
    finishes: list[str | None] = field(default_factory=list)
    respond: Callable[[Recorded], None] | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def status(self) -> int | None:
        """The status of the error that the connection reported, if any."""
        error = self.refused or (self.failures[0] if self.failures else None)
        return None if error is None else REASONS[error.reason]

    def body_received(self, data: bytes) -> None:
        assert data
        assert not self.finishes, "content after the end"
        assert not self.ended, "content after its end"
        self.pieces.append(data)

    def body_ended(self) -> None:
        assert not self.finishes
        self.ended += 1
        if self.respond is not None:
            self.respond(self)

    def body_failed(self, error: MessageError) -> None:
        assert not self.finishes
        self.failures.append(error)
        say(self.stream, REASONS[error.reason], b"no")

    def pause_writing(self) -> None:
        assert not self.finishes

    def resume_writing(self) -> None:
        assert not self.finishes

    def going_away(self) -> None:
        assert not self.finishes

    def finished(self, failure: str | None) -> None:
        self.finishes.append(failure)


def decided(recorded: Recorded) -> object:
    """All that was found in a request's head as its client sent it, or why it was refused."""
    request = recorded.request
    if request is None:
        assert recorded.refused is not None
        return str(recorded.refused)
    fields, others = request.fields, ("fields", "known", "received", "tail")
    assert fields.shape is not None
    return [
        *(getattr(request, name) for name in RequestHead.__slots__ if name not in others),
        *(fields.names, fields.lines, fields.unnoted(), fields.passing()),
        *([fields.get(name), fields.once(name), fields.all(name)] for name in fields.names),
    ]


def say(stream: Stream, status: int, body: bytes) -> None:
    """A whole response."""
    stream.send_head(status, b"", [b"Content-Length: %d" % len(body)], len(body))
    if body:
        stream.send_body(body)
    stream.end()


def say_ok(recorded: Recorded) -> None:
    say(recorded.stream, 200, b"ok")


class RecordingHandler:
    """Keeps every exchange; answers as soon as a request is complete, or `early`, when its head has come.

    Bodies may be as `large` as that, where their requests say how large they are.
    """

    def __init__(self, respond: Callable[[Recorded], None] | None = say_ok, early: bool = False) -> None:
        self.large: int | None = None
        self.exchanges: list[Recorded] = []
        self.respond = respond
        self.early = early

    def begin(self, stream: Stream, request: RequestHead, content: bytes, now: float) -> None:
        recorded = Recorded(stream, copy(request), respond=self.respond)  # it may become the next one's
        stream.receiver = recorded
        self.exchanges.append(recorded)
        if content:
            assert len(content) == request.framing
            recorded.pieces.append(content)
            recorded.ended += 1
        if self.respond is not None and (self.early or content or request.framing == 0):
            self.respond(recorded)
        else:
            stream.read_body()

    def body_limit(self, request: RequestHead) -> int | None:
        return self.large

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:
        recorded = Recorded(stream, None, refused=error)
        stream.receiver = recorded
        self.exchanges.append(recorded)
        say(stream, REASONS[error.reason], b"no")

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        recorded = Recorded(stream, None, refused=error)
        stream.receiver = recorded
        self.exchanges.append(recorded)
        say(stream, REASONS[error.reason], b"no")


class ServerWorld:
    """A server connection between a fake client and a recording handler."""

    def __init__(
        self,
        limits: Limits | None = None,
        respond: Callable[[Recorded], None] | None = say_ok,
        connections: int = 1,
        early: bool = False,
    ) -> None:
        self.loop = FakeLoop()
        self.handler = RecordingHandler(respond, early)
        self.turn = Turn(self.loop.as_loop())
        self.deadlines = Deadlines(self.loop.as_loop(), self.turn)
        self.server = HttpServer(self.handler, limits or Limits(), self.deadlines, self.turn, self.loop.as_loop())
        self.server.forms = RequestForms(often=1, pause=0.0)
        self.wires = [self.connect() for _ in range(connections)]
        self.wire = self.wires[0]

    def connect(self) -> Wire:
        return Wire(self.loop, self.server())

    @property
    def connection(self) -> ServerConnection:
        return cast(ServerConnection, self.wire.protocol)

    @property
    def written(self) -> bytes:
        return self.wire.transport.written

    @property
    def exchanges(self) -> list[Recorded]:
        return self.handler.exchanges

    @property
    def begun(self) -> list[Recorded]:
        return [each for each in self.exchanges if each.request is not None]

    @property
    def is_ending(self) -> bool:
        """Whether the connection is closed, or its sending side is while the client may still read the answer."""
        return self.wire.transport.closing or self.wire.transport.eof_written


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(length: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (length, fields, body)


def held(data: bytes = b"", limits: Limits | None = None) -> ServerWorld:
    """A world whose handler answers nothing by itself, after `data` came."""
    world = ServerWorld(limits, respond=None)
    if data:
        world.wire.feed([data])
    return world


# ---- the service's side


@dataclass(frozen=True)
class Timeouts:
    silence: float = 30.0
    response: float = 30.0
    idle: float = 60.0


@dataclass
class Answered:
    """What an upstream connection reported about one exchange."""

    connection: UpstreamConnection
    interims: list[int] = field(default_factory=list)
    head: ResponseHead | None = None
    pieces: list[bytes] = field(default_factory=list)
    ends: int = 0
    errors: list[UpstreamError] = field(default_factory=list)
    reusable: bool | None = None
    signals: list[str] = field(default_factory=list)
    faults: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def is_over(self) -> bool:
        return bool(self.ends or self.errors)

    def response_interim(self, head: ResponseHead) -> None:
        assert self.head is None
        assert not self.is_over
        self.interims.append(head.status)

    def response_started(self, head: ResponseHead) -> None:
        assert self.head is None
        assert not self.is_over
        self.head = head

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        self.response_started(head)
        if content:
            self.response_body(content)
        self.ends += 1
        self.reusable = self.connection.free(head)
        assert self.reusable == self.connection.is_reusable()
        return True

    def response_body(self, data: bytes) -> None:
        assert data
        assert self.head is not None
        assert not self.is_over
        self.pieces.append(data)

    def response_sink(self) -> None:
        """Every piece is to be seen here."""

    def response_ended(self) -> None:
        assert self.head is not None
        assert not self.is_over
        self.ends += 1
        self.reusable = self.connection.is_reusable()

    def upstream_failed(self, error: UpstreamError) -> None:
        assert not self.is_over
        self.errors.append(error)

    def response_faulted(self) -> None:
        self.faults += 1

    def upstream_silent(self) -> None:
        self.signals.append("silent")

    def upstream_pause_writing(self) -> None:
        self.signals.append("pause")

    def upstream_resume_writing(self) -> None:
        self.signals.append("resume")


class UpstreamWorld:
    """An upstream connection to a fake service."""

    def __init__(self, heads: ResponseHeads | None = None) -> None:
        self.loop = FakeLoop()
        turn = Turn(self.loop.as_loop())
        self.deadlines = Deadlines(self.loop.as_loop(), turn)
        heads = ResponseHeads(forms=ResponseForms(often=1, pause=0.0)) if heads is None else heads
        self.connection = UpstreamConnection(self.deadlines, turn, heads)
        self.wire = Wire(self.loop, self.connection)

    def start(self, method: bytes = b"GET", chunked: bool = False, body_done: bool = True) -> Answered:
        """Send a request's head and, with `body_done`, all of it."""
        answered = Answered(self.connection)
        head = b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method
        self.connection.start(answered, method, head, chunked, Timeouts(), time.monotonic(), NEVER)
        if body_done:
            self.connection.end_body()
        self.loop.run()
        return answered
