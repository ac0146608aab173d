"""Long bodies take turns: of those that could go on, a few do in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

_MOST: Final = 16
"""Steps in one turn of the loop; the others come in the next ones."""
_TIME: Final = 0.0005
"""Seconds in one turn of the loop after which none begins, except the first."""


class Paced:
    """Steps in the order in which they were planned. Hundreds may be at once, and a request would wait for them all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._steps: deque[Callable[[], None]] = deque()
        self._is_planned = False

    def plan(self, step: Callable[[], None]) -> None:
        """Have it done once those are done that came before it; it contains its faults."""
        self._steps.append(step)
        self._plan()

    def _plan(self) -> None:
        if self._steps and not self._is_planned:
            self._is_planned = True
            self.loop.call_soon(self._play)

    def _play(self) -> None:
        end, left = monotonic() + _TIME, _MOST
        try:
            while self._steps:
                self._steps.popleft()()
                left -= 1
                if not left or monotonic() >= end:
                    break
        finally:
            self._is_planned = False
            self._plan()
