"""A service with as many addresses as anybody wants: one process that answers on all of 127.0.0.0/8, and nowhere else.

Argument: its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import uvloop

from support.commands import python
from support.process import free_port
from support.server import Server

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Answering(asyncio.Protocol):
    """200 to whatever comes; a client that wants the connection closed gets that."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))
        if b"onnection: close" in data:
            self._transport.close()


@contextmanager
def serving() -> Iterator[int]:
    """The port, for as long as the block lasts."""
    port = free_port()
    with Server(port, *python("benchmarks.scale.many", port), path="/"):
        yield port


def addresses(services: int, each: int, port: int, first: int = 1) -> list[list[str]]:
    """URLs of instances, by service: no address comes twice; another `first` gives others (127.`first`.x.y)."""
    return [[_url(first, service * each + number, port) for number in range(each)] for service in range(services)]


def _url(first: int, number: int, port: int) -> str:
    return f"http://127.{first}.{number // 250}.{number % 250 + 1}:{port}"


async def _main(port: int) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")  # on all addresses of the loopback alone
    listening.bind(("", port))
    server = await asyncio.get_running_loop().create_server(_Answering, sock=listening, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
