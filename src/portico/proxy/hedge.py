"""A second try beside a slow first one: it asks another instance, and the first head of a response counts."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

from portico.core.errors import UpstreamError
from portico.core.exchange import Exchange
from portico.core.messages import ResponseHead
from portico.proxy.routing.route import Handling
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import UpstreamConnection

logger: Final = logging.getLogger("portico.forward")

HEDGED: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods whose requests may be asked of two instances at once: they change nothing."""


class Owner(Protocol):
    """What a hedge stands beside."""

    exchange: Exchange
    handling: Handling
    tried: tuple[Instance, ...]

    def head_for(self, instance: Instance) -> bytes:
        """The request's head as an instance gets it."""

    def hedge_answered(self, hedge: Hedge, head: ResponseHead) -> None:
        """The hedge has a response: its connection and its instance are the owner's now."""

    def hedge_failed(self, error: UpstreamError) -> None:
        """The hedge has none and will have none."""


class Hedge:
    """Waits, asks, and is a `ResponseReceiver` until a head comes."""

    __slots__ = ("connection", "hedging", "instance", "loop", "owner", "reused", "sent_at", "waiting")

    def __init__(self, owner: Owner, hedging: Hedging, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        self.hedging = hedging
        self.loop = loop
        self.instance: Instance | None = None
        self.connection: UpstreamConnection | None = None
        self.reused = False
        self.sent_at = 0.0
        self.waiting: asyncio.TimerHandle | asyncio.Task[None] | None = None

    def wait(self) -> None:
        """Begin after the time that is set for it."""
        self.waiting = self.loop.call_later(self.hedging.after, self.begin)

    @property
    def is_under_way(self) -> bool:
        """Whether an instance was asked, or is being connected to."""
        return self.instance is not None

    def cancel(self) -> None:
        """The other try has won, or nobody wants a response any more."""
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self._leave()

    def begin(self, *, is_free: bool = False) -> None:
        """1. Choose another instance that has a connection to spare. 2. Find an open one, or open it."""
        self.waiting = None
        owner = self.owner
        service = owner.handling.service
        instance = service.choose((*owner.tried, *service.full()), owner.exchange)
        if instance is None or not self.hedging.begin(is_free=is_free):
            return
        owner.tried += (instance,)
        instance.in_flight += 1
        if instance.breaker is not None and instance.breaker.alert:
            instance.breaker.started(owner.exchange)
        self.instance = instance
        self.sent_at = time.monotonic()
        connection = instance.take(recently_used=False)
        self.reused = connection is not None
        if connection is not None:
            self._send(connection, instance)
        else:
            self.waiting = self.loop.create_task(self._connect(instance))

    async def _connect(self, instance: Instance) -> None:
        try:
            connection = await instance.connect(self.owner.handling.timeouts.connect)
        except UpstreamError as error:
            self.waiting = None
            self.upstream_failed(error)
        except Exception:
            logger.exception("a connection failed in a way that nobody foresaw", extra={"instance": instance.name})
            self.waiting = None
            self._leave()
            self.owner.hedge_failed(UpstreamError("connect", "the gateway failed on this request"))
        else:
            self.waiting = None
            self._send(connection, instance)

    def _send(self, connection: UpstreamConnection, instance: Instance) -> None:
        """3. Send the head, which is all there is."""
        exchange, timeouts = self.owner.exchange, self.owner.handling.timeouts
        assert exchange.request is not None
        self.connection = connection
        deadline = NEVER if timeouts.total is None else exchange.started + timeouts.total
        head = self.owner.head_for(instance)
        connection.start_whole(self, exchange.request.method, head, timeouts, time.monotonic(), deadline)

    def _leave(self) -> None:
        instance, self.instance = self.instance, None
        if instance is not None:
            instance.in_flight -= 1
            if instance.breaker is not None and instance.breaker.alert:
                instance.breaker.left(self.owner.exchange)

    # ---- told by the service's side: ResponseReceiver

    def upstream_silent(self) -> None:
        """Two are asked already."""

    def response_interim(self, head: ResponseHead) -> None:
        """Hints from a try that may come to nothing help nobody."""

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:  # noqa: ARG002
        """The owner, once it is the only one, is told step by step."""
        return False

    def response_started(self, head: ResponseHead) -> None:
        """4. Take the first one's place."""
        self.owner.hedge_answered(self, head)

    def response_body(self, data: bytes) -> None:
        """The owner gets it."""

    def response_sink(self) -> None:
        """The owner has it."""

    def response_ended(self) -> None:
        """The owner hears of it."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """No response will come; where a kept connection had died unnoticed, that is nobody's fault."""
        connection, self.connection = self.connection, None
        stale = self.reused and connection is not None and not connection.heard and error.leg == "reset"
        if self.instance is not None and not stale:
            self.instance.note_failure(self.owner.exchange, time.monotonic() - self.sent_at)
        self._leave()
        self.owner.hedge_failed(error)

    def upstream_pause_writing(self) -> None:
        """There is no content to be sent."""

    def upstream_resume_writing(self) -> None:
        """The same."""
