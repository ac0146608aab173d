"""The gateway behind one of several listeners: its routes alone, and its name in what is observed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from portico.core.exchange import Exchange
from portico.observe.access_log import AccessRecord, Log
from portico.observe.log_fields import Detail
from portico.observe.metrics import Metrics
from portico.proxy.gateway import LONGEST_HOST, Gateway, Snapshot
from portico.proxy.overload import Overload


class ListenerGateway(Gateway):
    """A gateway that is one of several in a worker; what is live they share."""

    def __init__(
        self,
        listener: str,
        snapshot: Snapshot,
        metrics: Metrics,
        log: Log | None,
        log_from: int,
        loop: asyncio.AbstractEventLoop,
        overload: Overload,
        details: Sequence[Detail] = (),
    ) -> None:
        self.listener = listener
        super().__init__(snapshot, metrics, log, log_from, loop, overload, (self._name, *details))

    def watch(self, watchers: Sequence[Callable[[Exchange], None]]) -> None:
        """Have these called with every exchange, and count it at the listener."""
        super().watch((*watchers, self._count_here))

    def _name(self, record: AccessRecord, exchange: Exchange) -> None:
        """Add the listener, and the host that the client asked for."""
        request = exchange.request
        record.listener = self.listener
        if request is not None and request.host:
            record.host = request.host[:LONGEST_HOST].decode("latin-1")

    def _count_here(self, exchange: Exchange) -> None:
        self.metrics.observe_listener(self.listener, exchange.status)
