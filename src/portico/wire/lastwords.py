"""What a service sent before its connection broke.

A service that refuses an upload answers and closes without reading the rest. What is still being written to it then
meets a reset, and the transport is gone with the answer unread in the kernel. A second descriptor keeps that readable.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

_MOST: Final = 256 * 1024
"""Bytes that are read in the end: an answer of that kind is short."""


class LastWords:
    """Keeps the socket of a transport readable after the transport has failed; to be closed by its owner."""

    __slots__ = ("_socket",)

    def __init__(self, transport: asyncio.Transport) -> None:
        """Raises OSError where there is no socket, or no descriptor left for it."""
        self._socket = socket.socket(fileno=_duplicate(transport))

    def read(self) -> bytes:
        """What arrived and was not read, without waiting."""
        pieces: list[bytes] = []
        size = 0
        with contextlib.suppress(OSError):  # BlockingIOError: that was all
            self._socket.setblocking(False)
            while size < _MOST and (data := self._socket.recv(65536)):
                pieces.append(data)
                size += len(data)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the second descriptor."""
        self._socket.close()


def _duplicate(transport: asyncio.Transport) -> int:
    own: socket.socket | None = transport.get_extra_info("socket")
    if own is None:
        raise OSError("a transport without a socket")
    return socket.dup(own.fileno())
