"""The exporters of one process to collectors of OpenTelemetry, by signal, through all reloads.

They have threads, so they are made after the fork, and only where a configuration asks for one: without it nothing of
this is imported.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

from portico.config.telemetry import CollectorSettings

if TYPE_CHECKING:
    from portico.observe.otlp.events import EventExport
    from portico.observe.otlp.exporter import Exporter

_RETIRING: Final = 60.0
"""Seconds that an exporter stays which a reload has replaced: what it had taken may have to wait for its collector."""


class Exports:
    """`process` is what the process is called in the resource; `directory` is that of all the gateway's processes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, process: str, directory: Path) -> None:
        self._loop = loop
        self._directory = directory
        self._process = process
        self._current: dict[str, tuple[CollectorSettings, Exporter]] = {}
        self._retiring: list[Exporter] = []
        self._gone: tuple[Counter[str], Counter[tuple[str, str]]] = Counter(), Counter()
        """What exporters did that are no more."""
        self._events: EventExport | None = None

    def use(self, signal: str, settings: CollectorSettings | None) -> Callable[[bytes], None] | None:
        """What takes the records of a signal; as before, if nothing has changed about where they go."""
        found = self._current.get(signal)
        if settings is not None and found is not None and _is_same(signal, settings, found[0]):
            return found[1].add
        made = None if settings is None else self._made(signal, settings)
        if found is not None:
            self._retire(self._current.pop(signal)[1])
        if made is None or settings is None:
            return None
        self._current[signal] = settings, made
        return made.add

    def use_events(self, export: Callable[[bytes], None] | None) -> None:
        """Hand this process's events on from now on, or no more."""
        if self._events is not None:
            self._events.stop()
            self._events = None
        if export is not None:
            from portico.observe.otlp.events import EventExport

            self._events = EventExport(export, self._loop)
            self._events.start()

    def _made(self, signal: str, settings: CollectorSettings) -> Exporter:
        from portico.observe.otlp.exporter import Exporter, wrapping
        from portico.observe.otlp.resource import resource, scope

        said = resource(settings.service_name, settings.resource, self._process)
        collector = settings.collector(signal)
        lock = self._directory / f"{signal}-{crc32(collector.url.encode()):08x}.lock"
        return Exporter(collector, wrapping(said, scope()), self._loop, lock)

    def _retire(self, exporter: Exporter) -> None:
        """Exchanges under way may still hand their spans to it, where there is no other."""
        exporter.flush()
        self._retiring.append(exporter)
        self._loop.call_later(_RETIRING, self._end, exporter)

    def _end(self, exporter: Exporter) -> None:
        exporter.begin_close()
        self._retiring.remove(exporter)
        _add(self._gone, exporter)

    def _all(self) -> list[Exporter]:
        return [*(exporter for _, exporter in self._current.values()), *self._retiring]

    def counts(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        """The records sent, by signal, and those dropped, by signal and reason."""
        sums = self._gone[0].copy(), self._gone[1].copy()
        for exporter in self._all():
            _add(sums, exporter)
        return sums

    async def close(self, timeout: float) -> None:
        """Send what is left, for `timeout` seconds at most."""
        self.use_events(None)
        exporters, end = self._all(), time.monotonic() + timeout
        for exporter in exporters:
            exporter.begin_close()
        for exporter in exporters:
            await asyncio.to_thread(exporter.end_close, end - time.monotonic())


def _add(sums: tuple[Counter[str], Counter[tuple[str, str]]], exporter: Exporter) -> None:
    signal = exporter.collector.signal
    sums[0][signal] += exporter.sent
    for why, count in exporter.dropped.items():
        sums[1][signal, why] += count


def _is_same(signal: str, one: CollectorSettings, other: CollectorSettings) -> bool:
    said = one.service_name, one.resource
    return one.collector(signal) == other.collector(signal) and said == (other.service_name, other.resource)
