"""What a connection has to pass before HTTP: a PROXY header where its peer announces others, a TLS handshake."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from portico.core.errors import MessageError
from portico.core.exchange import Handler
from portico.wire.http1.refused import RefusedConnection
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.peeking import peek, take_header
from portico.wire.proxy_protocol import HeaderError, Origin

logger: Final = logging.getLogger("portico.wire")

_EVENT_INTERVAL: Final = 60.0
_TLS_RECORD: Final = b"\x16"
"""The first byte of every handshake (RFC 8446, section 5.1) and of no HTTP request."""
_NOT_TLS: Final = MessageError("malformed_request", "this port speaks TLS: use https")


class Threshold:
    """Admits connections to `server`; `limits.header_timeout` covers everything before HTTP together.

    `tls` gives the context for a new connection; None: there is no TLS. `announces` says for which peers, by address,
    every connection begins with a PROXY header; None: for none. `handler` is theirs in place of the server's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: HttpServer,
        tls: Callable[[], ssl.SSLContext] | None,
        announces: Callable[[str], bool] | None,
        handler: Handler | None = None,
    ) -> None:
        self._loop = loop
        self._server = server
        self._handler = handler
        self._tls = tls
        self._announces = announces
        self._under_way = 0
        self._full = _Seldom("a connection was closed at once: gateway.limits.connections are open")
        self._misannounced = _Seldom(
            "a connection from a trusted proxy was closed: it has to begin with a PROXY header"
        )
        self.failed_handshakes = 0

    async def admit(self, connection: socket.socket, peer: str) -> bool:
        """Take over the connection, which is non-blocking; one that does not pass is closed, and False returned."""
        if len(self._server.connections) + self._under_way >= self._server.limits.connections:
            self._full.warn(peer)
            connection.close()
            return False
        self._under_way += 1
        try:
            passes = await self._pass(connection, peer, self._loop.time() + self._server.limits.header_timeout)
            if not passes:
                connection.close()
            return passes
        except BaseException:  # whatever happened, even the process ending: nothing else closes it
            connection.close()
            raise
        finally:
            self._under_way -= 1

    async def _pass(self, connection: socket.socket, peer: str, end: float) -> bool:
        origin: Origin | None = None
        if self._announces is not None and self._announces(peer):
            try:
                async with asyncio.timeout_at(end):
                    header = await take_header(self._loop, connection)
            except TimeoutError:
                self._misannounced.warn(peer, "none came in time")
                return False
            except HeaderError as error:
                self._misannounced.warn(peer, str(error))
                return False
            if header is None:  # a probe of whether the port is open
                return False
            origin = header.origin
        if self._tls is None:
            made = partial(ServerConnection, self._server, origin, self._handler)
            await self._loop.connect_accepted_socket(made, connection)
            return True
        return await self._shake_hands(connection, origin, origin.address if origin else peer, end)

    async def _shake_hands(self, connection: socket.socket, origin: Origin | None, client: str, end: float) -> bool:
        assert self._tls is not None
        limits = self._server.limits
        try:
            async with asyncio.timeout_at(end):
                first = await peek(self._loop, connection, 1)
                if first == _TLS_RECORD:
                    await self._loop.connect_accepted_socket(
                        partial(ServerConnection, self._server, origin, self._handler),
                        connection,
                        ssl=self._tls(),
                        ssl_handshake_timeout=limits.header_timeout,
                        ssl_shutdown_timeout=limits.body_timeout,
                    )
                elif first:
                    refused = partial(RefusedConnection, self._server, origin, self._handler, _NOT_TLS)
                    await self._loop.connect_accepted_socket(refused, connection)
        except OSError as error:  # includes ssl.SSLError and TimeoutError
            reason = "not done in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            self.failed_handshakes += 1
            logger.debug("a TLS handshake failed", extra={"client": client, "reason": reason})
            return False
        return bool(first)


class _Seldom:
    """An event that any client can cause: logged once a minute, with the number of those left out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = 0.0
        self._left_out = 0

    def warn(self, peer: str, reason: str | None = None) -> None:
        if time.monotonic() < self._next:
            self._left_out += 1
            return
        extra = {"peer": peer, "left_out": self._left_out} | ({"reason": reason} if reason else {})
        logger.warning(self._text, extra=extra)
        self._next, self._left_out = time.monotonic() + _EVENT_INTERVAL, 0
