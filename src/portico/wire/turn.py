"""A turn of the event loop: everybody hears what has come, then everybody writes.

What a processor has just done it does again for less. So the loop reads from all sockets that have something, then all
of it is heard, then all answers are written, rather than one after the other of each. And a write wakes whoever waits
at the other end, which costs more than the rest of it, unless it is awake already.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

logger: Final = logging.getLogger("portico.wire")

LARGE_READ: Final = 128 * 1024
"""Bytes of one read that are heard at once, and after which others have their turn: the loop would read on from the
same socket, up to 32 times."""


class Sender(Protocol):
    """A connection with something to send."""

    def write_out(self) -> None:
        """Write what was gathered."""


class TurnProtocol(asyncio.Protocol):
    """A connection that hears what was read from its socket when all sockets have been read from."""

    __slots__ = ("is_unheard", "turn")

    transport: asyncio.Transport

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.is_unheard = False

    def data_received(self, data: bytes) -> None:
        turn = self.turn
        if len(data) >= LARGE_READ:
            turn.settle(self)
            self.hear(data)
            return
        if not turn.is_planned:
            turn.plan()
        self.is_unheard = True
        turn.read.append((self, data))

    def hear(self, data: bytes) -> None:
        """Take what was read."""
        raise NotImplementedError


class Turn:
    """What was read in this turn of the loop, and who has something to send.

    What a connection has read is heard before the end of its socket is, and before anybody's time is up: see `settle`
    and `hear`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.read: deque[tuple[TurnProtocol, bytes]] = deque()
        self.is_planned = False
        self._senders: list[Sender] = []

    def plan(self) -> None:
        """Have it played as soon as the loop has read from every socket."""
        self.is_planned = True
        self.loop.call_soon(self._play)

    def add(self, sender: Sender) -> None:
        """Let `sender` write at the end of this turn; it adds itself once per turn."""
        if not self.is_planned:
            self.plan()
        self._senders.append(sender)

    def hear(self) -> None:
        """Have everything heard that was read so far."""
        read = self.read
        while read:
            listener, data = read.popleft()
            listener.is_unheard = False
            try:
                listener.hear(data)
            except Exception:
                logger.exception("a connection failed in a way that nobody foresaw")
                listener.transport.abort()

    def settle(self, listener: TurnProtocol) -> None:
        """Have heard what was read from one connection: something else has happened to it."""
        if not listener.is_unheard:
            return
        listener.is_unheard = False
        for entry in [entry for entry in self.read if entry[0] is listener]:
            self.read.remove(entry)
            listener.hear(entry[1])

    def _play(self) -> None:
        self.hear()
        self.is_planned = False
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.write_out()
