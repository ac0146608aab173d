"""Ten times the load that one worker can carry."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.cores import LOAD
from benchmarks.stress.worker import Worker

from . import outcome
from .fault import Fault
from .gateways import Start
from .load import OUTCOMES
from .outcome import Outcome
from .processes import Instance, Process, module
from .row import Row, Span, p99
from .slowed import slowed

_TIMES: Final = 10
_CLIENTS: Final = 500
_LASTS: Final = 7.0
"""Times as long as one looks before and after; `_MOST` seconds at most."""
_MOST: Final = 20.0
_FEW: Final = 8
_QUIET: Final = 0.3
"""Of its capacity, what a worker is asked for before and after."""
_LONGEST: Final = 1.0
"""Seconds within which 99 in 100 are answered or refused."""
_GROWTH: Final = 64 << 20
_NORMAL_AFTER: Final = 2.0
_SLOWER: Final = 2.0
_SPARE: Final = 10.0
"""Normal is a p99 of so many times that before, and so many milliseconds more."""
_MEASURED: Final = 3.0


class _Flood(Process):
    def __init__(self, port: int, clients: int, seconds: float, rate: float) -> None:
        super().__init__(LOAD)
        self._arguments = (port, clients, seconds, rate)
        self._patience = seconds + 30

    def command(self) -> list[str]:
        return module("flood", *self._arguments)

    def outcomes(self) -> list[Outcome]:
        assert self.process is not None
        if self.process.wait(self._patience):
            raise RuntimeError(f"the flood failed\n{self.output()}")
        return outcome.read(self.directory / OUTCOMES)


@dataclass(frozen=True)
class _Found:
    """What came of the flood, and of a few requests before and after it."""

    capacity: float
    steady: float
    few: list[Outcome]
    flood: list[Outcome]
    during: Span
    growth: int


def overloaded(fault: Fault, start: Start, seconds: float) -> Row:
    """Before, some seconds of ten times the load, and after."""
    lasts = min(seconds * _LASTS, _MOST)
    with (
        Instance("a", LOAD) as one,
        Instance("b", LOAD) as two,
        start(fault.name, [one.port, two.port]) as subject,
        slowed(*subject.workers()) as worker,
    ):
        found = _measured(worker, subject.ports[0], lasts)
    row = Row(
        *(fault.name, subject.name, fault.promise, found.few + found.flood, found.steady, found.during),
        is_judged=subject.is_judged,
    )
    _judge(row, found, lasts)
    return row


def _measured(worker: Worker, port: int, lasts: float) -> _Found:
    capacity = len(_asked(port, _FEW, _MEASURED)) / _MEASURED
    steady = time.monotonic()
    few = _asked(port, _FEW, _MEASURED, capacity * _QUIET)
    memory = worker.begin()
    begin = time.monotonic()
    flood = _asked(port, _CLIENTS, lasts, capacity * _TIMES)
    end = time.monotonic()
    growth = worker.since(memory).growth
    time.sleep(_NORMAL_AFTER)
    few += _asked(port, _FEW, _MEASURED, capacity * _QUIET)
    return _Found(capacity, steady, few, flood, (begin, end), growth)


def _judge(row: Row, found: _Found, lasts: float) -> None:
    count = len(found.flood)
    refused = sum(each.is_refused() for each in found.flood)
    longest = sorted(each.seconds for each in found.flood)[int(count * 0.99)]
    before = p99(found.few, (found.steady, found.during[0]))
    after = p99(found.few, (found.during[1], float("inf")))
    row.notes.append(
        f"can {found.capacity:.0f}/s; {_CLIENTS} clients want {_TIMES} times that, ask {count / lasts:.0f}/s, "
        f"{refused / count:.0%} refused, p99 of all {longest * 1000:.0f} ms, grew by {found.growth / (1 << 20):.1f} MiB"
    )
    row.expect(not any(each.failure for each in found.few), "a few requests alone fail, too")
    row.expect(longest < _LONGEST, f"1 in 100 waited {longest:.1f} s")
    row.expect(found.growth < _GROWTH, "its memory is not bounded")
    row.expect(after < _SLOWER * before + _SPARE, f"not back to normal after {_NORMAL_AFTER:.0f} s")


def _asked(port: int, clients: int, seconds: float, rate: float = 0.0) -> list[Outcome]:
    with _Flood(port, clients, seconds, rate) as flood:
        return flood.outcomes()
