"""A service that keeps every byte it gets, per connection, and answers each strictly valid request with a small 200.

The client's address, which the gateway reports, tells whose request it is: every case has an address of its own. A
request without one came out of the request before it on its connection.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Self

from .strict import Head, NotStrictError, take_request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_REPORTED = re.compile(rb"\r\nx-forwarded-for: (?:[^\r\n]*, )?([0-9.]+)\r\n", re.IGNORECASE)


@dataclass
class Arrived:
    """What reached the service from one client address."""

    requests: list[Head] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    started: int = 0
    """Requests of which a whole head arrived."""


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, service: RecordingService) -> None:
        self.service = service
        self.received = self.pending = b""
        self.address = ""
        self.noted = self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.service.connections.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.pending += data
        while self.pending and not self.broken:
            self._note_head()
            try:
                found = take_request(self.pending)
            except NotStrictError as error:
                self.broken = True
                self.service.of(self.address).faults.append(f"{error}: {self.pending[:300]!r}")
                self.transport.close()
                return
            if found is None:
                return
            request, self.pending = found
            self.noted = False
            self.service.of(self.address).requests.append(request)
            self.transport.write(ANSWER if request.method == "HEAD" else ANSWER + b"ok")

    def _note_head(self) -> None:
        head, end, _ = self.pending.partition(b"\r\n\r\n")
        if end and not self.noted:
            self.noted = True
            reported = _REPORTED.search(head + b"\r\n")
            self.address = reported[1].decode() if reported else self.address
            self.service.of(self.address).started += 1


class RecordingService:
    """Listens on a free port of the loopback."""

    def __init__(self) -> None:
        self.connections: list[_Connection] = []
        self.arrived: dict[str, Arrived] = {}

    def of(self, address: str) -> Arrived:
        """What a client's requests brought here."""
        return self.arrived.setdefault(address, Arrived())

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for connection in self.connections:
            connection.transport.abort()
        await asyncio.sleep(0)
