"""A turn of the event loop: read from all sockets, then process and write all responses, then all requests.

A processor repeats what it has just done at a lower cost: that is why reading, processing and writing are not done one
after the other for each socket. And a write wakes the process that waits at the other end, which costs more than the
rest of it, unless that is awake already.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from os import write
from time import monotonic
from types import FunctionType
from typing import Any, ClassVar, Final, cast

from portico.core.faults import FAULTS, contain
from portico.wire.paced import Paced
from portico.wire.splice import Pipe
from portico.wire.writing import LARGE, WRITE_BUFFER, descriptor_of

LARGE_READ: Final = 128 * 1024
"""Bytes of one read that are processed at once, and after which other connections are served: the loop would read on
from the same socket, up to 32 times."""


class TurnProtocol(asyncio.Protocol):
    """A connection that processes what was read from its socket once all sockets have been read from.

    What it has to send goes straight to its socket, unless the transport encrypts it or still holds earlier data.
    """

    __slots__ = ("descriptor", "has_written", "is_direct", "outgoing", "side", "transport", "turn", "pending")

    turn_order: ClassVar[int] = 1
    """Of two classes, the one with the lower number is processed and written first."""
    transport: asyncio.Transport

    def __init_subclass__(cls) -> None:
        """Give each class its own copies of the functions that every request runs.

        The interpreter specializes code for the types that it sees (PEP 659), and has to specialize it again whenever
        an object of another class comes.
        """
        super().__init_subclass__()
        for name in ("data_received", "gather", "process_all", "write_all"):
            setattr(cls, name, _copy_of(TurnProtocol.__dict__[name]))

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.side = turn.side_of(type(self))
        self.pending = b""
        """What was read in this turn and is not processed yet."""
        self.descriptor = -1
        self.is_direct = False
        """Whether the transport is known to hold nothing."""
        self.has_written = False
        """Whether anything was written since this was set to False."""
        self.outgoing = b""
        """What is to be written at the end of this turn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.descriptor = descriptor_of(self.transport)

    def data_received(self, data: bytes) -> None:
        if len(data) >= LARGE_READ:
            self.turn.settle(self)
            try:
                self.process(data, monotonic())
            except FAULTS:
                contain(self)
        elif self.pending:
            self.pending += data
        else:
            self.pending = data
            listeners = self.side.listeners
            if not listeners:
                self.turn.plan()
            listeners.append(self)

    def process(self, data: bytes, now: float) -> None:
        """Take what was read; `now` is the monotonic time since when it could be processed."""
        raise NotImplementedError

    def faulted(self) -> None:
        """End the connection after a fault; gathered data is no longer written."""
        self.outgoing = b""
        self.transport.abort()

    def gather(self, data: bytes) -> None:
        """Have `data` written at the end of this turn, after what was gathered before."""
        if self.outgoing:
            self.outgoing += data
            return
        self.outgoing = data
        senders = self.side.senders
        if not senders:
            self.turn.plan()
        senders.append(self)

    def put(self, data: bytes) -> None:
        """The same, or at once where `data` is large: the processor's cache still has it, and it is not copied."""
        if len(data) < LARGE:
            self.gather(data)
            return
        pieces = (self.outgoing, data) if self.outgoing else (data,)
        self._hand_over(pieces)

    def write_out(self) -> None:
        """Hand what was gathered so far to the transport."""
        if self.outgoing:
            self._hand_over((self.outgoing,))

    def _hand_over(self, pieces: tuple[bytes, ...]) -> None:
        self.outgoing = b""  # first, because the write may call back
        self.has_written = True
        self.is_direct = False
        if not self.transport.is_closing():
            self.transport.writelines(pieces)

    def has_caught_up(self) -> bool:
        """Whether the transport has sent all that it was given, so that we may write to the socket."""
        self.is_direct = self.descriptor >= 0 and not self.transport.get_write_buffer_size()
        return self.is_direct

    @staticmethod
    def process_all(side: Side) -> None:
        """Process everything that connections of this class have read."""
        while listeners := side.listeners:
            side.listeners = []
            now = monotonic()
            for listener in listeners:
                data = listener.pending
                if not data:
                    continue  # it was processed meanwhile
                listener.pending = b""
                try:
                    listener.process(data, now)
                except FAULTS:
                    contain(listener)

    @staticmethod
    def write_all(side: Side) -> None:
        """Write everything that connections of this class have gathered."""
        senders, side.senders = side.senders, []
        for sender in senders:
            try:
                data, transport = sender.outgoing, sender.transport
                if not data or not (sender.is_direct or sender.has_caught_up()) or transport.is_closing():
                    sender.write_out()
                    continue
                sender.outgoing = b""
                sender.has_written = True
                try:
                    size = write(sender.descriptor, data)
                except OSError:
                    size = 0  # the transport finds out what is wrong
                if size != len(data):
                    sender.is_direct = False
                    transport.write(data[size:])
            except FAULTS:
                contain(sender)


def _copy_of(method: Any) -> Any:
    """The same function, or static method, with code of its own."""
    if isinstance(method, staticmethod):
        return staticmethod(_copy_of(method.__func__))
    return FunctionType(method.__code__.replace(), method.__globals__, method.__name__)


class Side:
    """All connections of one class: which of them have read something, and which have something to send."""

    __slots__ = ("listeners", "of", "senders")

    def __init__(self, of: type[TurnProtocol]) -> None:
        self.of = of
        self.listeners: list[TurnProtocol] = []
        self.senders: list[TurnProtocol] = []


class Turn:
    """A turn of the loop: which connections were read from, and which have something to send.

    What a connection has read is processed before the end of its socket, and before any deadline fires: see `settle`
    and `process`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.paced = Paced(loop)
        self._is_planned = False
        self._sides: dict[type[TurnProtocol], Side] = {}

    @cached_property
    def pipe(self) -> Pipe:
        """The pipe for long bodies, made when there is one. Raises OSError where there is no descriptor left."""
        return Pipe()

    def side_of(self, of: type[TurnProtocol]) -> Side:
        """What the connections of a class share."""
        side = self._sides.get(of)
        if side is None:
            side = Side(of)
            sides = {**self._sides, of: side}
            self._sides = dict(sorted(sides.items(), key=lambda item: item[0].turn_order))
        return side

    def plan(self) -> None:
        """Schedule it for when the loop has read from every socket."""
        if not self._is_planned:
            self._is_planned = True
            self.loop.call_soon(self._play)

    def process(self) -> None:
        """Process everything that was read so far."""
        for side in self._sides.values():
            if side.listeners:
                side.of.process_all(side)

    def settle(self, listener: TurnProtocol) -> None:
        """Process what was read from one connection, before another event on it."""
        data, listener.pending = listener.pending, b""
        if data:
            try:
                listener.process(data, monotonic())
            except FAULTS:
                contain(listener)

    def _play(self) -> None:
        try:
            for side in self._sides.values():
                if side.listeners:
                    side.of.process_all(side)
                    self._write()
        finally:
            self._is_planned = False
        self._write()

    def _write(self) -> None:
        """Write everything that was gathered so far."""
        for side in self._sides.values():
            if side.senders:
                side.of.write_all(side)
