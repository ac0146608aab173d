"""What the control process sends to collectors of OpenTelemetry: the metrics of all workers, and its own events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from portico.config import Config
from portico.core.tasks import endless
from portico.processes.exports import Exports

logger: Final = logging.getLogger("portico.control")

_CLOSE_TIMEOUT: Final = 1.0


class ControlTelemetry:
    """`families` gives what `/metrics` has at that moment."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, families: Callable[[], Awaitable[list[Any]]], directory: Path
    ) -> None:
        self._families = families
        self._exports = Exports(loop, "control", directory)
        self._since = time.time_ns()
        self._sending: asyncio.Task[None] | None = None
        self._interval = 0.0

    def follow(self, config: Config) -> None:
        """Go by a configuration."""
        metrics, logs = config.gateway.metrics_export, config.gateway.log_export
        export = self._exports.use("logs", logs)
        self._exports.use_events(export if logs is not None and "events" in logs.records else None)
        export = self._exports.use("metrics", metrics)
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if metrics is not None and export is not None:
            self._interval = metrics.interval
            self._sending = endless(self._keep_sending(export), "the export of metrics")

    async def _keep_sending(self, export: Callable[[bytes], None]) -> None:
        from portico.observe.otlp.metrics import encoded

        while True:
            await asyncio.sleep(self._interval)
            try:
                families = await self._families()
                for metric in await asyncio.to_thread(encoded, families, self._since, time.time_ns()):
                    export(metric)
            except Exception:
                logger.exception("metrics could not be exported")

    async def close(self) -> None:
        """Send what is left."""
        if self._sending is not None:
            self._sending.cancel()
        await self._exports.close(_CLOSE_TIMEOUT)
