"""Peeking at the first bytes of a connection, which stay in the socket."""

from __future__ import annotations

import asyncio
import socket

from portico.wire.proxy_protocol import LIMIT, Header, HeaderError, parse_header


async def peek(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    """What has arrived, `size` bytes at most, as soon as there is something; empty where the other side has closed."""
    while True:
        try:
            return connection.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(loop, connection)


async def take_header(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> Header | None:
    """Read a PROXY header, and not a byte after it, from the connection; None where that was closed before any byte.

    An incomplete header is read at once, since all of it belongs to the header: bytes left in the socket would wake
    the loop again and again. Raises HeaderError.
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
    loop.add_reader(connection, _arrived, arrived)
    try:
        await arrived
    finally:
        loop.remove_reader(connection)


def _arrived(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
