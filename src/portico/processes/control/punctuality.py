"""Whether this process was on time: what it finds out late says nothing of anybody else."""

from __future__ import annotations

import asyncio
import time
from typing import Final

_STEP: Final = 0.1
"""Seconds between two looks at the clock."""
_LATE: Final = 0.25
"""Seconds behind time from which on the event loop was late."""


class Punctuality:
    """Looks at the clock again and again, from the first call of `start`."""

    def __init__(self) -> None:
        self._late_at = -1.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._timer is None:
            self._look_at(time.monotonic() + _STEP)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def was_late_since(self, moment: float) -> bool:
        """Whether the event loop was late at any time since a monotonic `moment`."""
        return self._late_at >= moment

    def _look_at(self, due: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(_STEP, self._look, due)

    def _look(self, due: float) -> None:
        now = time.monotonic()
        if now - due > _LATE:
            self._late_at = now
        self._look_at(now + _STEP)
