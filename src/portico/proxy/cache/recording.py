"""One response while it arrives: whoever reads it gets the beginning from here, and the rest as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from portico.core.errors import Answer
from portico.core.faults import FAULTS, Faultable, contain
from portico.proxy.cache.stored import PIECE, Body, Stored

WINDOW: Final = 16 * PIECE
"""Bytes that the slowest reader may be behind, once not all of a response is kept."""
_AT_ONCE: Final = 32
"""Readers that are served in one turn of the loop."""


class Reader(Faultable, Protocol):
    """Someone who passes the body on."""

    sent: int
    """Bytes that it has taken."""

    def advance(self) -> None:
        """There is more, or it is over: take what can be passed on now."""


class Writer(Protocol):
    """Someone who brings the body."""

    def hold(self) -> None:
        """Bring no more until `go_on`."""

    def go_on(self) -> None:
        """Bring more."""


class Room:
    """The bytes that all recordings of a worker may hold together."""

    __slots__ = ("most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0


class Recording:
    """A body that is being fetched, and its readers, each of which goes at its own pace.

    While it `is_whole`, all of it is kept, so that it can be stored, and read from its beginning. After `spill` only
    what a reader still needs is, and the writer goes no faster than they do.
    """

    __slots__ = (
        "_dropped", "_is_held", "_is_waking", "_latest", "_loop", "_pieces", "_room", "_tail", "_writer",
        "failure", "is_over", "is_whole", "readers", "size", "stored", "trailers",
    )  # fmt: skip

    def __init__(self, stored: Stored, writer: Writer, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        self.stored = stored
        """The response, without its body."""
        self.readers: dict[Reader, None] = {}
        self.size = 0
        """Bytes that have arrived."""
        self.is_whole = True
        self.is_over = False
        """Whether no more will come."""
        self.failure: Answer | None = None
        """Why it is over, if it is not complete."""
        self.trailers: list[bytes] = []
        self._writer = writer
        self._room = room
        self._loop = loop
        self._pieces: deque[bytes] = deque()
        self._tail = bytearray()
        """What follows the last whole piece."""
        self._latest = (0, b"")
        """What arrived last, and where it begins: most readers want just that."""
        self._dropped = 0
        """Pieces before the first one that is kept."""
        self._is_held = self._is_waking = False

    # ---- the writer's calls

    def feed(self, data: bytes) -> None:
        """More of the body; never empty."""
        self._latest = (self.size, data)
        self.size += len(data)
        self._room.used += len(data)
        tail = self._tail
        tail += data
        while len(tail) >= PIECE:
            self._pieces.append(bytes(tail[:PIECE]))
            del tail[:PIECE]
        if self.readers:
            self._wake()
        if not self.is_whole:
            self._drop()

    def has_room(self) -> bool:
        """Whether no more is held than may be."""
        return self._room.used <= self._room.most

    def end(self, trailers: list[bytes]) -> None:
        """The body is complete."""
        self.trailers = trailers
        self._close()

    def fail(self, failure: Answer) -> None:
        """The body breaks off."""
        if not self.is_over:
            self.failure = failure
            self._close()
        elif self.readers:
            self._wake()  # a fault has kept them from what they need

    def spill(self) -> None:
        """Keep no more of it than its readers need."""
        self.is_whole = False
        self._drop()

    def body(self) -> Body:
        """All of it, once it is complete."""
        pieces = [*self._pieces, bytes(self._tail)] if self._tail else [*self._pieces]
        return Body(pieces, self.size)

    # ---- the readers' calls

    def read(self, start: int) -> bytes:
        """What is there from byte `start` on, a piece at most; empty where there is nothing."""
        begins, data = self._latest
        if start == begins:
            return data if start < self.size else b""
        index = start // PIECE - self._dropped
        if index < len(self._pieces):
            within = start % PIECE
            piece = self._pieces[index]
            return piece[within:] if within else piece
        return bytes(self._tail[start % PIECE :])

    def join(self, reader: Reader) -> None:
        """Call this reader when there is more."""
        self.readers[reader] = None

    def leave(self, reader: Reader) -> None:
        """Call it no more."""
        self.readers.pop(reader, None)
        self.progressed()

    def progressed(self) -> None:
        """A reader has taken something: what nobody needs any more is dropped, and the writer may go on."""
        if not self.is_whole:
            self._drop()

    # ---- inside

    def _wake(self) -> None:
        """Have every reader advance: a few at once, very many a few in each turn of the loop."""
        if self._is_waking:
            return
        if len(self.readers) <= _AT_ONCE:
            for reader in list(self.readers):
                _advance(reader)
        else:
            self._is_waking = True
            self._wake_some(deque(self.readers))

    def _wake_some(self, waiting: deque[Reader]) -> None:
        size = self.size
        for _ in range(min(_AT_ONCE, len(waiting))):
            reader = waiting.popleft()
            if reader in self.readers:
                _advance(reader)
        if waiting:
            self._loop.call_soon(self._wake_some, waiting)
            return
        self._is_waking = False
        if self.readers and (self.size > size or self.is_over):
            self._wake()

    def _drop(self) -> None:
        """Drop the pieces that no reader needs; hold the writer while the slowest is far behind."""
        least = min((reader.sent for reader in self.readers), default=self.size)
        while self._pieces and (self._dropped + 1) * PIECE <= least:
            self._room.used -= len(self._pieces.popleft())
            self._dropped += 1
        is_behind = self.size - least > WINDOW
        if is_behind != self._is_held and not self.is_over:
            self._is_held = is_behind
            if is_behind:
                self._writer.hold()
            else:
                self._writer.go_on()

    def _close(self) -> None:
        self.is_over = True
        self._room.used -= sum(map(len, self._pieces)) + len(self._tail)
        if self.readers:
            self._wake()


def _advance(reader: Reader) -> None:
    try:
        reader.advance()
    except FAULTS:
        contain(reader)
