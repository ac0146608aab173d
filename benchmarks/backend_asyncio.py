"""The backend where nginx is not installed, or can't do it: just enough HTTP and WebSocket for the gateways here.

Arguments: the port, the short document, and how the three other paths of backend.py end.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from typing import cast

import uvloop

_connections = itertools.count(1)
_MEBIBYTE = b"x" * (1 << 20)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def _head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def _response(body: bytes) -> bytes:
    return _head(len(body)) + body


class Backend(asyncio.Protocol):
    """Answers every request whose head and Content-Length body are complete; after a handshake sends messages back."""

    def __init__(self, document: str, mebibyte: str, gibibyte: str, seen: str) -> None:
        self.small = _response(document.encode())
        self.mebibyte = mebibyte
        self.gibibyte = gibibyte
        self.seen = seen
        self.number = next(_connections)
        self.buffer = b""
        self.pieces: Iterator[bytes] = iter(())
        self.is_paused = self.is_websocket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self._write_pieces()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.is_websocket:
            self._echo()
            return
        while (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:
            line, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)}
            end += int(fields.get("content-length", 0))
            if len(self.buffer) < end:
                return
            self.buffer = self.buffer[end:]
            self.pieces = self._answer(line.split(" ")[1].partition("?")[0], fields)
            self._write_pieces()

    def _write_pieces(self) -> None:
        while not self.is_paused and (piece := next(self.pieces, b"")):
            self.transport.write(piece)

    def _answer(self, path: str, fields: dict[str, str]) -> Iterator[bytes]:
        if fields.get("upgrade") == "websocket":
            self.is_websocket = True
            yield _switching(fields["sec-websocket-key"])
        elif path.endswith(self.mebibyte):
            yield _response(_MEBIBYTE)
        elif path.endswith(self.gibibyte):
            yield _head(1 << 30)
            yield from itertools.repeat(_MEBIBYTE, 1 << 10)
        elif path.endswith(self.seen):
            yield _response(json.dumps(self._seen(fields)).encode())
        else:
            yield self.small

    def _seen(self, fields: dict[str, str]) -> dict[str, str]:
        return {
            "connection": str(self.number),
            "request_id": fields.get("x-request-id", ""),
            "forwarded_for": fields.get("x-forwarded-for", ""),
            "user": fields.get("x-consumer-username", ""),
        }

    def _echo(self) -> None:
        """Sends every whole frame back unmasked; none here is longer than 125 bytes (RFC 6455, section 5.2)."""
        while len(self.buffer) > 1 and len(self.buffer) >= (end := 6 + (length := self.buffer[1] & 0x7F)):
            mask = int.from_bytes((self.buffer[2:6] * (length // 4 + 1))[:length], "big")
            payload = int.from_bytes(self.buffer[6:end], "big") ^ mask
            self.transport.write(bytes([self.buffer[0], length]) + payload.to_bytes(length, "big"))
            self.buffer = self.buffer[end:]


def _switching(key: str) -> bytes:
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


async def _serve(port: int, *answers: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Backend(*answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), *sys.argv[2:]))
