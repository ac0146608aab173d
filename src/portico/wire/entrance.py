"""A way in: a listening socket, the server behind it, and how connections get from the one to the other."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from portico.wire.acceptor import Acceptor
from portico.wire.http1.server import HttpServer
from portico.wire.threshold import Threshold

_TOGETHER: Final = 256
"""Connections that are taken at once, at most."""


class Entrance:
    """Accepts for `server`. `alone` says that no other process does so; `tls` and `announces` are a threshold's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        server: HttpServer,
        *,
        alone: bool,
        tls: Callable[[], ssl.SSLContext] | None = None,
        announces: Callable[[str], bool] | None = None,
    ) -> None:
        self.server = server
        self._loop = loop
        self._listener = listener
        self._threshold = Threshold(loop, server, tls, announces) if tls or announces else None
        self._acceptor = Acceptor(loop, listener, server, self._threshold)
        self._is_direct = alone and self._threshold is None
        self._direct: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept from now on."""
        if self._is_direct:  # nobody to share with and nothing before HTTP: the loop's own way is cheaper
            listener = self._listener.dup()
            self._direct = await self._loop.create_server(self.server, sock=listener, backlog=4096)
        else:
            self._acceptor.start()

    def admit_waiting(self) -> None:
        """Take those who wait outside; to be called now and then. Else it is one a turn of the loop, however long."""
        self._acceptor.take(_TOGETHER)

    def close(self, *, take_waiting: bool = True) -> None:
        """Let nobody more in, with `take_waiting` but those who are waiting already: no other process takes them."""
        if self._direct is not None:
            self._direct.close()
        self._acceptor.close(take_waiting=take_waiting)

    def is_opening(self) -> bool:
        """Whether somebody was let in of whom the server has not heard yet."""
        return self._acceptor.is_opening()

    @property
    def failed_handshakes(self) -> int:
        """TLS handshakes that came to nothing so far."""
        return self._threshold.failed_handshakes if self._threshold else 0
