"""The figures of the last minutes, for the charts: sampled while somebody looks, and not at all otherwise."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from portico.core.tasks import background, cancelled

EVERY: Final = 2.0
"""Seconds between two samples."""
MOST: Final = 90
"""Samples that are kept: three minutes."""
_LEAST: Final = 20
_WATCHED: Final = 15.0
"""Seconds after the last visit until sampling ends."""

Figures = dict[str, Any]


class History:
    """Samples of what `look` gives, which is what `/admin/live` answers."""

    def __init__(self, look: Callable[[], Awaitable[Figures | None]]) -> None:
        self._look = look
        self._samples: deque[tuple[float, Figures | None]] = deque(maxlen=MOST)
        self._visited = 0.0
        self._task: asyncio.Task[None] | None = None

    def visit(self) -> None:
        """Somebody looks: sample for a while."""
        self._visited = time.monotonic()
        if self._task is None or self._task.done():
            self._task = background(self._sample(), "the dashboard's samples")

    def latest(self) -> Figures:
        """The newest sample; empty while there is none."""
        for at, figures in reversed(self._samples):
            if figures is not None and time.monotonic() - at < 3 * EVERY:
                return figures
        return {}

    def points(self) -> int:
        """How many a chart has room for: not all at first, or it would be empty for minutes."""
        return max(_LEAST, len(self._samples))

    def over(self) -> str:
        """Of which time the samples are, in words."""
        return f"over the last {len(self._samples) * EVERY:.0f} seconds"

    def totals(self, key: str) -> list[float | None]:
        """A figure of the whole gateway, from the oldest to the newest."""
        return [_number(figures.get("total", {}).get(key)) if figures else None for _, figures in self._samples]

    def of_service(self, name: str, key: str) -> list[float | None]:
        """A figure of one service."""
        return [_number(_named(figures.get("services", ()), name).get(key)) if figures else None
                for _, figures in self._samples]  # fmt: skip

    async def close(self) -> None:
        """Sample no more."""
        if self._task is not None:
            await cancelled([self._task])

    async def _sample(self) -> None:
        while time.monotonic() - self._visited < _WATCHED:
            began = time.monotonic()
            if self._samples and began - self._samples[-1][0] > 3 * EVERY:
                self._samples.append((began, None))  # a gap shows as one
            self._samples.append((began, await self._look()))
            await asyncio.sleep(max(0.1, EVERY - (time.monotonic() - began)))


def _named(entries: Sequence[Figures], name: str) -> Figures:
    return next((each for each in entries if each.get("name") == name), {})


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
