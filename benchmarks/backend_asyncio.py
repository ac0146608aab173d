"""The backend where nginx is not installed: just enough HTTP for the gateways here.

Arguments: the port, the short document, and how the two other paths of backend.py end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import cast

import uvloop

_connections = itertools.count(1)


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Backend(asyncio.Protocol):
    """Answers every request whose head and Content-Length body are complete."""

    def __init__(self, document: str, big_path: str, seen_path: str) -> None:
        self.small = _response(document.encode())
        self.big = _response(b"x" * (1 << 20))
        self.big_path = big_path
        self.seen_path = seen_path
        self.number = next(_connections)
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:
            line, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)}
            end += int(fields.get("content-length", 0))
            if len(self.buffer) < end:
                return
            self.buffer = self.buffer[end:]
            self.transport.write(self._answer(line.split(" ")[1].partition("?")[0], fields))

    def _answer(self, path: str, fields: dict[str, str]) -> bytes:
        if path.endswith(self.big_path):
            return self.big
        if path.endswith(self.seen_path):
            return _response(json.dumps(self._seen(fields)).encode())
        return self.small

    def _seen(self, fields: dict[str, str]) -> dict[str, str]:
        return {
            "connection": str(self.number),
            "request_id": fields.get("x-request-id", ""),
            "forwarded_for": fields.get("x-forwarded-for", ""),
            "user": fields.get("x-consumer-username", ""),
        }


async def _serve(port: int, *answers: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Backend(*answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), *sys.argv[2:]))
