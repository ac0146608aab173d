"""When a worker is overloaded: too many requests under way, or an event loop that lags."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from random import random
from typing import Final

logger: Final = logging.getLogger("portico.overload")

_BEAT: Final = 0.05
"""Seconds between two checks; the delay of a check is the lag of the event loop."""
_LONG_TURN: Final = 0.01
"""Seconds of lag from which waiting connections are accepted at each check: one per loop iteration would be slow."""
_SUSTAINED: Final = 0.5
"""Seconds for which every check is late before any request is refused: a single stall, however long, is no overload."""
_WEIGHT: Final = 0.5
"""The weight of the newest lag in the average that determines the refused share."""
_MOST_REFUSED: Final = 0.95
_FEW: Final = 8
"""Requests under way that a worker accepts whatever its lag: refusing all requests would help no client."""
_QUIET: Final = 10.0
"""Seconds between two log events about it."""


class Overload:
    """Decides which requests are too many.

    A request waits in its socket until the event loop reads it: one loop iteration delays all requests. Beyond `lag`
    seconds of delay a share of the requests is refused, at random, so that no client is always refused. The share
    grows with the delay, and with twice the lag it is `_MOST_REFUSED`. (That is the rule of toobusy-js; that a short
    burst does not count is CoDel's, RFC 8289.)
    """

    def __init__(self) -> None:
        self.threshold = sys.maxsize
        """Requests under way up to which `refuses` need not be called: normally one comparison is the whole cost."""
        self.lag = 0.0
        """Seconds that the loop is late, as a recent average."""
        self._most = sys.maxsize
        self._timeout = 0.0
        self._share = 0.0
        self._due = 0.0
        self._late_since = float("inf")
        self._reported_at = float("-inf")
        self._refused = 0
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, most: int | None, timeout: float) -> None:
        """Set how many requests may be under way, and how late the loop may be; None and 0 for no limit."""
        self._most = most or sys.maxsize
        self._timeout = timeout
        self._set(self._share if timeout else 0.0)

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        admit_waiting: Callable[[], None],
        beside: Callable[[], None] | None = None,
    ) -> None:
        """Check regularly from now on, and have `admit_waiting` accept waiting connections.

        What is to be done `beside` each check must not fail.
        """
        self._loop, self._admit_waiting, self._beside = loop, admit_waiting, beside
        self._look_again()

    def stop(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()

    def refuses(self, running: int) -> bool:
        """Whether one request, counted in `running`, is too many."""
        is_refused = running > self._most or (running > _FEW and random() < self._share)  # noqa: S311
        self._refused += is_refused
        return is_refused

    def _look_again(self) -> None:
        self._due = time.monotonic() + _BEAT
        self._timer = self._loop.call_later(_BEAT, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        late = now - self._due
        self._look_again()  # first: the checks go on whatever fails below
        self._note(late, now)
        self._report(now)
        if self._beside is not None:
            self._beside()
        if late > _LONG_TURN:
            self._admit_waiting()

    def _note(self, late: float, now: float) -> None:
        self.lag += _WEIGHT * (late - self.lag)
        if not self._timeout:
            return
        self._late_since = min(self._late_since, now) if late > self._timeout else float("inf")
        if self._share or now - self._late_since >= _SUSTAINED:
            self._set(min(_MOST_REFUSED, max(0.0, self.lag / self._timeout - 1.0)))

    def _set(self, share: float) -> None:
        self._share = share
        self.threshold = min(self._most, _FEW) if share else self._most

    def _report(self, now: float) -> None:
        """Report that requests are refused, and how many, but not each of them."""
        if self._refused and now - self._reported_at >= _QUIET:
            self._reported_at = now
            extra = {"late": f"{self.lag:.2f}s", "refused": self._refused}
            logger.warning("this worker is overloaded: it refuses a part of the requests", extra=extra)
            self._refused = 0
