"""A second attempt beside a slow first one, at another instance; the first head of a response counts."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from portico.core.errors import UpstreamError
from portico.core.exchange import Exchange
from portico.core.faults import FAULTS, contain
from portico.core.messages import ResponseHead
from portico.proxy.attempt import Attempt
from portico.proxy.routing.route import Handling
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.wire.http1.client import ResponseReceiver, UpstreamConnection

HEDGED: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"QUERY"})
"""Methods whose requests may be sent to two instances at once: they are safe (RFC 9110, section 9.2.1; RFC 10008)."""


class Owner(Protocol):
    """What a hedge runs beside."""

    exchange: Exchange
    handling: Handling
    tried: tuple[Instance, ...]

    @property
    def has_whole_body(self) -> bool:
        """Whether the request's body has arrived, if there is one, and is kept."""

    def send_whole(
        self, receiver: ResponseReceiver, connection: UpstreamConnection, head: bytes, now: float, deadline: float
    ) -> None:
        """Send the head with the whole body."""

    def hedge_answered(self, hedge: Hedge, head: ResponseHead) -> None:
        """The hedge has a response: its connection and its instance are the owner's now."""

    def hedge_failed(self, error: UpstreamError) -> None:
        """The hedge will get no response."""


class Hedge(Attempt):
    """Waits, sends, and is a `ResponseReceiver` until a head comes."""

    __slots__ = ("hedging", "owner")

    def __init__(self, owner: Owner, hedging: Hedging, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(owner.exchange, owner.handling, loop)
        self.owner = owner
        self.hedging = hedging

    def wait(self) -> None:
        """Begin after the configured delay."""
        self.waiting = self.loop.call_later(self.hedging.after, self.begin)

    @property
    def is_under_way(self) -> bool:
        """Whether the request was sent, or a connection is being opened."""
        return self.instance is not None

    def begin(self, *, is_free: bool = False) -> None:
        """Try another instance; if a bug gets in the way, only the hedge fails."""
        try:
            self._begin(is_free)
        except FAULTS:
            contain(self)

    def _begin(self, is_free: bool) -> None:
        """6. Choose another instance that has a free connection, and connect to it."""
        self.waiting = None
        owner, service = self.owner, self.handling.service
        if not owner.has_whole_body:
            return
        instance = service.choose((*owner.tried, *service.full()), self.exchange)
        if instance is None or not self.hedging.begin(is_free=is_free):
            return
        owner.tried += (instance,)
        self.sent_at = time.monotonic()
        self.connect(instance, False)

    def send(self, instance: Instance, connection: UpstreamConnection) -> None:
        """6. Send the head, and the whole body."""
        self.connection = connection
        head = self.handling.compose(self.exchange, self.handling, instance, b"")
        now = time.monotonic()
        self.owner.send_whole(self, connection, head, now, now + self.time_left())

    def broke(self) -> None:
        self.owner.hedge_failed(UpstreamError("connect", "the gateway failed on this request"))

    # ---- called by the service's side: ResponseReceiver

    def upstream_silent(self) -> None:
        """Two attempts are under way already."""

    def response_interim(self, head: ResponseHead) -> None:
        """Hints from an attempt that may be dropped are ignored."""

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:  # noqa: ARG002
        """Decline: the owner, once it takes over, is notified step by step."""
        return False

    def response_started(self, head: ResponseHead) -> None:
        """7. Take over from the first attempt."""
        self.owner.hedge_answered(self, head)

    def response_body(self, data: bytes) -> None:
        """The owner gets it."""

    def response_sink(self) -> None:
        """The owner has it."""

    def response_ended(self) -> None:
        """The owner is notified of it."""

    def upstream_failed(self, error: UpstreamError) -> None:
        """No response will come; a stale kept connection is not a failure of the instance."""
        if self.instance is not None and not self.is_stale(error):
            self.instance.note_failure(self.exchange, time.monotonic() - self.sent_at, error)
        self.connection = None
        self.leave()
        self.owner.hedge_failed(error)

    def upstream_pause_writing(self) -> None:
        """All of the body was read from the client."""

    def upstream_resume_writing(self) -> None:
        """The same."""
