"""After a 101: the bytes of another protocol are relayed both ways, and a WebSocket is closed by its protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from portico.core.errors import MessageError, UpstreamError
from portico.core.exchange import Exchange
from portico.core.messages import ResponseHead
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import UpstreamConnection
from portico.wire.websocket import GOING_AWAY, PROTOCOL, RESTART, Frames, close_frame, masked_close_frame

_CLOSING_TIMEOUT: Final = 2.0
"""Timeout in seconds for a side to end the frame under way, and for both to answer the gateway's close frame."""
_HALF_CLOSED_TIMEOUT: Final = 10.0
"""Idle timeout in seconds for a service that goes on sending after its client has ended."""


class Owner(Protocol):
    """The forwarding that a tunnel took over from: it releases what the exchange holds."""

    def tunnel_ended(self, failure: str | None) -> None:
        """The tunnel is closed."""


class _Direction:
    """One direction of a WebSocket, and how it ends.

    `sent_close` says that a close frame has gone out, `received_close` that the sender has sent its own, or is gone.
    """

    __slots__ = ("frames", "received_close", "send", "sent_close")

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send
        self.frames = Frames()
        self.sent_close = self.received_close = False

    def part(self, data: bytes, own_close: bytes) -> bool:
        """Forward the frame under way, then `own_close` in place of all else; whether `data` had more of that frame."""
        taken = 0
        if not self.sent_close:
            taken = self.frames.feed(data, to_boundary=True)
            if taken:
                self.send(data[:taken])
            if self.frames.is_between:
                self.sent_close = True
                if not self.frames.closed:
                    self.send(own_close)
        self.frames.feed(data[taken:])
        self.received_close = self.received_close or (self.frames.closed and self.frames.is_between)
        return bool(taken)


class Tunnel:
    """One exchange after its 101; it receives from both sides: `Receiver` and `ResponseReceiver`.

    `idle` is its idle timeout in seconds, for both sides together.
    """

    # fmt: off
    __slots__ = (
        "closing", "code", "connection", "deadline", "exchange", "idle", "inward", "is_websocket", "outward", "owner",
        "parting", "stream", "wakes",
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
        self.inward = _Direction(connection.send_body)
        self.outward = _Direction(self.stream.send_body)
        self.closing = False
        """Whether the next deadline is the end."""
        self.code = RESTART
        """What the close frame to the client says; to the service the client goes away in any case."""
        self.parting = False
        """Whether the gateway's close frames replace what the sides still send."""
        self._moved()

    # ---- called by the client's side: Receiver

    def body_received(self, data: bytes) -> None:
        """From the client to the service."""
        if self.parting:
            self._part(data, b"")
            return
        if self.is_websocket:
            self.inward.frames.feed(data)
        self.connection.send_body(data)
        self._moved()

    def body_ended(self) -> None:
        """The client has ended: the service receives that end, and may go on sending."""
        self.idle = min(self.idle, _HALF_CLOSED_TIMEOUT)
        self.inward.sent_close = self.inward.received_close = True
        self.connection.end_tunnel()
        if self.parting:
            self._part(b"", b"")
        else:
            self._moved()

    def body_failed(self, error: MessageError) -> None:
        """A tunnel has no framing that could be broken."""

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.connection.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.connection.resume_reading()

    def going_away(self) -> None:
        """The gateway drains: a WebSocket is closed with 1012; any other protocol has until the drain's end."""
        if self.is_websocket:
            self._send_close_frames("going_away", RESTART)

    def close(self, reason: str, code: int) -> None:
        """End it: a WebSocket is closed with `code`, any other protocol at once."""
        if self.is_websocket:
            self._send_close_frames(reason, code)
        else:
            self.exchange.reason = self.exchange.reason or reason
            self.stream.end()

    def finished(self, failure: str | None) -> None:
        """The client's side is over; what it sent last still goes to the service."""
        self.connection.deadlines.forget(self)
        self.connection.hang_up()
        self.owner.tunnel_ended(failure)

    # ---- called by the service's side: ResponseReceiver

    def response_interim(self, head: ResponseHead) -> None:
        """There is none after a 101."""

    def response_started(self, head: ResponseHead) -> None:
        """The same."""

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:  # noqa: ARG002
        """There is no response to come, as for the next two."""
        return False

    def response_body(self, data: bytes) -> None:
        """From the service to the client."""
        if self.parting:
            self._part(b"", data)
            return
        if self.is_websocket:
            self.outward.frames.feed(data)
        self.stream.send_body(data)
        self._moved()

    def response_sink(self) -> None:
        """None: frames are inspected, and each must be forwarded at once."""

    def response_ended(self) -> None:
        """The service closed the connection."""
        self.stream.end()

    def upstream_failed(self, error: UpstreamError) -> None:
        """The service broke off; what it sent before that still goes to the client."""
        self.exchange.reason = self.exchange.reason or error.reason
        self.stream.end()

    def response_faulted(self) -> None:
        """A bug of the gateway's: both sides are aborted."""
        self.stream.abort("internal_error")

    faulted = response_faulted

    def upstream_silent(self) -> None:
        """`deadline_passed` handles silence."""

    def upstream_pause_writing(self) -> None:
        """The service reads slowly."""
        self.stream.pause_reading()

    def upstream_resume_writing(self) -> None:
        """The service has caught up."""
        self.stream.resume_reading()

    # ---- ends

    def deadline_passed(self) -> None:
        """The idle timeout is over, or the one for the answer to a close frame."""
        if self.is_websocket and not self.closing:
            self._send_close_frames("tunnel_idle", GOING_AWAY)
        else:
            self.exchange.reason = self.exchange.reason or "tunnel_idle"
            self.stream.end()

    def _moved(self) -> None:
        timeout = _CLOSING_TIMEOUT if self.closing else self.idle
        self.connection.deadlines.set(self, time.monotonic() + timeout)

    def _send_close_frames(self, reason: str, code: int) -> None:
        """Send a close frame both ways, each after the frame that is under way; the answers end the tunnel.

        If a side has sent its close frame already, only the other's answer to that is missing.
        """
        if self.closing:
            return
        self.closing = True
        self.code = code
        self.exchange.reason = reason
        self._moved()
        if not self.inward.frames.closed and not self.outward.frames.closed:
            self.parting = True
            self._part(b"", b"")

    def _part(self, inward: bytes, outward: bytes) -> None:
        passed = self.inward.part(inward, masked_close_frame(GOING_AWAY))
        passed = self.outward.part(outward, close_frame(self.code)) or passed
        if self.outward.sent_close and self.inward.received_close and self.outward.received_close:
            self.stream.end()
        elif passed:
            self._moved()
