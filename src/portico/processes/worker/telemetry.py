"""What a worker sends to collectors of OpenTelemetry: spans, and its part of the logs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from portico.config import Config
from portico.observe.access_log import Log
from portico.observe.metrics import Metrics
from portico.observe.tracing import Tracer
from portico.processes.exports import Exports
from portico.snapshot.compiled import sampling_of

_SOON: Final = 0.02
"""Seconds until spans are made of what has ended, if no more ends meanwhile."""


class Telemetry:
    """Of one worker, through all reloads."""

    def __init__(self, metrics: Metrics, loop: asyncio.AbstractEventLoop, worker: str, directory: Path) -> None:
        self._tracer = Tracer(lambda flush: loop.call_later(_SOON, flush))
        self._is_tracing = False
        self._metrics = metrics
        self._exports = Exports(loop, worker, directory)

    @property
    def tracer(self) -> Tracer | None:
        """What records exchanges, where that is wanted."""
        return self._tracer if self._is_tracing else None

    def adopt(self, config: Config) -> None:
        """Go by a configuration: spans of exchanges that are under way go where it says, too."""
        tracing, logs = config.gateway.tracing, config.gateway.log_export
        self._is_tracing = tracing is not None
        self._tracer.flush()
        export = self._exports.use("traces", tracing)
        if tracing is not None and export is not None:
            self._tracer.sample(sampling_of(tracing))
            self._tracer.routes = {route.name: _plain(route.path) for route in config.all_routes}
            self._tracer.export = export
        export = self._exports.use("logs", logs)
        self._exports.use_events(export if logs is not None and "events" in logs.records else None)

    def log(self, log: Log | None, config: Config) -> Log | None:
        """The access log, with what is sent to a collector beside it."""
        logs = config.gateway.log_export
        export = self._exports.use("logs", logs)
        if logs is None or export is None or "access" not in logs.records:
            return log
        from portico.observe.otlp.logs import BothLogs, ExportedLog

        exported = ExportedLog(export)
        return exported if log is None else BothLogs(log, exported)

    def count(self) -> None:
        """Bring the counters up to date."""
        self._metrics.note_exports(*self._exports.counts())

    def exemplars(self) -> list[list[object]]:
        """Exchanges with spans, for the histograms on `/metrics`."""
        return self._tracer.exemplars.dump()

    async def close(self, timeout: float) -> None:
        """Send what is left, for `timeout` seconds at most."""
        self._tracer.flush()
        await self._exports.close(timeout)


def _plain(path: str) -> str:
    """The path of a route without the mark that says how it is compared."""
    return path if path.startswith("/") else path.partition(" ")[2]
