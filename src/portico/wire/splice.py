"""Content that the kernel moves from socket to socket without a copy (splice, of Linux).

It is for the middle of a long body that is passed on unchanged: its beginning and its end pass as all content does.
The transports keep their sockets. A second descriptor of the source signals when more has arrived. Anything unusual,
an end, a failure or a full socket, is left for the transports to find.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
from contextlib import suppress
from typing import Final, Protocol

from portico.core.exchange import Sink
from portico.core.faults import FAULTS, contain
from portico.wire.paced import Paced

logger: Final = logging.getLogger("portico.wire")

LONG: Final = 256 * 1024 if hasattr(os, "splice") else sys.maxsize
"""Bytes still to come from which the second descriptor is worth its system calls."""
_TAIL: Final = 16 * 1024
"""Bytes at the end of a body that are read as usual, so that what follows the end is seen."""
_MOST: Final = 512 * 1024
"""Bytes that are moved at once, at most; then other connections are served."""
_FIRST: Final = 128 * 1024
"""Bytes that are moved at first, and twice as many each time: what a slow client does not take is kept in memory."""
_CANNOT: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM)
"""The errors of a kernel that can't splice sockets, or may not."""


class Source(Protocol):
    """Where content comes from, while nothing is read from it otherwise."""

    descriptor: int
    left: int
    """Bytes of content that are still to come."""

    def body_moved(self, size: int) -> None:
        """`size` bytes of content were moved to the sink."""

    def read_again(self) -> None:
        """The rest has to be read as usual."""

    def faulted(self) -> None:
        """It is unknown how much of the content was passed on: end both sides."""


class Pipe:
    """The pipe of every splice; it is empty whenever nothing is being moved, so one serves the whole worker."""

    def __init__(self) -> None:
        """Raises OSError where there is no descriptor left."""
        self._exit, self._entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # PermissionError: this user has many pipes, and it stays at 64 KiB, which is slower
            fcntl.fcntl(self._entry, fcntl.F_SETPIPE_SZ, _MOST)
        self.is_of_use = True

    def move(self, source: int, sink: int, size: int) -> tuple[int, bytes]:
        """Move up to `size` bytes: how many left the source, and those of them that the sink did not take.

        Raises OSError where the source has nothing to read; nothing is taken then. After any other failure the pipe
        must not be used again: it may hold bytes of one client that must not reach another.
        """
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        try:
            taken = waiting = os.splice(source, self._entry, size, flags=flags)
        except OSError as error:
            if error.errno in _CANNOT:
                self.is_of_use = False
                logger.info("long bodies are copied: the kernel does not splice here", extra={"error": str(error)})
            raise
        rest = b""
        try:
            with suppress(OSError):  # full, or broken: its transport finds out when it writes the rest
                while waiting:
                    waiting -= os.splice(self._exit, sink, waiting, flags=flags)
            while len(rest) < waiting:
                rest += os.read(self._exit, waiting - len(rest))
        except BaseException as error:
            self.is_of_use = False
            raise RuntimeError("what was moved is lost") from error
        return taken, rest


class Splice:
    """The middle of one body on its way; it ends by itself, with a call to `read_again`, when it can't go on."""

    __slots__ = ("_descriptor", "_is_waiting", "_paced", "_pipe", "_sink", "_size", "_source")

    def __init__(self, source: Source, sink: Sink, pipe: Pipe, paced: Paced) -> None:
        """Raises OSError where there is no descriptor left."""
        self._source = source
        self._sink = sink
        self._pipe = pipe
        self._paced = paced
        self._size = _FIRST
        self._is_waiting = False
        self._descriptor = os.dup(source.descriptor)  # the loop refuses a reader on a transport's own descriptor
        paced.loop.add_reader(self._descriptor, self._has_more)

    def close(self) -> None:
        """Leave both sockets to their transports."""
        if self._descriptor >= 0:
            self._paced.loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _has_more(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._paced.plan(self._move)

    def _move(self) -> None:
        self._is_waiting = False
        if self._descriptor < 0:
            return
        try:
            self._move_some()
        except FAULTS:
            contain(self._source)

    def _move_some(self) -> None:
        source, sink = self._source, self._sink
        size = min(source.left - _TAIL, self._size)
        if size <= 0 or sink.transport.is_closing():
            self._end()
            return
        try:
            taken, rest = self._pipe.move(self._descriptor, sink.descriptor, size)
        except OSError:  # BlockingIOError too: what comes next is nothing that could be moved, like urgent data
            self._end()
            return
        source.body_moved(taken)
        sink.body_moved(taken, rest)  # which may make the source pause
        self._size = min(2 * self._size, _MOST)
        if rest or not taken:
            self._end()

    def _end(self) -> None:
        if self._descriptor >= 0:
            self.close()
            self._source.read_again()
