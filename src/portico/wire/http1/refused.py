"""A connection that is refused before HTTP begins on it."""

from __future__ import annotations

import asyncio

from portico.core.errors import MessageError
from portico.core.exchange import Handler
from portico.wire.http1.server import READING_HEAD, HttpServer, ServerConnection
from portico.wire.proxy_protocol import Origin


class RefusedConnection(ServerConnection):
    """A connection on which nothing is read: it gets one refusal."""

    __slots__ = ("error",)

    def __init__(self, server: HttpServer, origin: Origin | None, handler: Handler | None, error: MessageError) -> None:
        super().__init__(server, origin, handler)
        self.error = error

    def begin_connection(self, transport: asyncio.BaseTransport) -> None:
        super().begin_connection(transport)
        if self.state == READING_HEAD:
            self.refuse(self.error, b"")
