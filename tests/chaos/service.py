"""One instance of the service: it answers well, or in one of the bad ways that it is told to.

`GET /small/TEXT`; `GET /large/PIECES`; `POST /echo`; `GET /download/PIECES/MS` and `GET /events/COUNT/MS`, a piece each
MS milliseconds; `GET /socket`, a WebSocket that echoes; `GET /health`. Straight at the instance: `GET /-/be/MANNER` and
`GET /-/count`, how many requests came. Arguments: the port and the instance's name, which each response tells.

The manners: `well`; `failing` (500, while /health passes: it is what the service needs that is broken); `cutting` (a
RST in the middle of the content); `slow` (a second late); `mute` (accepts, and answers nothing, /health neither).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import uvloop

from support.frames import CLOSE, encode

from .talk import read_frame

MANNERS: Final = ("well", "failing", "cutting", "slow", "mute")
PIECE: Final = bytes(range(256)) * 32
"""What a download is made of."""
_SLOW: Final = 1.0
_MOST: Final = 600.0
"""Seconds after which it ends by itself, whatever became of who started it."""
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Instance:
    """What all connections share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.manner = "well"
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(OSError, EOFError):
            while True:
                await Answer(self, reader, writer).give()
        writer.close()


class Answer:
    """One request and its response."""

    def __init__(self, instance: Instance, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._instance = instance
        self._reader = reader
        self._writer = writer

    async def give(self) -> None:
        """Read a request and answer it; raises EOFError where none comes, or none shall follow."""
        line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self._fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)}
        self._content = await self._reader.readexactly(int(self._fields.get("content-length", 0)))
        kind, *self._parts = line.split(" ")[1].strip("/").split("/")
        if kind == "-":
            self._control()
            return
        if kind != "health":
            self._instance.count += 1
        if not await self._behave(kind):
            await _ANSWERS[kind](self)

    def _control(self) -> None:
        if self._parts[0] == "be":
            self._instance.manner = self._parts[1]
        self._send(str(self._instance.count).encode())

    async def _behave(self, kind: str) -> bool:
        """Whether the instance's manner leaves nothing more to answer."""
        match self._instance.manner:
            case "mute":
                await self._reader.read()
                raise EOFError
            case "slow" if kind != "health":
                await asyncio.sleep(_SLOW)
            case "failing" if kind != "health":
                self._send(b"nothing works", "500 Internal Server Error")
                return True
            case "cutting" if kind != "health":
                self._head("Content-Length: 1000")
                self._writer.write(bytes(500))
                await asyncio.sleep(0.01)  # or what was written is lost with the rest
                sock = self._writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
                raise EOFError
        return False

    async def _small(self) -> None:
        self._send("/".join(self._parts).encode())

    async def _echo(self) -> None:
        self._send(self._content)

    async def _download(self) -> None:
        count, pause = int(self._parts[0]), int(self._parts[1]) / 1000
        self._head(f"Content-Length: {count * len(PIECE)}")
        for _ in range(count):
            self._writer.write(PIECE)
            await self._writer.drain()
            await asyncio.sleep(pause)

    async def _large(self) -> None:
        self._send(PIECE * int(self._parts[0]))
        await self._writer.drain()

    async def _events(self) -> None:
        count, pause = int(self._parts[0]), int(self._parts[1]) / 1000
        self._head("Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        for number in range(count):
            event = b"data: %d\n\n" % number
            self._writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await self._writer.drain()
            await asyncio.sleep(pause)
        self._writer.write(b"0\r\n\r\n")

    async def _socket(self) -> None:
        key = self._fields["sec-websocket-key"] + _GUID
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self._head("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", status="101 Over")
        while (frame := await read_frame(self._reader)).opcode != CLOSE:
            self._writer.write(encode(frame.opcode, frame.payload, mask=b""))
        self._writer.write(encode(CLOSE, frame.payload, mask=b""))
        raise EOFError

    async def _health(self) -> None:
        self._send(b"fine")

    def _send(self, content: bytes, status: str = "200 OK") -> None:
        self._head(f"Content-Length: {len(content)}", status=status)
        self._writer.write(content)

    def _head(self, *lines: str, status: str = "200 OK") -> None:
        own = [f"HTTP/1.1 {status}", f"X-Instance: {self._instance.name}", *lines, "", ""]
        self._writer.write("\r\n".join(own).encode())


_ANSWERS: Final[dict[str, Callable[[Answer], Awaitable[None]]]] = {
    "small": Answer._small,
    "echo": Answer._echo,
    "download": Answer._download,
    "large": Answer._large,
    "events": Answer._events,
    "socket": Answer._socket,
    "health": Answer._health,
}


async def _serve(port: int, name: str) -> None:
    server = await asyncio.start_server(Instance(name).serve, "127.0.0.1", port, backlog=4096)
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST):
            await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
