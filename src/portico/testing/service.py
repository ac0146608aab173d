"""A service that answers as a test says and remembers what it received; it speaks HTTP by the gateway's own wire."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from portico.core.errors import MessageError, Refusal
from portico.core.exchange import Exchange, Receiver, Stream
from portico.core.header_map import Headers
from portico.core.messages import CHUNKED, RequestHead
from portico.core.tasks import background
from portico.policies.plugins.base import answer
from portico.proxy.answer import send_answer
from portico.testing.units import HeaderPairs, field_lines
from portico.wire.http1.grammar import WITHOUT_BODY


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answers: text is sent as UTF-8, mappings and lists as JSON.

    With `chunks` in place of a body it is sent piece by piece, each when it is there; the end of a body that `breaks`
    never comes: the connection is closed before it.
    """

    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] = b""
    headers: HeaderPairs = ()
    chunks: Iterable[bytes] | AsyncIterable[bytes] | None = None
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the service got it."""

    method: str
    target: str
    """The path with its query."""
    headers: Headers
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)


Script: TypeAlias = Callable[[Received], Reply | Awaitable[Reply]]
"""What a service answers to a request; it may be async."""


class Service:
    """A scripted service; `requests` are those that came, in order, once their bodies are complete.

    It answers 200 `ok` until a test says something else: a `Reply` in `script`, or a function from requests to replies.
    """

    def __init__(self) -> None:
        self.script: Reply | Script = Reply(200, "ok")
        self.requests: list[Received] = []

    def answer(
        self,
        status: int = 200,
        body: bytes | str | Mapping[str, Any] | list[Any] = b"",
        headers: HeaderPairs = (),
        *,
        chunks: Iterable[bytes] | AsyncIterable[bytes] | None = None,
        breaks: bool = False,
    ) -> None:
        """Answer this from now on; see `Reply`."""
        self.script = Reply(status, body, headers, chunks, breaks)

    async def reply_to(self, request: Received) -> Reply:
        """What is answered to a request, which is remembered."""
        self.requests.append(request)
        if isinstance(self.script, Reply):
            return self.script
        reply = self.script(request)
        return await reply if inspect.isawaitable(reply) else reply

    # ---- the wire's calls: Handler

    def begin(self, stream: Stream, request: RequestHead, content: bytes, now: float) -> None:  # noqa: ARG002
        """A request has come, perhaps without its body."""
        incoming = _Incoming(self, stream, request)
        stream.receiver = incoming
        if request.framing:
            stream.read_body()
        if content:
            incoming.body_received(content)
        if content or not request.framing:
            incoming.body_ended()

    def body_limit(self, request: RequestHead) -> int | None:
        """As others."""

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:  # noqa: ARG002
        """The gateway sent a body that is too large."""
        self.refuse(stream, error, b"")

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:  # noqa: ARG002
        """The gateway sent what is no request."""
        exchange = Exchange(stream, None, lambda *_: None)
        exchange.method, exchange.request_id = "-", "-"
        stream.receiver = exchange
        send_answer(exchange, Refusal(error.reason, error.detail))


class _Incoming(Receiver):
    """One request of the gateway's, and the response to it."""

    def __init__(self, service: Service, stream: Stream, request: RequestHead) -> None:
        self.service = service
        self.stream = stream
        self.method, self.target = request.method_name, request.target.decode("latin-1")
        self.headers = Headers([*request.fields.names], [*request.fields.lines])
        self.pieces: list[bytes] = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.is_over = False

    def body_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def body_ended(self) -> None:
        background(self._reply(), "a scripted service")

    def body_failed(self, error: MessageError) -> None:
        self.stream.abort(error.reason)

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def going_away(self) -> None:
        pass

    def finished(self, failure: str | None) -> None:  # noqa: ARG002
        self.is_over = True
        self.may_write.set()

    async def _reply(self) -> None:
        request = Received(self.method, self.target, self.headers, b"".join(self.pieces))
        try:
            reply = await self.service.reply_to(request)
            if not self.is_over:
                await self._send(reply)
        except BaseException:
            if not self.is_over:
                self.stream.abort("internal_error")
            raise

    async def _send(self, reply: Reply) -> None:
        whole = answer(reply.status, reply.body)
        lines = field_lines(reply.headers)
        if not any(line.lower().startswith(b"content-type:") for line in lines):
            lines += whole.lines
        if reply.chunks is None and not reply.breaks:
            self._send_whole(reply.status, lines, whole.body)
            return
        self.stream.send_head(reply.status, b"", lines, CHUNKED)
        async for piece in _each([whole.body] if reply.chunks is None else reply.chunks):
            await self.may_write.wait()
            if self.is_over:
                return
            if piece:
                self.stream.send_body(piece)
        if reply.breaks:
            self.stream.abort("internal_error")
        else:
            self.stream.end()

    def _send_whole(self, status: int, lines: list[bytes], body: bytes) -> None:
        if status not in WITHOUT_BODY:
            lines = [*lines, b"Content-Length: %d" % len(body)]
        content = b"" if self.method == "HEAD" else body
        head = b"\r\n".join((b"HTTP/1.1 %d " % status, *lines))
        self.stream.send_whole(status, (head, b"\r\n\r\n", content), len(content), time.monotonic())


async def _each(pieces: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterable[bytes]:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)  # each is sent by itself
