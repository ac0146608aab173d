"""How long an instance's responses take to begin, lately: a moving average that rises at once."""

from __future__ import annotations

from math import exp
from typing import Final

_MEMORY: Final = 10.0
"""Seconds after which a sample counts about a third among later ones, and after which the last one is forgotten."""
FAILURE: Final = 1.0
"""Seconds that a failure counts as at least: an instance that fails fast is not a fast one."""


class Latency:
    """A peak-sensitive, exponentially weighted average (as in Twitter's Finagle, `PeakEwma`).

    A slower response raises the average at once, faster ones lower it bit by bit. Without samples it decays, and is
    forgotten after `_MEMORY`: with the decay alone, an instance a thousand times slower once than the others are would
    not be tried for a minute.
    """

    __slots__ = ("_is_assumed", "_seconds", "_since")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since = float("-inf")
        self._is_assumed = False

    def note(self, seconds: float, now: float) -> None:
        """A response took `seconds` to begin; `now` is monotonic."""
        age = now - self._since
        if self._is_assumed or age >= _MEMORY:
            self._seconds = seconds
            self._is_assumed = False
        else:
            faded = exp(-age / _MEMORY)
            if seconds >= self._seconds * faded:
                self._seconds = seconds
            else:
                self._seconds = self._seconds * faded + seconds * (1.0 - faded)
        self._since = now

    def assume(self, seconds: float, now: float) -> None:
        """Nothing is known, and a request will show: until its response begins, `seconds` are to be expected."""
        self._seconds, self._since, self._is_assumed = seconds, now, True

    def at(self, now: float) -> float:
        """Seconds to expect; 0 where nothing is known any more."""
        age = now - self._since
        return self._seconds * exp(-age / _MEMORY) if age < _MEMORY else 0.0
