"""Events of a worker, for those who watch the gateway: they go to control beside standard error."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from portico.observe.event_feed import Event, EventFeed
from portico.processes.ipc import channel

_WAITING: Final = 100
"""Events that wait while control is away: the last ones."""
_RATE: Final = 10.0
_BURST: Final = 100.0
"""Events a second that are sent, and at once after a silence; further ones are counted, and are only in the log."""


class SentEvents:
    """Of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._feed = EventFeed(self._take, loop)
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: deque[Event] = deque(maxlen=_WAITING)
        self._allowed, self._at = _BURST, time.monotonic()
        self._left_out = 0

    def start(self) -> None:
        """Send each event from now on, as long as control is there."""
        self._feed.start()

    def stop(self) -> None:
        """Send no more."""
        self._feed.stop()

    def connected(self, writer: asyncio.StreamWriter) -> None:
        """Control is there: it gets what has waited."""
        self._writer = writer
        while self._waiting:
            channel.send(writer, channel.Happened(self._waiting.popleft()))

    def disconnected(self) -> None:
        """Control is gone."""
        self._writer = None

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        self._allowed = min(_BURST, self._allowed + (now - self._at) * _RATE)
        self._at = now
        if self._allowed < 1:
            self._left_out += 1
            return
        self._allowed -= 1
        left_out, self._left_out = self._left_out, 0
        if self._writer is None:
            self._waiting.append(event)
        else:
            channel.send(self._writer, channel.Happened(event, left_out))
