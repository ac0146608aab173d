"""What happens now, in one place: `state.live`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec

from portico.config import Config
from portico.processes.control.live.figures import Figures
from portico.processes.control.live.streams import Streams
from portico.processes.control.workers import Workers

MOST: Final = 100
"""Services, and routes, that are shown unless another number is asked for."""
_EVERY: Final = 1.0
"""Seconds between two figures of a stream."""


class Live:
    """What those who watch one gateway share."""

    def __init__(self, workers: Workers) -> None:
        self.streams = Streams()
        self.figures = Figures(workers)
        self._workers = workers
        self._shown: dict[int, bytes] = {}
        self._shown_at = float("-inf")
        workers.reported_now = self.figures.reported
        workers.has_left = self.figures.left

    def close(self) -> None:
        """End all streams: this process does."""
        self.streams.close()

    async def now(self, config: Config, most: int = MOST) -> dict[str, Any]:
        """The figures as `/admin/live` shows them, with `most` services and routes, the busiest first where there are
        more.
        """
        await self.figures.ask()
        return self._figures(config, most)

    async def page(self, config: Config, most: int) -> bytes:
        """The same as JSON, made once a second for all that ask."""
        await self.figures.ask()
        now = time.monotonic()
        if now - self._shown_at > _EVERY / 2:
            self._shown, self._shown_at = {}, now
        if most not in self._shown:
            self._shown[most] = msgspec.json.encode(self._figures(config, most))
        return self._shown[most]

    def _figures(self, config: Config, most: int) -> dict[str, Any]:
        window, services, total = self.figures.services(config)
        listed = [{"name": name, **figures} for name, figures in services.items()]
        return {
            "at": round(time.time(), 3),
            "window": round(window, 3),
            "workers": len(self._workers.reported()),
            "total": total,
            "services": _busiest(listed, most),
            "services_left_out": max(0, len(listed) - most),
            "routes": [],
            "routes_left_out": 0,
            "top": {"window": 0.0, "consumers": [], "paths": [], "clients": []},
            "since": None,
        }

    async def pages(self, read_config: Callable[[], Config], most: int) -> AsyncIterator[bytes]:
        """The figures of each second, as server-sent events."""
        while True:
            yield b"data: %b\n\n" % await self.page(read_config(), most)
            await asyncio.sleep(_EVERY)


def _busiest(listed: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """All in their order, or the busiest of them, where there are more."""
    if len(listed) <= most:
        return listed
    return sorted(listed, key=lambda each: -each["rate"])[:most]
