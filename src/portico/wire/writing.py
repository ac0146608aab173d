"""Writing with few system calls, and what the kernel reports about what was written."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from typing import Any, Final

LARGE: Final = 16 * 1024
"""Bytes from which a piece is written at once and never copied: the processor's cache still has it.

Smaller pieces are gathered, and cheaper joined into one than handed to the kernel one by one.
"""


WRITE_BUFFER: Final = 64 * 1024
"""Bytes waiting to be sent before the writer is paused."""


def descriptor_of(transport: asyncio.Transport) -> int:
    """Where what is written to `transport` goes as it is; -1 where it is encrypted first, or there is no socket."""
    sock: Any = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None:
        return -1
    return int(sock.fileno())


def unsent_bytes(transport: asyncio.Transport) -> int:
    """What was written and has not reached the other side: in the transport, and in the kernel if it reports that."""
    waiting = transport.get_write_buffer_size()
    sock: Any = transport.get_extra_info("socket")
    try:
        return waiting + int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (AttributeError, OSError):
        return waiting


def has_input(transport: asyncio.Transport) -> bool:
    """Whether there is something to read from the socket that the loop has not read yet: bytes, an end, or an error."""
    sock: Any = transport.get_extra_info("socket")
    try:
        return is_readable(sock.fileno())
    except AttributeError:  # a transport without a socket
        return False
    except (OSError, ValueError):
        return True


def is_readable(descriptor: int) -> bool:
    """Whether a read, or an accept, would not block. Raises OSError or ValueError where it is closed."""
    _POLL.register(descriptor, select.POLLIN)
    try:
        return bool(_POLL.poll(0))
    finally:
        _POLL.unregister(descriptor)


def reset_on_close(transport: asyncio.Transport) -> None:
    """Have the kernel reset the connection when it is closed: nobody takes its end for the end of a message."""
    sock: Any = transport.get_extra_info("socket")
    with contextlib.suppress(AttributeError, OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_POLL: Final = select.poll()


def is_broken(transport: asyncio.Transport) -> bool:
    """Whether the kernel knows that the other side has reset the connection."""
    sock: Any = transport.get_extra_info("socket")
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except (AttributeError, OSError):
        return False
