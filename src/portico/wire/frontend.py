"""Client limits and client counts of a worker: all that client connections share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from portico.core.clients import client_of
from portico.core.errors import MessageError
from portico.core.exchange import Client, Handler
from portico.core.faults import FAULTS, contain
from portico.core.fields import REQUEST_RULES
from portico.wire.deadlines import Deadlines
from portico.wire.loads import Load
from portico.wire.turn import Turn


def _is_nobody(address: str) -> bool:  # noqa: ARG001
    return False


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one client at a worker; sizes in bytes, times in seconds.

    `body_rate`, in bytes a second, and `connections_per_client` have no effect at 0. `is_shared` says which addresses
    have many clients behind them; these are exempt from the latter.
    """

    header_size: int = 32 * 1024
    header_count: int = 100
    url_length: int = 16 * 1024
    body_size: int = 10 * 1024 * 1024
    body_rate: int = 0
    connections: int = 10_000
    connections_per_client: int = 0
    is_shared: Callable[[str], bool] = _is_nobody
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0

    def broken_by(self, buffer: bytes, end: int) -> MessageError | None:
        """The error for a head, complete up to `end` or not (-1), that exceeds a limit."""
        line = buffer.find(b"\r\n")
        target_limit = self.url_length + 64  # method and version beside the target
        if (line if line >= 0 else len(buffer)) > target_limit:
            return MessageError("url_too_long", f"the request target is longer than {self.url_length} bytes")
        size = (end if end >= 0 else len(buffer) - 3) - line  # while the end is not there, 3 bytes may be part of it
        if line >= 0 and size > self.header_size:
            return MessageError("headers_too_large", f"the header fields are larger than {self.header_size} bytes")
        return None


class Connection(Protocol):
    """One client's connection."""

    client: Client
    transport: asyncio.Transport

    def close_if_idle(self) -> None:
        """Close if no exchange runs."""

    def close_after_exchange(self) -> bool:
        """Say so in the response, and close behind it; False where no response is outstanding."""

    def cut(self) -> None:
        """End at once; where an exchange runs, the server's stop is its reason."""

    def forget_heads(self) -> None:
        """Do not match requests against earlier ones, which were read under other limits."""

    def faulted(self) -> None:
        """End it: it failed unexpectedly."""


class Frontend:
    """The side of a worker that clients see: what all their connections share.

    `noted` are the names of fields that the handler wants in `RequestHead.noted`; `passes` says by its name whether
    it acts on a field in no way (None: on those that are not noted).
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        deadlines: Deadlines,
        turn: Turn,
        loop: asyncio.AbstractEventLoop,
        noted: frozenset[bytes] = frozenset(),
        passes: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.handler = handler
        self.noted = noted | REQUEST_RULES
        self.passes = passes
        self.limits = limits
        self.deadlines = deadlines
        self.turn = turn
        self.loop = loop
        self.connections: set[Connection] = set()
        self.clients: dict[str, int] = {}
        """The number of connections per client, by `client_of` its address."""
        self.draining = False
        self.in_flight = 0
        self.tunnels = 0
        self.load: Load | None = None
        """What other workers see of this one; None where there is no other."""

    def change(self, limits: Limits, passes: Callable[[bytes], bool] | None = None) -> None:
        """Apply other limits, and other fields that pass, from the next request on."""
        self.limits = limits
        self.passes = passes
        for connection in list(self.connections):
            try:
                connection.forget_heads()
            except FAULTS:
                contain(connection)

    def admit(self, connection: Connection) -> MessageError | None:
        """Count a new connection; the error where it is one too many."""
        limits = self.limits
        address = connection.client.address
        client = client_of(address)
        self.clients[client] = count = self.clients.get(client, 0) + 1
        self.connections.add(connection)
        if self.load is not None:
            self.load.admit(len(self.connections))
        if len(self.connections) > limits.connections:
            return MessageError("overloaded", "too many connections; try again soon")
        if limits.connections_per_client and count > limits.connections_per_client and not limits.is_shared(address):
            return MessageError("too_many_connections", "too many connections from this address")
        return None

    def release(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection not in self.connections:  # a fault kept it from being admitted
            if self.load is not None:
                self.load.fail()
            return
        self.connections.discard(connection)
        if self.load is not None:
            self.load.hold(len(self.connections))
        client = client_of(connection.client.address)
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]

    def close_idle(self) -> None:
        """Close connections on which no exchange runs; with `draining` set, the others close after their exchange."""
        self.turn.process()
        for connection in list(self.connections):
            try:
                connection.close_if_idle()
            except FAULTS:
                contain(connection)

    def shed(self, most: int) -> int:
        """Close up to `most` connections behind the response that each waits for; how many."""
        shed = 0
        for connection in self.connections:
            if shed == most:
                break
            shed += connection.close_after_exchange()
        return shed

    def cut(self) -> None:
        """End every connection at once."""
        for connection in list(self.connections):
            try:
                connection.cut()
            except FAULTS:
                contain(connection)
