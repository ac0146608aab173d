"""The gateway behind one of several listeners: its routes alone, and its name in what is observed."""

from __future__ import annotations

import asyncio
from typing import Final

from portico.core.exchange import Exchange
from portico.observe.access_log import AccessRecord, Log
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.overload import Overload

_LONGEST_HOST: Final = 255
"""Bytes of a Host field that are logged: names of hosts are no longer (RFC 1035, section 2.3.4)."""


class _NamingLog:
    """Adds to each record the listener, and the host that the client asked for."""

    def __init__(self, listener: str, log: Log) -> None:
        self._listener = listener
        self._log = log
        self.ending: Exchange | None = None
        """The exchange whose record comes next."""

    def add(self, record: AccessRecord) -> None:
        request = self.ending.request if self.ending is not None else None
        record.listener = self._listener
        if request is not None and request.host:
            record.host = request.host[:_LONGEST_HOST].decode("latin-1")
        self._log.add(record)


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
    ) -> None:
        self._naming = _NamingLog(listener, log) if log is not None else None
        super().__init__(snapshot, metrics, self._naming, log_from, loop, overload)
        self._listener = listener

    def finish(self, exchange: Exchange, failure: str | None) -> None:
        """Observe the exchange, and at which listener it was."""
        if self._naming is not None:
            self._naming.ending = exchange
        super().finish(exchange, failure)
        self.metrics.observe_listener(self._listener, exchange.status)
