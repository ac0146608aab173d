"""The service behind the gateway: content without end from one buffer, uploads counted, echoes, events.

`GET /small`; `GET /bytes/N`: N bytes of the pattern; `GET /events/N/MS`: N events, one every MS milliseconds;
`POST /take`: says what came, `POST /take/S` reads slowly for S seconds first; `POST /echo`: sends back what comes while
it comes; `GET /open`: how many other connections there are. Argument: the port.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final, cast

import uvloop

from benchmarks.stress.chunks import LAST, Chunks
from benchmarks.stress.pattern import Checker, piece

_BUFFER: Final = memoryview(bytearray(1 << 20))
"""Every connection reads into it: what comes is looked at in the same call."""
_BLOCK: Final = 1 << 20
_SLOW_READ: Final = 64 * 1024
_SLOW_PAUSE: Final = 0.02
"""A slow reader takes 64 KiB each 20 ms: 3 MiB a second."""

_open: set[Service] = set()


class Service(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self.head = b""
        self.to_read = 0
        self.chunks: Chunks | None = None
        self.checker: Checker | None = None
        self.slow_until = 0.0
        self.echoes = False
        self.sent = self.to_send = 0
        self.is_paused = False
        self.timer: asyncio.TimerHandle | None = None

    # ---- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        _open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        _open.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return _BUFFER[:_SLOW_READ] if self.slow_until else _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        data = _BUFFER[:nbytes]
        if self.checker is not None or self.echoes:
            self._take_body(data)
            return
        self.head += data
        while (end := self.head.find(b"\r\n\r\n") + 4) > 3:
            head, rest = self.head[:end], self.head[end:]
            self.head = b""
            self._begin(head)
            if self.checker is not None or self.echoes:
                self._take_body(memoryview(rest))
                return
            self.head = rest

    def pause_writing(self) -> None:
        self.is_paused = True
        if self.echoes:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_paused = False
        if self.echoes:
            self.transport.resume_reading()
        self._pump()

    # ---- one request

    def _begin(self, head: bytes) -> None:
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)}
        kind, *numbers = line.split(" ")[1].strip("/").split("/")
        if kind in ("take", "echo"):
            self.to_read = int(fields.get("content-length", 0))
            self.chunks = Chunks() if "transfer-encoding" in fields else None
        if kind == "take":
            self.checker = Checker()
            self.slow_until = time.monotonic() + float(numbers[0]) if numbers else 0.0
        elif kind == "echo":
            self.echoes = True
            self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif kind == "bytes":
            self.sent, self.to_send = 0, int(numbers[0])
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.to_send)
            self._pump()
        elif kind == "events":
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            self.transport.write(head)
            self._send_event(0, int(numbers[0]), int(numbers[1]) / 1000)
        else:
            self._answer({"open": len(_open) - 1} if kind == "open" else {"id": 4711, "name": "Example", "tags": []})

    def _answer(self, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def _take_body(self, data: memoryview) -> None:
        if self.chunks is not None:
            for content in self.chunks.feed(data):
                self._take(content)
            is_done = self.chunks.done
        else:
            self._take(data)
            self.to_read -= len(data)
            is_done = not self.to_read
        if is_done:
            self._end()
        elif self.slow_until:
            self._read_slowly()

    def _take(self, content: memoryview) -> None:
        if self.checker is not None:
            self.checker.take(content)
        else:
            self.transport.write(b"%x\r\n%b\r\n" % (len(content), bytes(content)))

    def _end(self) -> None:
        if self.checker is not None:
            self._answer({"total": self.checker.total, "wrong": self.checker.wrong})
        else:
            self.transport.write(LAST)
        self.checker, self.echoes, self.slow_until = None, False, 0.0

    def _read_slowly(self) -> None:
        if time.monotonic() > self.slow_until:
            self.slow_until = 0.0
            return
        self.transport.pause_reading()
        self.timer = asyncio.get_running_loop().call_later(_SLOW_PAUSE, self.transport.resume_reading)

    def _pump(self) -> None:
        while self.sent < self.to_send and not self.is_paused and not self.transport.is_closing():
            block = piece(self.sent, min(_BLOCK, self.to_send - self.sent))
            self.sent += len(block)
            self.transport.write(block)

    def _send_event(self, number: int, count: int, interval: float) -> None:
        """Each event says when it was sent, by the clock that all processes share."""
        if number == count:
            self.transport.write(LAST)
            return
        event = b"data: %d %d\n\n" % (number, time.monotonic_ns())
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.timer = asyncio.get_running_loop().call_later(interval, self._send_event, number + 1, count, interval)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Service, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
