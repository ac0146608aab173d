"""An event loop and connections without sockets: nothing happens, and no time passes, unless the fuzzer wants it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from support.hand_transport import HandTransport

_MOST_TURNS: Final = 20_000
"""Turns without rest from which a loop counts as hanging; the longest honest run has a few hundred."""

Dialled = tuple["Line", asyncio.BaseProtocol]
Dial = Callable[[Callable[[], asyncio.Protocol], str], Awaitable[Dialled]]


class HandLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with its tasks and timers, but for time and sockets; `dial` opens connections."""

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self.now = 1000.0
        self.faults: list[str] = []
        self.turns = 0
        self._dial = dial
        self._selector = self
        self.set_exception_handler(self._note_fault)

    def run(self) -> None:
        """Turn until nothing is left to do without time passing."""
        self.turns = 0
        self.run_forever()

    def pass_time(self, seconds: float) -> None:
        """Let time pass at once, as it does for a process that was stopped, and whatever it brings happen."""
        self.now += seconds
        self.run()

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        """Stands in for the selector: asked to wait, the loop has nothing to do."""
        self.turns += 1
        assert self.turns < _MOST_TURNS, "the loop never comes to rest"
        if timeout is None or timeout > 0:
            self.stop()
        return []

    async def create_connection(  # type: ignore[override]  # as much of it as an instance uses
        self, factory: Any, host: Any = None, *args: Any, **options: Any
    ) -> Any:
        return await self._dial(factory, str(host))

    async def create_unix_connection(  # type: ignore[override]
        self, factory: Any, path: Any = None, **options: Any
    ) -> Any:
        return await self._dial(factory, str(path))

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _note_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


class Line(HandTransport):
    """One TCP connection: to the gateway its transport; the other methods are what the peer does.

    As with a real one, reads come one per callback, a pause stops them and the end behind them, and what the peer does
    not read piles up until `pause_writing`.
    """

    def __init__(self, loop: HandLoop, protocol: asyncio.Protocol, peer: str) -> None:
        super().__init__({"peername": (peer, 40000), "sockname": ("198.51.100.1", 8000)})
        self.loop = loop
        self.protocol = protocol
        self.received = bytearray()
        """What the peer has read."""
        self.unsent = bytearray()
        self.delivered = bytearray()
        """What the gateway has read of the peer's bytes."""
        self.inbox: deque[bytes | None] = deque()
        """What the peer has sent and the gateway has not read; None is the end."""
        self.peer_reads = self.reading = True
        self.lost = self.cut = self.eof_delivered = self.stalled = False
        self.high = 65536
        protocol.connection_made(self)

    # ---- what the peer does

    def say(self, data: bytes | None) -> None:
        """Send a piece, or the end."""
        if not self.lost:
            self.inbox.append(data)
            self.loop.call_soon(self._deliver)

    def listen(self, reads: bool) -> None:
        """Read all that comes from now on, or nothing."""
        self.peer_reads = reads
        if reads:
            self.loop.call_soon(self._flush)

    def reset(self) -> None:
        """Break the connection."""
        self.cut = True
        self.loop.call_soon(self._lose, ConnectionResetError())

    def is_over(self) -> bool:
        """Whether the peer will receive nothing more."""
        return self.lost or (self.eof_written and not self.unsent)

    # ---- the gateway's transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written, "bytes behind the end"
        assert data, "an empty write"
        if self.lost or self.cut:
            return
        if self.peer_reads and not self.unsent:
            self.received += data
            return
        self.unsent += data
        if len(self.unsent) > self.high and not self.stalled:
            self.stalled = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or self.high

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.closing = True
        if not self.lost:
            self.cut = True
            self.loop.call_soon(self._lose, None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.loop.call_soon(self._deliver)

    # ---- in between

    def _deliver(self) -> None:
        if self.inbox and self.reading and not self.closing:
            data = self.inbox.popleft()
            if data is not None:
                self.delivered += data
                self.protocol.data_received(data)
            else:
                self.eof_delivered = True
                if not self.protocol.eof_received():
                    self.close()
            if self.inbox:
                self.loop.call_soon(self._deliver)

    def _flush(self) -> None:
        if self.peer_reads and not self.lost:
            self.received += self.unsent
            self.unsent.clear()
            if self.closing:
                self._lose(None)
            elif self.stalled:
                self.stalled = False
                self.protocol.resume_writing()

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self.unsent.clear()
            self.protocol.connection_lost(error)
