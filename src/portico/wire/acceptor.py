"""Accepting connections from a listening socket that several workers share."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from portico.wire.http1.server import ServerConnection
from portico.wire.loads import Load
from portico.wire.threshold import Threshold
from portico.wire.writing import is_readable

logger: Final = logging.getLogger("portico.wire")

_PAUSE: Final = 0.1
"""Seconds without accepting after the process ran out of descriptors."""
_YIELD: Final = 0.001
"""Seconds for which a connection is left to the worker that has the fewest."""
_PATIENCE: Final = 0.02
"""Seconds after which it is accepted here all the same."""
_LAST_GRACE: Final = 2.0
"""Seconds that connections which have not yet reached HTTP are given once no more are accepted."""


class Acceptor:
    """Accepts one connection in each turn of the event loop.

    All workers are woken for a new connection, and one that accepted all of them would leave the others idle. So each
    accepts one and handles its other events first; and by its `load` it leaves one to a worker that has fewer. None:
    there is no other.

    `made` creates the protocol of each, unless they pass a `threshold`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        made: Callable[[], ServerConnection],
        threshold: Threshold | None = None,
        load: Load | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._made = made
        self._threshold = threshold
        self._load = load
        self._left_since = 0.0
        """When the first connection that still waits was left to others; 0 where none was."""
        self._opening: set[asyncio.Task[None]] = set()
        listener.setblocking(False)

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener, self._accept_one)

    def take(self, most: int) -> None:
        """Accept up to `most` waiting connections that are not for others; none once it is closed."""
        while most and self._listener.fileno() >= 0 and self._may_accept() and self._accept():
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

    def _accept_one(self) -> None:
        """Accept one, or leave it to others for a while."""
        if self._may_accept():
            self._left_since = 0.0
            self._accept()
            return
        now = self._loop.time()
        self._left_since = self._left_since or now
        if now - self._left_since >= _PATIENCE:
            self._accept()
        self._pause(_YIELD)

    def _may_accept(self) -> bool:
        return self._load is None or self._load.may_accept()

    def _accept(self) -> bool:
        """Accept one connection; False where there is none."""
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError:
            logger.exception("a connection could not be accepted")
            self._pause(_PAUSE)
            return False
        if self._load is not None:
            self._load.accept()
        task = self._loop.create_task(self._open(connection, str(address[0])))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            if not is_readable(self._listener.fileno()):
                self._left_since = 0.0
            self.start()

    async def _open(self, connection: socket.socket, peer: str) -> None:
        is_admitted = False
        try:
            connection.setblocking(False)
            if self._threshold is None:
                await self._loop.connect_accepted_socket(self._made, connection)
                is_admitted = True
            else:
                is_admitted = await self._threshold.admit(connection, peer)
        except OSError:  # a client that left
            connection.close()
        except Exception:
            logger.exception("an accepted connection failed in a way that nobody foresaw")
            connection.close()
        finally:
            if self._load is not None and not is_admitted:
                self._load.fail()
