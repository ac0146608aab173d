"""Looking at the first bytes of a connection while they stay where they are."""

from __future__ import annotations

import asyncio
import socket

from portico.wire.proxy_protocol import LIMIT, Header, HeaderError, parse_header


async def peek(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    """What has come, `size` bytes at most, as soon as there is something; empty where the other side has closed."""
    while True:
        try:
            return connection.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(loop, connection)


async def take_header(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> Header | None:
    """Take a PROXY header, and not a byte behind it, off the connection; None where that was closed before any byte.

    What is not yet a whole header is taken at once, since it all belongs to it: bytes that stayed would wake the loop
    again and again. Raises HeaderError.
    """
    taken = b""
    while True:
        seen = await peek(loop, connection, LIMIT)
        if not seen:
            if taken:
                raise HeaderError("it ended within its PROXY header")
            return None
        header = parse_header(taken + seen)
        taken += connection.recv(header.size - len(taken) if header else len(seen))
        if header:
            return header


async def _readable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    arrived: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _tell, arrived)
    try:
        await arrived
    finally:
        loop.remove_reader(connection)


def _tell(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
