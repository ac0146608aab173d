"""How long an instance's responses take to begin, lately: a moving average that rises at once."""

from __future__ import annotations

from math import exp
from typing import Final

_MEMORY: Final = 10.0
"""Seconds after which a sample counts about a third."""
FAILURE: Final = 1.0
"""Seconds that a failure counts as at least: an instance that fails fast is not a fast one."""


class Latency:
    """A peak-sensitive, exponentially weighted average (as in Twitter's Finagle, `PeakEwma`).

    A slower response raises the average at once, faster ones lower it bit by bit. Without samples it decays,
    so that an instance that was slow once is tried again.
    """

    __slots__ = ("_seconds", "_since")

    def __init__(self) -> None:
        self._seconds = self._since = 0.0

    def note(self, seconds: float, now: float) -> None:
        """A response took `seconds` to begin; `now` is monotonic."""
        faded = exp((self._since - now) / _MEMORY)
        if seconds >= self._seconds * faded:
            self._seconds = seconds
        else:
            self._seconds = self._seconds * faded + seconds * (1.0 - faded)
        self._since = now

    def at(self, now: float) -> float:
        """Seconds to expect; 0 where nothing is known."""
        return self._seconds * exp((self._since - now) / _MEMORY)
