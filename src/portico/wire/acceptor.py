"""Taking connections off a listening socket that several workers share."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from portico.wire.http1.server import HttpServer
from portico.wire.threshold import Threshold

logger: Final = logging.getLogger("portico.wire")

_PAUSE: Final = 0.1
"""Seconds without accepting after the process ran out of descriptors."""
_LAST_GRACE: Final = 2.0
"""Seconds that connections which have yet to come to HTTP are given once no more are accepted."""


class Acceptor:
    """Accepts one connection in each turn of the event loop.

    All workers are woken for a new connection, and one that took all there are would leave the others idle. So each
    takes one and looks at its other events first: the busier it is, the fewer it gets.

    With a `threshold` connections come to `server` over that.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        server: HttpServer,
        threshold: Threshold | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._server = server
        self._threshold = threshold
        self._opening: set[asyncio.Task[None]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener, self._accept)

    def take(self, most: int) -> None:
        """Take those who wait, `most` of them; nobody once it is closed."""
        while most and self._listener.fileno() >= 0 and self._accept():
            most -= 1

    def is_opening(self) -> bool:
        """Whether connections were taken that the server has not heard of yet."""
        return bool(self._opening)

    def close(self, *, take_waiting: bool = True) -> None:
        """Take no more, with `take_waiting` but what has come so far: nobody who was let in is reset then."""
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
        """Take one connection; False where there is none."""
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
                await self._loop.connect_accepted_socket(self._server, connection)
            else:
                await self._threshold.admit(connection, peer)
        except OSError:  # a client that left
            connection.close()
        except Exception:
            logger.exception("an accepted connection failed in a way that nobody foresaw")
            connection.close()
