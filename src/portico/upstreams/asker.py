"""Questions of the gateway's own to a service, over connections that are kept: one request, one whole response."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from portico.core.errors import UpstreamError
from portico.core.exchange import Sink
from portico.core.messages import ResponseHead
from portico.core.questions import Question, Reply, UnansweredError
from portico.upstreams.instance import Instance
from portico.upstreams.service import Timeouts
from portico.wire.http1.client import UpstreamConnection

MOST: Final = 1024
"""Questions of one worker that may be under way at once; further ones are not asked."""
ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer: a page that says why not has fewer, and what is decided by longer ones is not this."""


class Receiving:
    """Collects one response, a `ResponseReceiver`; `reply` is done once it is whole, or will not be."""

    __slots__ = ("_content", "_head", "_size", "reply")

    _head: ResponseHead

    def __init__(self, reply: asyncio.Future[Reply]) -> None:
        self.reply = reply
        self._content: list[bytes] = []
        self._size = 0

    def response_interim(self, head: ResponseHead) -> None:
        """It decides nothing."""

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:  # noqa: ARG002
        """Decline: step by step is simpler."""
        return False

    def response_started(self, head: ResponseHead) -> None:
        self._head = head
        self._check_size(head.framing)

    def response_body(self, data: bytes) -> None:
        self._size += len(data)
        self._content.append(data)
        self._check_size(self._size)

    def _check_size(self, size: int) -> None:
        if size > ANSWER_LIMIT:
            self._content.clear()
            self._fail(UpstreamError("protocol", f"its answer has more than {ANSWER_LIMIT} bytes"))

    def response_sink(self) -> Sink | None:
        return None

    def response_ended(self) -> None:
        if not self.reply.done():
            head = self._head
            self.reply.set_result(Reply(head.status, head.fields, head.hop_by_hop, b"".join(self._content)))

    def upstream_failed(self, error: UpstreamError) -> None:
        self._fail(error)

    def response_faulted(self) -> None:
        self._fail(UpstreamError("reset", "the gateway failed on its answer"))

    def _fail(self, error: UpstreamError) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)

    def upstream_silent(self) -> None:
        """It is waited for."""

    def upstream_pause_writing(self) -> None:
        """All of the question was given to the connection."""

    def upstream_resume_writing(self) -> None:
        """The same."""


class InstanceAsker:
    """Asks one instance: an `Asker`. A question may be asked twice, where a kept connection had just been closed."""

    def __init__(self, instance: Instance, timeout: float) -> None:
        self._instance = instance
        self._timeouts = Timeouts(timeout, timeout, timeout, timeout, silence=timeout)

    async def __call__(self, question: Question) -> Reply:
        trace = getattr(question.exchange, "trace", None)
        if trace is None or not trace.is_recorded:
            return await self._ask(question)
        span = trace.begin_question(question, self._instance)
        try:
            reply = await self._ask(question._replace(lines=[*question.lines, span.line]))
            span.status = reply.status
        except UnansweredError as error:
            span.error = error.__cause__.reason if isinstance(error.__cause__, UpstreamError) else "overloaded"
            raise
        finally:
            span.is_over()
        return reply

    async def _ask(self, question: Question) -> Reply:
        instance = self._instance
        if instance.in_flight >= MOST:
            raise UnansweredError(f"{MOST} questions wait for its answers already")
        until = time.monotonic() + self._timeouts.response
        head = self._head(question)
        instance.in_flight += 1
        try:
            return await self._answer(question.method, head, until)
        except UpstreamError as error:
            raise UnansweredError(error.cause or str(error)) from error
        finally:
            instance.in_flight -= 1

    def _head(self, question: Question) -> bytes:
        """The request, with its content."""
        lines = question.lines
        if question.content:
            lines = [*lines, b"Content-Length: %d" % len(question.content)]
        start = b"".join((question.method, b" ", question.target, self._instance.line_end))
        return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + question.content

    async def _answer(self, method: bytes, head: bytes, until: float) -> Reply:
        instance = self._instance
        connection = instance.take(only_once=False)
        if connection is not None:
            try:
                return await self._ask_over(connection, method, head, until)
            except UpstreamError as error:
                if error.phase != "reset" or connection.received:
                    raise
        connection = await instance.connect(max(0.001, until - time.monotonic()))
        return await self._ask_over(connection, method, head, until)

    async def _ask_over(self, connection: UpstreamConnection, method: bytes, head: bytes, until: float) -> Reply:
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            connection.start_whole(Receiving(reply), method, head, self._timeouts, time.monotonic(), until)
            answer = await reply
        except BaseException:  # nobody waits any more, too
            connection.close()
            raise
        if connection.is_reusable():
            self._instance.give_back(connection)
        else:
            connection.close()
        return answer
