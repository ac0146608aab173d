"""After a reload: tunnels and streams whose route lost its right are ended, all others go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.core.messages import RequestHead
from portico.core.tasks import background
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.rights import Right, right_of
from portico.proxy.tunnel import Tunnel
from portico.proxy.waiting import Waiting
from portico.wire.frontend import Connection
from portico.wire.http1.server import ServerConnection
from portico.wire.websocket import POLICY_VIOLATION, RESTART

logger: Final = logging.getLogger("portico.gateway")

REASON: Final = "access_lost"

_PAUSE: Final = 1.0
"""Seconds between two looks at exchanges that may become streams; what is answered within one is no stream."""
_AT_ONCE: Final = 50
"""Exchanges that are looked at between two turns of the loop."""
_ASKED: Final = 50
"""Verdicts that are waited for at the same time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """An exchange that was under way when a snapshot came into use, at the monotonic time `until`."""

    connection: ServerConnection
    gateway: Gateway
    request: RequestHead
    until: float

    @property
    def exchange(self) -> Exchange | None:
        """It, unless it is over."""
        connection = self.connection
        if not connection.is_running or connection.request is not self.request:
            return None
        found: Any = connection.receiver
        while found is not None and (isinstance(found, Waiting) or not isinstance(found, Exchange)):
            found = getattr(found, "exchange", None) or getattr(found, "receiver", None)  # one may stand before another
        is_it = isinstance(found, Exchange) and found.started <= self.until  # the same head may have come again
        return found if is_it else None

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
        """Each is asked about by itself: a service that a policy asks, and that hangs, keeps nobody else connected."""
        lost: dict[_Running, Right] = {}
        turns, asked = asyncio.Semaphore(_ASKED), list[asyncio.Task[None]]()
        for count, each in enumerate(running, 1):
            asked.append(background(_ask(each, before[each.gateway], turns, lost), "whether one may go on"))
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        before, ended, streams = {}, 0, set[_Running]()
        while (asked := [task for task in asked if not task.done()]) or lost:
            for each, right in list(lost.items()):
                if each.exchange is None:
                    del lost[each]
                elif isinstance(each.connection.receiver, Tunnel) or each in streams:
                    each.end(right)
                    del lost[each]
                    ended += 1
                elif each.connection.is_streaming:
                    streams.add(each)
            await asyncio.sleep(_PAUSE)
        if ended:
            logger.info("exchanges ended whose route lost its right", extra={"count": ended})


async def _ask(running: _Running, before: Snapshot, turns: asyncio.Semaphore, lost: dict[_Running, Right]) -> None:
    exchange = running.exchange
    if exchange is None:
        return
    try:
        right = await right_of(running.gateway, exchange, running.connection, running.request, before, turns)
    except Exception:  # what cannot be found out lets nobody go on, as it would let nobody in
        logger.exception("whether an exchange may go on could not be found out")
        right = Right.LOST
    if right is not Right.KEPT:
        lost[running] = right
