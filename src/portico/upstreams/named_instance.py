"""An instance whose host is a name: its connections go to the addresses behind that, round robin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from portico.core.errors import UpstreamError
from portico.upstreams.host_name import HostName
from portico.upstreams.instance import Address, Instance
from portico.wire.deadlines import Deadlines
from portico.wire.http1.client import UpstreamConnection
from portico.wire.turn import Turn


class NamedInstance(Instance):
    """One member of its service, however many addresses there are; health and weight are those of the name."""

    def __init__(
        self,
        address: Address,
        deadlines: Deadlines,
        turn: Turn,
        noted: frozenset[bytes] = frozenset(),
        name: HostName | None = None,
    ) -> None:
        super().__init__(address, deadlines, turn, noted)
        self.host_name = name or HostName(address.host)

    def follow(self, previous: Instance) -> None:
        """The name's addresses are known already."""
        super().follow(previous)
        if isinstance(previous, NamedInstance):
            self.host_name = previous.host_name

    def take(self, only_once: bool) -> UpstreamConnection | None:
        """An idle connection to the next address."""
        address = self.host_name.next()
        idle = self._idle
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].remote == address:
                idle.append(idle.pop(index))
                return super().take(only_once)
        return self._take_doubtful(only_once) if self._doubtful else None

    def give_back(self, connection: UpstreamConnection, now: float = 0.0) -> None:
        """Keep a connection, unless its address is gone."""
        if connection.remote in self.host_name.addresses:
            super().give_back(connection, now)
        else:
            connection.close()

    async def connect(self, timeout: float) -> UpstreamConnection:
        """Open a connection to the first address that accepts one, each with its part of the remaining time."""
        end = time.monotonic() + timeout
        self._make_room()
        addresses = await self._addresses(timeout)
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                connection = await self._connect_to(address, max(0.0, end - time.monotonic()) / left)
            except UpstreamError:
                self.host_name.refused(address)
                if left == 1:
                    raise
            else:
                self.host_name.answered(address)
                connection.remote = address
                return connection
        raise AssertionError("a name without addresses")

    def prune(self) -> None:
        """Drop addresses that are gone, and connections that have closed."""
        if self.host_name.addresses:
            self.host_name.keep_fresh()
        for connection in (*self._idle, *self._doubtful):
            if connection.remote not in self.host_name.addresses:
                connection.close()
        super().prune()

    async def _addresses(self, timeout: float) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout):
                return await self.host_name.known()
        except TimeoutError as error:
            detail = "the service's name was not looked up in time"
            cause = f"{self.address.host} was not looked up in time"
            raise UpstreamError("connect_timeout", detail, cause, "dns_timeout") from error
        except OSError as error:
            raise UpstreamError("connect", "the service's name has no address", str(error), "dns_error") from error
