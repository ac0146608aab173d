"""An exchange that has to wait: for a policy's verdict, for a small body, or for a permit of its service's limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange
from portico.core.faults import FAULTS, contain
from portico.policies import Pending
from portico.policies.policy import WholeBody
from portico.proxy.answer import send_answer
from portico.proxy.routing.route import Forward
from portico.upstreams.limit import Limit

SMALL: Final = 32 * 1024
"""Bytes of a body that may be right behind its head."""
_KEPT: Final = 64 * 1024
"""Bytes of the body that are read meanwhile."""


class Waiting(Exchange):
    """The receiver while an exchange waits: buffers the part of the body that arrives meanwhile.

    The wait ends once: the exchange goes on with `start`, or is answered, or its client has left. Later events are
    ignored. `failed` is called with an exchange on which one of the two failed.
    """

    __slots__ = ("exchange", "failed", "has_begun", "is_complete", "kept", "over", "size", "start")

    def __init__(self, exchange: Exchange, start: Callable[[], None], failed: Callable[[Exchange], None]) -> None:
        self.exchange = exchange
        self.start = start
        self.failed = failed
        self.kept: list[bytes] = []
        self.size = 0
        self.is_complete = self.over = self.has_begun = False

    def body_received(self, data: bytes) -> None:
        """Buffer it. A paused client is not seen to leave, so reading is paused only when much has arrived."""
        self.kept.append(data)
        self.size += len(data)
        if self.size > _KEPT:
            self.exchange.stream.pause_reading()

    def body_ended(self) -> None:
        self.is_complete = True

    def body_failed(self, error: MessageError) -> None:
        self.answer(Refusal(error.reason, error.detail))

    def finished(self, failure: str | None) -> None:
        self.over = True
        try:
            self.end()
        finally:
            self.exchange.finished(failure)

    def go_on(self) -> None:
        """The exchange may go on; the next receiver gets the part of the body that arrived meanwhile."""
        if self.over:
            return
        self.over = True
        stream = self.exchange.stream
        try:
            self.end()
            stream.receiver = self.exchange
            stream.resume_reading()
            self.has_begun = True
            self.start()
            for data in self.kept:
                stream.receiver.body_received(data)
            if self.is_complete:
                stream.receiver.body_ended()
        except FAULTS:
            self._fail()

    def answer(self, answer: Answer) -> None:
        """The exchange goes no further."""
        if self.over:
            return
        self.over = True
        stream = self.exchange.stream
        try:
            self.end()
            stream.receiver = self.exchange
            stream.resume_reading()
            self.send(answer)
        except FAULTS:
            self._fail()

    def end(self) -> None:
        """Release what was waited for; called when the wait is over, again where that failed."""

    def send(self, answer: Answer) -> None:
        """Send the answer with which the exchange ends."""
        send_answer(self.exchange, answer)

    def faulted(self) -> None:
        """Not even the failure could be answered: the connection is aborted."""
        self.exchange.stream.abort("internal_error")

    def _fail(self) -> None:
        try:
            self.failed(self.exchange)
        except FAULTS:
            contain(self)


class WaitingForVerdict(Waiting):
    """Waits for a policy's verdict."""

    __slots__ = ("pending",)

    def __init__(
        self, exchange: Exchange, pending: Pending, start: Callable[[], None], failed: Callable[[Exchange], None]
    ) -> None:
        super().__init__(exchange, start, failed)
        self.pending: Pending | None = pending
        pending.settle = self.settled
        exchange.stream.receiver = self

    def settled(self, answer: Answer | None) -> None:
        """The verdict has come."""
        if answer is None:
            self.go_on()
        else:
            self.answer(answer)

    def end(self) -> None:
        pending, self.pending = self.pending, None  # a reference cycle: only the collector would free the two
        if pending is not None:
            pending.cancel()


class WaitingForBody(WaitingForVerdict):
    """Waits for all of a request's body, in whose place the policy may put another."""

    __slots__ = ()

    pending: WholeBody | None

    def __init__(
        self, exchange: Exchange, pending: WholeBody, start: Callable[[], None], failed: Callable[[Exchange], None]
    ) -> None:
        super().__init__(exchange, pending, start, failed)
        exchange.stream.read_body()

    def body_received(self, data: bytes) -> None:
        self.kept.append(data)
        self.size += len(data)
        if self.pending is not None and self.size > self.pending.max_size:
            self._report(self.pending.too_large)

    def body_ended(self) -> None:
        if self.over:  # the piece before this was too much: the exchange went on within the call that brought it
            self.exchange.stream.receiver.body_ended()
            return
        self.is_complete = True
        if self.pending is not None:
            self._report(partial(self.pending.complete, b"".join(self.kept)))

    def settled(self, answer: Answer | None) -> None:
        if self.exchange.content:  # what goes on in place of what came
            self.kept, self.is_complete = [], False
        super().settled(answer)

    def _report(self, to: Callable[[], None]) -> None:
        try:
            to()
        except FAULTS:
            self.over = True
            self._fail()


class WaitingForContent(Waiting):
    """Waits for a small body that may be right behind its head, as most are that come in a second read.

    With it the exchange goes on as if both had come at once, and its service gets them in one write. Where it is not
    there when the event loop has looked at all sockets once more, the exchange goes on without it.
    """

    __slots__ = ("loop",)

    def __init__(
        self,
        exchange: Exchange,
        start: Callable[[], None],
        failed: Callable[[Exchange], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(exchange, start, failed)
        self.loop = loop
        exchange.stream.receiver = self
        exchange.stream.read_body()
        loop.call_soon(self._end_soon)

    def body_received(self, data: bytes) -> None:
        self.kept.append(data)

    def body_ended(self) -> None:
        self.exchange.content = b"".join(self.kept)
        self.kept = []
        self.go_on()

    def _end_soon(self) -> None:
        """Sockets were read from: go on behind the turn that processes what they had."""
        if not self.over:
            self.loop.call_soon(self.go_on)


class WaitingForPermit(Waiting):
    """Waits in the queue of a limit, no longer than that allows; without a permit it ends with `refusal`."""

    __slots__ = ("forwarding", "limit", "refusal", "timer")

    def __init__(
        self,
        exchange: Exchange,
        limit: Limit,
        forwarding: Forward,
        refusal: Refusal,
        failed: Callable[[Exchange], None],
    ) -> None:
        super().__init__(exchange, forwarding.start, failed)
        self.forwarding = forwarding
        self.limit = limit
        self.refusal = refusal
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait from now on; False where there is no room for that."""
        if not self.limit.wait(self):
            return False
        self.exchange.stream.receiver = self
        self.timer = loop.call_later(self.limit.timeout, self.answer, self.refusal)
        return True

    def admitted(self) -> None:
        """A permit is granted; it is given back here unless it is passed on with the exchange."""
        self.go_on()
        if not self.has_begun:
            self.limit.leave()

    def end(self) -> None:
        self.limit.forget(self)
        if self.timer is not None:
            self.timer.cancel()

    def send(self, answer: Answer) -> None:
        self.forwarding.answer(answer)
