"""Signals as bytes on a socket: the way to wait for several of them at once on every POSIX system."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@contextlib.contextmanager
def wakeups() -> Iterator[socket.socket]:
    """A socket that gets a byte, the signal's number, for each signal that the supervisor handles."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    for number in _SIGNALS:
        signal.signal(number, _noted)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # at the end nothing may spoil the exit status
        signal.set_wakeup_fd(-1)
        reader.close()
        writer.close()


def leave_wakeups() -> None:
    """In a child: signals have their default effect, or none until the process installs its handlers."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):  # Ctrl-C reaches all; the supervisor decides
        signal.signal(number, signal.SIG_IGN)


def _noted(number: int, frame: object) -> None:
    """The byte in the socket is all that is needed."""
