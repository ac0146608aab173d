"""One instance of a service, on an event loop: each target says itself what is to be answered (`instance_answers`).

Where a `Backend` runs a test's script in threads beside it and keeps every byte, this one is made to serve very much,
and mostly in a process of its own, which can be killed or stopped: `python -m support.instance PORT [NAME]`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from typing import Final, cast

import uvloop

from .chunks import Chunks
from .heads import split_head
from .instance_answers import Answer, answer_to

DOCUMENT: Final = (
    '{"id":4711,"name":"Example 1","price":"1012.50","currency":"EUR",'
    '"tags":["alpha","beta"],"active":true,"updated":"2025-01-01"}'
)
"""What is answered to all that means nothing else."""

_BUFFER: Final = memoryview(bytearray(1 << 20))
"""Every connection reads into it: what comes is looked at in the same call."""
_SLOW: Final = 1.0
_LOOK: Final = 1.0
_numbers = itertools.count(1)


class Instance:
    """What all connections to it share; each response has its name, where it has one.

    `manner` is how it behaves: `well`; `failing` (500, while /health passes: it is what the service needs that is
    broken); `cutting` (a RST in the middle of a body); `slow` (a second late); `mute` (accepts, and answers nothing,
    /health neither). `served` is how many requests came, not counting those for /health and for `/-/`.
    """

    def __init__(self, name: str = "", document: str = DOCUMENT) -> None:
        self.name = name
        self.document = document.encode()
        self.lines = (f"X-Instance: {name}",) if name else ()
        self.manner = "well"
        self.served = 0
        self.is_over = False
        self.connections: set[Connection] = set()

    async def start(self, port: int = 0) -> None:
        """Accept connections, on a free port where none is named."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=4096)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Accept no more, and close what is idle."""
        self.is_over = True
        self._server.close()
        for connection in [*self.connections]:
            connection.transport.close()


class Connection(asyncio.BufferedProtocol):
    """One connection: a request at a time, its body given to its answer piece by piece."""

    transport: asyncio.Transport

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.number = next(_numbers)
        self.is_paused = False
        self._head = b""
        self._answer: Answer | None = None
        self._in_body = False
        self._left = 0
        self._chunks: Chunks | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self.instance.connections.add(self)
        if self.instance.is_over:  # it was accepted just before
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.instance.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER if self._answer is None else _BUFFER[: self._answer.reads]

    def buffer_updated(self, nbytes: int) -> None:
        data = _BUFFER[:nbytes]
        while len(data):
            data = self._take_body(data) if self._in_body else self._take_head(data)

    def pause_writing(self) -> None:
        self.is_paused = True
        if self._in_body:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_paused = False
        if self._in_body:
            self.transport.resume_reading()
        if self._answer is not None:
            self._answer.go_on()

    # ---- one request

    def _take_head(self, data: memoryview) -> memoryview:
        self._head += data
        end = self._head.find(b"\r\n\r\n") + 4
        if end < 4:
            return data[:0]
        head, rest = self._head[:end], self._head[end:]
        self._head = b""
        (_, target, _), fields = split_head(head)
        self._left = int(fields.get("content-length", 0))
        self._chunks = Chunks() if "transfer-encoding" in fields else None
        self._answer = answer_to(self, target, fields)
        self._answer.begin()
        self._in_body = self._left > 0 or self._chunks is not None
        if not self._in_body:
            self._end()
        return memoryview(rest)

    def _take_body(self, data: memoryview) -> memoryview:
        assert self._answer is not None
        if self._chunks is not None:
            for piece in self._chunks.feed(data):
                self._answer.take(piece)
            self._in_body = not self._chunks.done
            rest = data[:0]
        else:
            piece, rest = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self._answer.take(piece)
            self._in_body = self._left > 0
        if not self._in_body:
            self._end()
        return rest

    def _end(self) -> None:
        assert self._answer is not None
        if self.instance.manner == "slow" and self._answer.is_counted:
            self.later(_SLOW, self._answer.end)
        else:
            self._answer.end()

    def never_end(self) -> None:
        """All that comes from here on belongs to the request that has begun."""
        self._left, self._chunks = sys.maxsize, None

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """One call at a time may wait; none is made once the connection is lost."""
        self._timer = asyncio.get_running_loop().call_later(seconds, call)


async def _serve(port: int, name: str) -> None:
    """Until it is ended, or whoever started it is gone."""
    parent = os.getppid()
    await Instance(name).start(port)
    while os.getppid() == parent:
        await asyncio.sleep(_LOOK)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), "".join(sys.argv[2:])))
