"""What happens now, in one place: `state.live`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import msgspec

from portico.config import Config
from portico.core.tasks import background
from portico.observe.event_feed import EventFeed
from portico.processes.control.live.events import Events
from portico.processes.control.live.exchanges import Exchanges
from portico.processes.control.live.figures import Figures
from portico.processes.control.live.streams import Streams
from portico.processes.control.live.top import Top
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel

MOST: Final = 100
"""Services, and routes, that are shown unless another number is asked for."""
_MOST_NAMES: Final = 10
"""Consumers, paths and clients that are shown."""
_CONFIRMED: Final = 0.5
"""Seconds that workers have to say that they watch."""
_EVERY: Final = 1.0
"""Seconds between two figures of a stream."""


class Live:
    """What those who watch one gateway share."""

    def __init__(self, workers: Workers) -> None:
        self.streams = Streams()
        self.figures = Figures(workers)
        self.top = Top()
        self.exchanges = Exchanges(self._watch, self.streams.__len__)
        self.events = Events(self.streams.__len__)
        self._feed: EventFeed | None = None
        self._workers = workers
        self._counts = False
        self._shown: dict[int, bytes] = {}
        self._shown_at = float("-inf")
        workers.reported_now = self._reported
        workers.has_come = self._has_come
        workers.has_left = self._has_left
        workers.happened = self._happened
        workers.watched = self._watched
        workers.watch = self._wish

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have what this process logs be events."""
        self._feed = EventFeed(self.events.logged, loop)
        self._feed.start()
        self.events.publish("worker", "this control process has begun")

    def close(self) -> None:
        """End all streams: this process does."""
        self.streams.close()
        if self._feed is not None:
            self._feed.stop()

    async def page(self, config: Config, most: int) -> bytes:
        """The figures as `/admin/live` shows them, as JSON, made twice a second at most for all that ask.

        Of services and routes there are `most`: where there are more, the busiest services, and the routes that were
        hit last.
        """
        await self._ask()
        now = time.monotonic()
        if now - self._shown_at > _EVERY / 2:
            self._shown, self._shown_at = {}, now
        if most not in self._shown:
            self._shown[most] = msgspec.json.encode(self._figures(config, most))
        return self._shown[most]

    async def _ask(self) -> None:
        """Have workers count, and wait for figures."""
        if not self._counts:
            self._counts = True
            self.top.begin()
            background(self._watch(), "what is watched")
        await self.figures.ask()

    def _figures(self, config: Config, most: int) -> dict[str, Any]:
        window, services, total = self.figures.services(config)
        listed = [{"name": name, **figures} for name, figures in services.items()]
        routes = {route.name: None for route in config.all_routes}
        return {
            "at": round(time.time(), 3),
            "window": round(window, 3),
            "workers": len(self._workers.reported()),
            "total": total,
            "services": _busiest(listed, most),
            "services_left_out": max(0, len(listed) - most),
            "routes": self.top.routes(routes.keys(), most),
            "routes_left_out": max(0, len(routes) - most),
            "top": self.top.named(_MOST_NAMES),
            "since": self.top.since(),
        }

    # ---- what workers are asked for, and have

    def _wish(self, number: int = 0) -> channel.Watch:
        return channel.Watch(self.exchanges.wanted(), self._counts, number)

    async def _watch(self) -> None:
        """Have workers watch what is wished now, and wait until they do."""
        await self._workers.ask(self._wish, _CONFIRMED)

    def _reported(self, worker: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Each worker does so every second: time to see whether somebody asks still."""
        self.figures.reported(worker, before, after)
        if self._counts and not self.figures.is_asked():
            self._counts = False
            self.top.end()
            background(self._watch(), "what is watched")

    def _has_come(self, worker: str) -> None:
        self.events.publish("worker", "a worker has connected", worker=worker)

    def _has_left(self, worker: str) -> None:
        self.figures.left(worker)
        if worker:
            self.events.publish("worker", "a worker has gone", worker=worker)

    def _happened(self, worker: str, message: channel.Happened) -> None:
        if message.left_out:
            self.events.left_out(worker, message.left_out)
        self.events.logged(message.event, worker)

    def _watched(self, message: channel.Watched) -> None:
        self.exchanges.received(message)
        if message.counts is not None and self._counts:
            self.top.add(message.counts)

    async def pages(self, read_config: Callable[[], Config], most: int) -> AsyncGenerator[bytes, None]:
        """The figures of each second, as server-sent events."""
        while True:
            yield b"data: %b\n\n" % await self.page(read_config(), most)
            await asyncio.sleep(_EVERY)


def _busiest(listed: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """All in their order, or the busiest of them, where there are more."""
    if len(listed) <= most:
        return listed
    return sorted(listed, key=lambda each: -each["rate"])[:most]
