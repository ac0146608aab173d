"""Rates, latencies and errors of the last seconds: what workers report anyway, compared from one second to the next.

A worker does nothing for them. The control process compares its reports only while somebody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from portico.config import Config
from portico.processes.control.live.counts import Counts, differences
from portico.processes.control.workers import Workers

WINDOW: Final = 10
"""Seconds of which there are figures."""
ASKED_FOR: Final = 15.0
"""Seconds for which reports are compared after somebody has asked."""
_FIRST: Final = 2.5
"""Seconds that who asks first waits for workers, which report every second."""


class _Second:
    """What was reported within one second of the monotonic clock; `covered` says for how many seconds, by worker."""

    __slots__ = ("covered", "number", "services")

    def __init__(self, number: int) -> None:
        self.number = number
        self.services: dict[str, Counts] = {}
        self.covered: dict[str, float] = {}


class Figures:
    """Those of one gateway."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._seconds: deque[_Second] = deque()
        self._reported_at: dict[str, float] = {}
        self._asked_at = float("-inf")
        self._progress = asyncio.Event()

    def is_asked(self) -> bool:
        """Whether somebody has asked lately."""
        return time.monotonic() - self._asked_at < ASKED_FOR

    def reported(self, worker: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Take note of a worker's totals, and compare them with those `before`, if somebody asks."""
        now = time.monotonic()
        last, self._reported_at[worker] = self._reported_at.get(worker), now
        if before is None or last is None or now - last > WINDOW:  # it was hung for a while
            return
        if not self.is_asked():
            self._seconds.clear()
            return
        second = self._second(int(now))
        second.covered[worker] = second.covered.get(worker, 0.0) + now - last
        for service, counts in differences(before, after).items():
            second.services.setdefault(service, Counts()).add(counts)
        self._progress.set()

    def left(self, worker: str) -> None:
        """Forget when a worker has reported that is gone; what it has reported counts on."""
        self._reported_at.pop(worker, None)
        self._progress.set()

    def _second(self, number: int) -> _Second:
        while self._seconds and self._seconds[0].number <= number - WINDOW:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]

    async def ask(self) -> None:
        """Have reports compared for a while, and wait until there is something to say, for 2.5 s at most."""
        self._asked_at = time.monotonic()
        end = self._asked_at + _FIRST
        while not self._knows_all() and (left := end - time.monotonic()) > 0:
            self._progress.clear()
            try:
                await asyncio.wait_for(self._progress.wait(), left)
            except TimeoutError:
                return

    def _knows_all(self) -> bool:
        covered = {worker for second in self._recent() for worker in second.covered}
        return covered >= self._workers.reported().keys()

    def _recent(self) -> list[_Second]:
        now = int(time.monotonic())
        return [second for second in self._seconds if second.number > now - WINDOW]

    def services(self, config: Config) -> tuple[float, dict[str, dict[str, Any]], dict[str, Any]]:
        """The seconds that these are the figures of, those of each service, and those of all together."""
        recent = self._recent()
        counted, covered = _sums(recent)
        window = max(covered.values(), default=0.0)
        in_flight = _in_flight(self._workers.reported().values())
        known = dict.fromkeys([*config.services, *counted])
        services = {name: _described(counted.get(name), window, in_flight[name]) for name in known}
        total = Counts()
        for counts in counted.values():
            total.add(counts)
        running = sum(totals["in_flight"] for totals in self._workers.reported().values())
        return window, services, _described(total, window, running)


def _sums(seconds: Iterable[_Second]) -> tuple[dict[str, Counts], dict[str, float]]:
    counted: dict[str, Counts] = {}
    covered: dict[str, float] = {}
    for second in seconds:
        for worker, length in second.covered.items():
            covered[worker] = covered.get(worker, 0.0) + length
        for service, counts in second.services.items():
            counted.setdefault(service, Counts()).add(counts)
    return counted, covered


def _in_flight(live: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Exchanges under way at each service; those of its versions count as its own."""
    found: Counter[str] = Counter()
    for totals in live:
        for key, numbers in totals["services"].items():
            found[key.partition("@")[0]] += numbers[0]
    return found


def _described(counts: Counts | None, window: float, in_flight: int) -> dict[str, Any]:
    counts, window = counts or Counts(), window or 1.0
    statuses = counts.statuses
    return {
        "rate": _rate(statuses.total(), window),
        "in_flight": in_flight,
        "error_rate": _rate(sum(count for status, count in statuses.items() if status >= 500), window),
        "limited_rate": _rate(statuses[429], window),
        "p50": counts.quantile(0.5),
        "p95": counts.quantile(0.95),
        "p99": counts.quantile(0.99),
        "statuses": dict(_by_class(statuses, window)),
        "errors": {reason: _rate(count, window) for reason, count in counts.reasons.most_common() if count},
    }


def _by_class(statuses: Mapping[int, int], window: float) -> Iterator[tuple[str, float]]:
    classes: Counter[int] = Counter()
    for status, count in statuses.items():
        classes[status // 100] += count
    for number in sorted(classes):
        yield f"{number}xx", _rate(classes[number], window)


def _rate(count: float, window: float) -> float:
    return round(count / window, 3)
