"""After a reload: tunnels and streams whose route lost its right are ended, all others go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portico.core.messages import RequestHead
from portico.core.tasks import background
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.rights import Right, right_of
from portico.proxy.tunnel import Tunnel
from portico.wire.frontend import Connection
from portico.wire.http1.server import ServerConnection
from portico.wire.websocket import POLICY_VIOLATION, RESTART

logger: Final = logging.getLogger("portico.gateway")

REASON: Final = "access_lost"

_PAUSE: Final = 1.0
"""Seconds between two looks at exchanges that may become streams; what is answered within one is no stream."""
_AT_ONCE: Final = 50
"""Exchanges that are looked at between two turns of the loop."""


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """An exchange that was under way when a snapshot came into use, at the monotonic time `until`."""

    connection: ServerConnection
    gateway: Gateway
    request: RequestHead
    until: float

    @property
    def is_going_on(self) -> bool:
        connection = self.connection
        if not connection.is_running or connection.request is not self.request:
            return False
        exchange: Any = getattr(connection.receiver, "exchange", connection.receiver)
        return bool(getattr(exchange, "started", 0.0) <= self.until)  # the same head may have come again

    def end(self, right: Right) -> None:
        """A client that may ask anew is told so; one that lost its right is told when it does."""
        receiver = self.connection.receiver
        if isinstance(receiver, Tunnel):
            receiver.close(REASON, POLICY_VIOLATION if right is Right.LOST else RESTART)
        else:
            self.connection.abort(REASON)


class Rights:
    """Those of all open `connections` of one worker."""

    def __init__(self, connections: Collection[Connection]) -> None:
        self._connections = connections

    def review(self, before: Mapping[Gateway, Snapshot]) -> None:
        """End what has lost its right since each gateway had the snapshot `before`.

        Tunnels end soon, and so do responses without a length that have been going on for a second. What else is under
        way ends by itself.
        """
        background(self._review([*self._running(before)], before), "a review of who may go on")

    def _running(self, gateways: Collection[Gateway]) -> Iterator[_Running]:
        now = time.monotonic()
        for connection in self._connections:
            if isinstance(connection, ServerConnection) and connection.is_running:
                gateway, request = connection.handler, connection.request
                if isinstance(gateway, Gateway) and gateway in gateways and request is not None:
                    yield _Running(connection, gateway, request, now)

    async def _review(self, running: list[_Running], before: Mapping[Gateway, Snapshot]) -> None:
        lost: dict[_Running, Right] = {}
        for count, each in enumerate(running):
            if each.is_going_on:
                right = await right_of(each.gateway, each.connection, each.request, before[each.gateway])
                if right is not Right.KEPT:
                    lost[each] = right
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        before, ended, streams = {}, 0, set[_Running]()
        while lost := {each: right for each, right in lost.items() if each.is_going_on}:
            for each, right in list(lost.items()):
                if isinstance(each.connection.receiver, Tunnel) or each in streams:
                    each.end(right)
                    del lost[each]
                    ended += 1
                elif each.connection.is_streaming:
                    streams.add(each)
            await asyncio.sleep(_PAUSE)
        if ended:
            logger.info("exchanges ended whose route lost its right", extra={"count": ended})
