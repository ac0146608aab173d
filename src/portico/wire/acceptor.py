"""Accepting connections from a listening socket that several workers share."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from portico.wire.http1.server import ServerConnection
from portico.wire.threshold import Threshold

logger: Final = logging.getLogger("portico.wire")

_PAUSE: Final = 0.1
"""Seconds without accepting after the process ran out of descriptors."""
_LAST_GRACE: Final = 2.0
"""Seconds that connections which have not yet reached HTTP are given once no more are accepted."""


class Acceptor:
    """Accepts one connection in each turn of the event loop.

    All workers are woken for a new connection, and one that accepted all of them would leave the others idle. So each
    accepts one and handles its other events first: the busier it is, the fewer it gets.

    `made` creates the protocol of each, unless they pass a `threshold`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        made: Callable[[], ServerConnection],
        threshold: Threshold | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._made = made
        self._threshold = threshold
        self._opening: set[asyncio.Task[None]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener, self._accept)

    def take(self, most: int) -> None:
        """Accept up to `most` waiting connections; none once it is closed."""
        while most and self._listener.fileno() >= 0 and self._accept():
            most -= 1

    def is_opening(self) -> bool:
        """Whether there are accepted connections that have not reached the server yet."""
        return bool(self._opening)

    def close(self, *, take_waiting: bool = True) -> None:
        """Stop accepting; with `take_waiting`, first accept the backlog, so that no connection in it is reset."""
        self._loop.remove_reader(self._listener)
        while take_waiting and self._accept():
            pass
        self._listener.close()
        if self._threshold is not None:
            self._loop.call_later(_LAST_GRACE, self._give_up)

    def _give_up(self) -> None:
        for task in self._opening:
            task.cancel()

    def _accept(self) -> bool:
        """Accept one connection; False where there is none."""
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError:
            logger.exception("a connection could not be accepted")
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE, self._resume)
            return False
        task = self._loop.create_task(self._open(connection, str(address[0])))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self.start()

    async def _open(self, connection: socket.socket, peer: str) -> None:
        try:
            connection.setblocking(False)
            if self._threshold is None:
                await self._loop.connect_accepted_socket(self._made, connection)
            else:
                await self._threshold.admit(connection, peer)
        except OSError:  # a client that left
            connection.close()
        except Exception:
            logger.exception("an accepted connection failed in a way that nobody foresaw")
            connection.close()
