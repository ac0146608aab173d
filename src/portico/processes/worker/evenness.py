"""That workers have the same to do: what others see of this one, and connections that it gives up to them."""

from __future__ import annotations

import time
from typing import Final

from portico.wire.frontend import Frontend
from portico.wire.loads import Load

_INTERVAL: Final = 0.5
"""Seconds between two comparisons."""
_SUSTAINED: Final = 2
"""Comparisons in a row that show too many connections here before any is given up: what comes next may even it out."""


class Evenness:
    """Connections stay where they were accepted, so a worker that was started again would have few for long.

    A worker that has more of them and more to do closes some, each behind a response that says so (`Connection:
    close`): their clients connect anew, and the worker with the fewest accepts them. A share of them at a time.
    """

    def __init__(self, load: Load, frontend: Frontend) -> None:
        self._load = load
        self._frontend = frontend
        self._surplus = 0
        """Connections that are to be given up until the next comparison."""
        self._in_a_row = 0
        self._used = time.process_time()
        self._share = 0.0
        self._compared = time.monotonic()

    def look(self) -> None:
        """To be called several times a second, in every worker."""
        now = time.monotonic()
        if now - self._compared >= _INTERVAL:
            self._compare(now)
        self._load.report(self._share)
        if self._surplus:
            self._surplus -= self._frontend.shed(self._surplus)

    def _compare(self, now: float) -> None:
        used = time.process_time()
        self._share, self._used = (used - self._used) / (now - self._compared), used
        self._compared = now
        surplus = self._load.surplus()
        self._in_a_row = self._in_a_row + 1 if surplus else 0
        self._surplus = -(-surplus // 2) if self._in_a_row >= _SUSTAINED else 0
