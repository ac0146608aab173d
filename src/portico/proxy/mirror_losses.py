"""An event about copies that a mirror does not get, or does not answer: the first at once, then one a minute."""

from __future__ import annotations

import logging
import time
from typing import Final

logger: Final = logging.getLogger("portico.mirror")

_QUIET: Final = 60.0
"""Seconds between two events."""


class Losses:
    """Of one route and one service, in one worker."""

    __slots__ = ("_counts", "_reported_at")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._reported_at = float("-inf")

    def note(self, route: str, service: str, outcome: str) -> None:
        """One more copy is lost; the event has how many were since the last one, by what came of them."""
        self._counts[outcome] = self._counts.get(outcome, 0) + 1
        now = time.monotonic()
        if now - self._reported_at < _QUIET:
            return
        extra = {"route": route, "service": service, **self._counts}
        logger.warning("copies for a mirror are lost", extra=extra)
        self._reported_at, self._counts = now, {}
