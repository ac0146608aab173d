"""After a 101: the bytes of another protocol go both ways as they come, and a WebSocket is closed as it should be."""

from __future__ import annotations

import time
from typing import Final, Protocol

from portico.errors import MessageError, UpstreamError
from portico.exchange import Exchange
from portico.messages import ResponseHead
from portico.wire.client import UpstreamConnection
from portico.wire.deadlines import NEVER
from portico.wire.websocket import GOING_AWAY, PROTOCOL, Frames, masked_going_away

_CLOSING_PATIENCE: Final = 2.0
"""Seconds that a client has to answer a close frame of the gateway's."""
_HALF_CLOSED_PATIENCE: Final = 10.0
"""Seconds of silence after which a service that goes on after its client's end is left."""


class Owner(Protocol):
    """What a tunnel grew out of: it gives back what the exchange holds."""

    def tunnel_ended(self, failure: str | None) -> None:
        """No byte will pass any more."""


class Tunnel:
    """One exchange after its 101; it hears both sides: `Receiver` and `ResponseReceiver`.

    `idle` are the seconds of silence on both sides after which it ends.
    """

    # fmt: off
    __slots__ = (
        "closing", "connection", "deadline", "exchange", "idle", "inward", "is_websocket", "outward", "owner",
        "said_inward", "said_outward", "stream", "wakes",
    )
    # fmt: on

    def __init__(
        self, exchange: Exchange, connection: UpstreamConnection, owner: Owner, protocol: bytes, idle: float
    ) -> None:
        self.exchange = exchange
        self.stream = exchange.stream
        self.connection = connection
        self.owner = owner
        self.idle = idle
        self.deadline = self.wakes = NEVER
        self.is_websocket = protocol == PROTOCOL
        self.inward = Frames()
        self.outward = Frames()
        self.closing = self.said_inward = self.said_outward = False
        self._moved()

    # ---- told by the client's side: Receiver

    def body_received(self, data: bytes) -> None:
        """From the client to the service."""
        if self.closing:
            self._close_inward(data)
            return
        if self.is_websocket:
            self.inward.feed(data)
        self.connection.send_body(data)
        self._moved()

    def body_ended(self) -> None:
        """The client has said all: so hears the service, which may have something to add."""
        self.idle = min(self.idle, _HALF_CLOSED_PATIENCE)
        self._moved()
        self.connection.end_tunnel()

    def body_failed(self, error: MessageError) -> None:
        """A tunnel has no framing that could be broken."""

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.connection.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.connection.resume_reading()

    def going_away(self) -> None:
        """The gateway drains: a WebSocket is closed with 1001; any other protocol has until the drain's end."""
        if self.is_websocket:
            self._say_goodbye("going_away")

    def finished(self, failure: str | None) -> None:
        """The client's side is over; what it said last still goes to the service."""
        self.connection.deadlines.forget(self)
        self.connection.hang_up()
        self.owner.tunnel_ended(failure)

    # ---- told by the service's side: ResponseReceiver

    def response_interim(self, head: ResponseHead) -> None:
        """There is none after a 101."""

    def response_started(self, head: ResponseHead) -> None:
        """The same."""

    def response_body(self, data: bytes) -> None:
        """From the service to the client."""
        if self.closing:
            self._close_outward(data)
            return
        if self.is_websocket:
            self.outward.feed(data)
        self.stream.send_body(data)
        self._moved()

    def response_ended(self) -> None:
        """The service closed the connection."""
        self.stream.end()

    def upstream_failed(self, error: UpstreamError) -> None:
        """The service broke off; what it said before that still goes to the client."""
        self.exchange.reason = self.exchange.reason or error.reason
        self.stream.end()

    def upstream_pause_writing(self) -> None:
        """The service reads slowly."""
        self.stream.pause_reading()

    def upstream_resume_writing(self) -> None:
        """The service has caught up."""
        self.stream.resume_reading()

    # ---- ends

    def deadline_passed(self) -> None:
        """Nothing came from either side for too long, or no answer to a close frame."""
        if self.is_websocket and not self.closing:
            self._say_goodbye("tunnel_idle")
        else:
            self.exchange.reason = self.exchange.reason or "tunnel_idle"
            self.stream.end()

    def _moved(self) -> None:
        self.connection.deadlines.set(self, time.monotonic() + self.idle)

    def _say_goodbye(self, reason: str) -> None:
        """Send a close frame both ways, each behind the frame that is under way; the client's answer ends it all."""
        if self.closing:
            return
        self.closing = True
        self.exchange.reason = reason
        self.connection.deadlines.set(self, time.monotonic() + _CLOSING_PATIENCE)
        self._close_outward(b"")
        self._close_inward(b"")

    def _close_outward(self, data: bytes) -> None:
        if self.said_outward:
            return
        taken = self.outward.feed(data, to_boundary=True)
        if taken:
            self.stream.send_body(data[:taken])
        if self.outward.is_between:
            self.said_outward = True
            if not self.outward.closed:
                self.stream.send_body(GOING_AWAY)

    def _close_inward(self, data: bytes) -> None:
        if not self.said_inward:
            taken = self.inward.feed(data, to_boundary=True)
            if taken:
                self.connection.send_body(data[:taken])
                data = data[taken:]
            if self.inward.is_between:
                self.said_inward = True
                if not self.inward.closed:
                    self.connection.send_body(masked_going_away())
        self.inward.feed(data)
        if self.inward.closed and self.inward.is_between and self.said_outward:
            self.stream.end()
