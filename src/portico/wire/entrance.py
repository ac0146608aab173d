"""A listener: its socket, the server behind it, and how connections get from the one to the other."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from portico.core.exchange import Handler
from portico.wire.acceptor import Acceptor
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.loads import Load
from portico.wire.threshold import Threshold

_TOGETHER: Final = 256
"""Connections that are accepted at once, at most."""


class Entrance:
    """Accepts for `server`. `alone` says that no other process does so; `tls` and `announces` are for `Threshold`.

    Where others do, `load` says which connections are for them.

    `handler` receives the requests, in place of the server's own: several entrances may share a server.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        server: HttpServer,
        *,
        alone: bool,
        tls: Callable[[], ssl.SSLContext] | None = None,
        announces: Callable[[str], bool] | None = None,
        handler: Handler | None = None,
        load: Load | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._made = partial(ServerConnection, server, None, handler)
        self._threshold = Threshold(loop, server, tls, announces, handler) if tls or announces else None
        self._acceptor = Acceptor(loop, listener, self._made, self._threshold, load)
        self._is_direct = alone and self._threshold is None
        self._direct: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept from now on."""
        if self._is_direct:  # not shared and nothing before HTTP: the loop's own server is cheaper
            listener = self._listener.dup()
            self._direct = await self._loop.create_server(self._made, sock=listener, backlog=4096)
        else:
            self._acceptor.start()

    def admit_waiting(self) -> None:
        """Accept the backlog; to be called periodically. Otherwise it is one per turn of the loop, however long."""
        self._acceptor.take(_TOGETHER)

    def close(self, *, take_waiting: bool = True) -> None:
        """Stop accepting; with `take_waiting`, first accept the backlog, which no other process would."""
        if self._direct is not None:
            self._direct.close()
        self._acceptor.close(take_waiting=take_waiting)

    def is_opening(self) -> bool:
        """Whether there are accepted connections that have not reached the server yet."""
        return self._acceptor.is_opening()

    @property
    def failed_handshakes(self) -> int:
        """TLS handshakes that have failed so far."""
        return self._threshold.failed_handshakes if self._threshold else 0
