"""One address of a service: its health and its connections."""

from __future__ import annotations

import asyncio
import errno
import ssl
import sys
import time
from dataclasses import dataclass
from typing import Final

from portico.core.errors import UpstreamError
from portico.core.hosts import is_internal
from portico.net.tls.causes import cause_of, proxy_error_of
from portico.upstreams.breaker import Breaker
from portico.upstreams.latency import FAILURE, Latency
from portico.upstreams.reachability import Reachability
from portico.wire.deadlines import Deadlines
from portico.wire.http1.client import UpstreamConnection
from portico.wire.http1.response_heads import ResponseHeads
from portico.wire.turn import Turn
from portico.wire.writing import has_input

RECENT: Final = 0.75
"""Seconds since its last use within which a connection is safe for a request that must not be sent twice: the shortest
idle timeouts of services are one second."""
PROVEN: Final = 0.25
"""Seconds that a connection has to stay open after a 5xx until it is safe for such a request: uvicorn closes behind the
answer to an unhandled exception, and does not say so."""
_BROKEN_OFF: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
"""How a handshake may end that the peer breaks off."""
_UNROUTABLE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instance listens: a host and port, or the path of a unix socket.

    `authority` is what its Host field says, and the log where it has no `name`; `tls` verifies and names the peer where
    the scheme is https.
    """

    authority: str
    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    name: str = ""


class Instance:
    """The live state of one instance; it outlives configuration changes that leave its address alone."""

    def __init__(
        self, address: Address, deadlines: Deadlines, turn: Turn, noted: frozenset[bytes] = frozenset()
    ) -> None:
        self.address = address
        self.name = address.name or address.authority
        self.line_end = b" HTTP/1.1\r\nHost: %b\r\n" % address.authority.encode()
        """How the request line ends, and the Host field."""
        self.is_internal = bool(address.path) or is_internal(address.host)
        """Whether it is named as on a network of one's own."""
        self.healthy = True
        self.is_backup = False
        """Whether it is used only while none of the others can be."""
        self.is_drained = False
        """Whether somebody has said that it gets no new exchange, not even of those that belong to it."""
        self.weight: int | None = None
        """The weight that somebody has given it, in place of the one that is written."""
        self.in_flight = 0
        self.idle_time = 4.0
        self.breaker: Breaker | None = None
        self.latency: Latency | None = None
        self.reachability = Reachability()
        self.answered_at = 0.0
        """When it began its last answer (monotonic seconds)."""
        self.returned = float("-inf")
        """When it was admitted again (monotonic seconds): from then on it warms up."""
        self.backoff_until = 0.0
        """Until when it asked for backoff: no retry is sent to it."""
        self.max_connections = sys.maxsize
        """For exchanges under way; an idle connection makes way for one that is needed."""
        self._deadlines = deadlines
        self._turn = turn
        self._heads = ResponseHeads(noted)
        self._idle: list[UpstreamConnection] = []
        self._doubtful: list[UpstreamConnection] = []
        """Idle connections whose last response was a 5xx, the oldest first."""

    def follow(self, previous: Instance) -> None:
        """Take over the state of the previous instance at this address, from which only the TLS differs.

        The breaker begins anew: it may be the TLS that failed.
        """
        self.healthy = self.healthy and previous.healthy
        self.is_drained, self.weight = previous.is_drained, previous.weight
        self.latency = previous.latency
        self.answered_at, self.returned = previous.answered_at, previous.returned
        self.backoff_until = previous.backoff_until

    # ---- outcomes of exchanges; reported only where a breaker or a balancer uses them

    def note_answer(self, exchange: object, status: int, seconds: float) -> None:
        """The head of a response came after `seconds`."""
        failed = status >= 500
        if self.latency is not None:
            self.latency.note(max(seconds, FAILURE) if failed else seconds, time.monotonic())
        if self.breaker is not None:
            if failed:
                self.breaker.failed(exchange)
            elif self.breaker.alert:
                self.breaker.answered(exchange)

    def note_failure(self, exchange: object, seconds: float, error: UpstreamError | None = None) -> None:
        """No whole response came, for which `seconds` were lost."""
        if error is not None and error.cause:
            self.reachability.failed(error.cause, was_open=error.phase == "reset")
        if self.latency is not None:
            self.latency.note(max(seconds, FAILURE), time.monotonic())
        if self.breaker is not None:
            self.breaker.failed(exchange)

    def retire_breaker(self) -> None:
        """Remove the breaker."""
        if self.breaker is not None:
            self.breaker.retire()
            self.breaker = None

    # ---- its connections

    def take(self, only_once: bool) -> UpstreamConnection | None:
        """An idle connection, the last used first.

        For a request that may be sent `only_once`, it is one used within `RECENT` seconds that has not been closed.
        """
        if only_once:
            return self._take_safe()
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.pending:  # it has sent something unrequested
                connection.close()
            elif not connection.transport.is_closing():
                return connection
        return self._take_doubtful(only_once) if self._doubtful else None

    def _take_safe(self) -> UpstreamConnection | None:
        idle, now = self._idle, time.monotonic()
        while idle and now - idle[-1].idle_since <= RECENT:
            connection = idle.pop()
            if connection.pending or has_input(connection.transport):
                connection.close()
            elif not connection.transport.is_closing():
                return connection
        return self._take_doubtful(only_once=True)

    def _take_doubtful(self, only_once: bool) -> UpstreamConnection | None:
        """One of the connections that carried a 5xx; for a request that may be sent `only_once`, a proven one."""
        doubtful, now = self._doubtful, time.monotonic()
        while doubtful:
            if only_once and now - doubtful[0].idle_since < PROVEN:
                break
            connection = doubtful.pop(0)
            if connection.pending or connection.transport.is_closing() or has_input(connection.transport):
                connection.close()
            elif only_once and now - connection.idle_since > RECENT:
                self._idle.insert(0, connection)
            else:
                return connection
        return None

    def give_back(self, connection: UpstreamConnection, now: float = 0.0) -> None:
        """Keep a connection for the next exchange, no longer than this gateway or the service allows."""
        span = self.idle_time
        if connection.keep_alive_timeout is not None:
            span = min(span, connection.keep_alive_timeout - 1.0)
        if span <= 0.0:
            connection.close()
            return
        connection.idle_since = now = now or time.monotonic()
        connection.deadline = deadline = now + span
        if deadline < connection.wakes:
            self._deadlines.set(connection, deadline)
        self._idle.append(connection)

    def doubt(self, connection: UpstreamConnection) -> None:
        """A connection that was just given back may be about to be closed."""
        if self._idle and self._idle[-1] is connection:
            self._doubtful.append(self._idle.pop())

    async def connect(self, timeout: float) -> UpstreamConnection:
        """Open a connection in `timeout` seconds; raises UpstreamError of phases `connect` and `connect_timeout`."""
        self._make_room()
        return await self._connect_to(self.address.host, timeout)

    def rebound(self, idle_time: float, max_connections: int | None) -> None:
        """Change the bounds, also for the connections that are idle already."""
        self.idle_time = idle_time
        self.max_connections = max_connections or sys.maxsize
        for connection in (*self._idle, *self._doubtful):
            if connection.idle_since + idle_time < connection.deadline:
                self._deadlines.set(connection, connection.idle_since + idle_time)
        self._make_room()

    def retire(self) -> None:
        """It is removed: exchanges under way may finish, and no connection is kept."""
        self.idle_time = 0.0
        self.close()

    def prune(self) -> None:
        """Drop idle connections that have closed, and close those above a bound that was lowered."""
        self._idle = [connection for connection in self._idle if connection.is_alive()]
        self._doubtful = [connection for connection in self._doubtful if connection.is_alive()]
        self._make_room()

    def close(self) -> None:
        """Close the idle connections; those in use end with their exchanges."""
        self.retire_breaker()
        for idle in (self._idle, self._doubtful):
            for connection in idle:
                connection.close()
            idle.clear()

    def _make_room(self) -> None:
        """Close idle connections that could not be used, where new ones would exceed the bound.

        Connections in use alone may exceed it after a reload has lowered it.
        """
        idle = self._idle
        while len(idle) + len(self._doubtful) > max(0, self.max_connections - self.in_flight):
            (idle or self._doubtful).pop(0).close()

    async def _connect_to(self, host: str, timeout: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        address = self.address
        try:
            async with asyncio.timeout(timeout):
                if address.path:
                    _, protocol = await loop.create_unix_connection(self._new_connection, address.path)
                else:
                    _, protocol = await loop.create_connection(
                        self._new_connection,
                        host,
                        address.port,
                        ssl=address.tls,
                        server_hostname=(address.server_name or address.host) if address.tls else None,
                    )
        except TimeoutError as error:
            cause = f"no connection{' with TLS' if address.tls else ''} within {timeout:g} s"
            detail = "the service did not accept a connection in time"
            raise UpstreamError("connect_timeout", detail, cause) from error
        except OSError as error:  # ssl.SSLError is one
            if isinstance(error, ssl.SSLError) or (address.tls and isinstance(error, _BROKEN_OFF)):
                detail = "the TLS handshake with the service failed"
                cause = f"the TLS handshake failed: {cause_of(error)}"
                raise UpstreamError("connect", detail, cause, proxy_error_of(error)) from error
            cause = error.strerror or str(error) or type(error).__name__
            unroutable = "destination_ip_unroutable" if error.errno in _UNROUTABLE else None
            raise UpstreamError("connect", "the service refused the connection", cause.lower(), unroutable) from error
        except UnicodeError as error:  # a host name that cannot be looked up
            cause = "the name is none"
            raise UpstreamError("connect", "the service refused the connection", cause, "dns_error") from error
        return protocol

    def _new_connection(self) -> UpstreamConnection:
        return UpstreamConnection(self._deadlines, self._turn, self._heads)
