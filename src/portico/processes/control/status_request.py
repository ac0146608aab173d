"""One GET over a connection of its own, of which nothing but the status counts: what a health check sends.

A client with a pool asks each of its connections before it opens one: with thousands of checks that is what all of
them wait for.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from portico.core.errors import MessageError
from portico.core.fields import RESPONSE_RULES
from portico.wire.http1.grammar import parse_response_head

_LONGEST: Final = 64 * 1024
"""Bytes of a head, the interim ones before it included."""
_MOST_FIELDS: Final = 1000
_SWITCHED: Final = 101


async def status_of(
    host: str,
    port: int,
    authority: str,
    path: str,
    agent: str,
    context: ssl.SSLContext | None = None,
    name: str = "",
    connect_within: float | None = None,
) -> int:
    """The status of the final response; `context` is for TLS with the server of that `name`.

    Raises OSError where there is none, also one that is no HTTP, and TimeoutError where the connection takes more than
    `connect_within` seconds.
    """
    loop = asyncio.get_running_loop()
    asking = _Asking(loop.create_future(), _request(authority, path, agent))
    connecting = loop.create_connection(
        lambda: asking, host, port, ssl=context, server_hostname=name if context is not None else None
    )
    if connect_within is None:
        transport, _ = await connecting
    else:
        async with asyncio.timeout(connect_within):
            transport, _ = await connecting
    return await _answered(transport, asking)


async def status_at(socket: str, authority: str, path: str, agent: str) -> int:
    """The same of what listens at a Unix socket."""
    loop = asyncio.get_running_loop()
    asking = _Asking(loop.create_future(), _request(authority, path, agent))
    transport, _ = await loop.create_unix_connection(lambda: asking, socket)
    return await _answered(transport, asking)


def _request(authority: str, path: str, agent: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", f"Host: {authority}", f"User-Agent: {agent}", "Accept: */*", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode()


async def _answered(transport: asyncio.BaseTransport, asking: _Asking) -> int:
    try:
        return await asking.status
    finally:
        transport.close() if asking.has_all else transport.abort()  # type: ignore[attr-defined]


class _Asking(asyncio.Protocol):
    def __init__(self, status: asyncio.Future[int], request: bytes) -> None:
        self.status = status
        self.has_all = False
        """Whether the service has sent all that it wants to say: closing then resets nothing."""
        self._request = request
        self._received = b""
        self._interim = 0
        """Bytes of the interim heads that were read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.status.done():
            return
        self._received += data
        try:
            self._read()
        except MessageError as error:
            self._fail(f"what it answers is not HTTP: {error.detail}")

    def _read(self) -> None:
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = parse_response_head(self._received[:end], _MOST_FIELDS, RESPONSE_RULES, bodiless=False)
            self._received = self._received[end + 4 :]
            self._interim += end + 4
            if head.status >= 200 or head.status == _SWITCHED:
                self.has_all = 0 <= head.framing <= len(self._received)
                self.status.set_result(head.status)
                return
            if self._interim > _LONGEST:
                break
        if self._interim + len(self._received) > _LONGEST:
            self._fail(f"the head of its answer is larger than {_LONGEST >> 10} KiB")
        elif len(self._received) >= 5 and not self._received.startswith(b"HTTP/"):
            self._fail("what it answers is not HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status.done():
            self.status.set_exception(exc if isinstance(exc, OSError) else OSError("it closed the connection"))

    def _fail(self, why: str) -> None:
        self.status.set_exception(OSError(why))
