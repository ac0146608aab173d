"""An exchange that has to wait on its way: for a policy's verdict, or for a place at its service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, Stream
from portico.policies import Pending
from portico.proxy.answer import send_answer
from portico.upstreams.limit import Limit

_KEPT: Final = 64 * 1024
"""Bytes of content that are read while a request waits in a queue."""


class Waiting(Exchange):
    """Stands in as receiver while an exchange waits: keeps the little content that was already read."""

    __slots__ = ("ended", "exchange", "kept", "over")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.kept: list[bytes] = []
        self.ended = self.over = False

    def body_received(self, data: bytes) -> None:
        self.kept.append(data)

    def body_ended(self) -> None:
        self.ended = True

    def body_failed(self, error: MessageError) -> None:
        self.over = True
        self.exchange.stream.receiver = self.exchange
        send_answer(self.exchange, Refusal(error.reason, error.detail))

    def finished(self, failure: str | None) -> None:
        self.over = True
        self.exchange.finished(failure)

    def replay(self, stream: Stream) -> None:
        """Tell the exchange's own receiver what came meanwhile."""
        for data in self.kept:
            stream.receiver.body_received(data)
        if self.ended:
            stream.receiver.body_ended()


class WaitingForVerdict(Waiting):
    """Waits for what a policy will say; then goes on with `start`, or answers. `failed` hears of a fault in either."""

    __slots__ = ("failed", "start")

    def __init__(
        self, exchange: Exchange, pending: Pending, start: Callable[[], None], failed: Callable[[Exchange], None]
    ) -> None:
        super().__init__(exchange)
        self.start = start
        self.failed = failed
        pending.settle = self.settled
        exchange.stream.receiver = self
        exchange.stream.pause_reading()

    def settled(self, answer: Answer | None) -> None:
        """The policy has made up its mind."""
        if self.over:
            return
        stream = self.exchange.stream
        stream.receiver = self.exchange
        try:
            stream.resume_reading()
            if answer is not None:
                send_answer(self.exchange, answer)
            else:
                self.start()
                self.replay(stream)
        except Exception:
            self.failed(self.exchange)


class WaitingForPlace(Waiting):
    """Waits in the queue of a limit, no longer than that allows.

    With a place it goes on with `start`, without one it ends with `refusal`; `failed` hears of a fault in `start`.
    """

    __slots__ = ("failed", "limit", "refusal", "size", "start", "timer")

    def __init__(
        self,
        exchange: Exchange,
        limit: Limit,
        start: Callable[[], None],
        refusal: Refusal,
        failed: Callable[[Exchange], None],
    ) -> None:
        super().__init__(exchange)
        self.limit = limit
        self.start = start
        self.refusal = refusal
        self.failed = failed
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait from now on."""
        self.exchange.stream.receiver = self
        self.timer = loop.call_later(self.limit.patience, self._lose_patience)

    def admitted(self) -> None:
        """The service has a place."""
        self._leave_queue()
        stream = self.exchange.stream
        stream.receiver = self.exchange
        try:
            stream.resume_reading()
            self.start()
            self.replay(stream)
        except Exception:
            self.failed(self.exchange)

    def body_received(self, data: bytes) -> None:
        """Keep it; who is read from no more is not seen to leave, so that is done only with larger content."""
        super().body_received(data)
        self.size += len(data)
        if self.size > _KEPT:
            self.exchange.stream.pause_reading()

    def body_failed(self, error: MessageError) -> None:
        self._leave_queue()
        super().body_failed(error)

    def finished(self, failure: str | None) -> None:
        self._leave_queue()
        super().finished(failure)

    def _lose_patience(self) -> None:
        self._leave_queue()
        stream = self.exchange.stream
        stream.receiver = self.exchange
        stream.resume_reading()
        send_answer(self.exchange, self.refusal)

    def _leave_queue(self) -> None:
        self.limit.forget(self)
        if self.timer is not None:
            self.timer.cancel()
