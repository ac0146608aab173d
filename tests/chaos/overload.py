"""Ten times the load that one worker can carry: from clients who wait for their answers, or sent in any case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from support.cores import LOAD
from support.instance_process import InstanceProcess
from support.worker import Worker

from .fault import Fault
from .gateways import Start
from .outcome import HEALTH, LARGE, Outcome
from .processes import asked
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
"""Seconds within which 99 in 100 are answered or refused, and each that asks for the gateway's health."""
_GROWTH: Final = 64 << 20
_NORMAL_AFTER: Final = 2.0
_SLOWER: Final = 2.0
_SPARE: Final = 10.0
"""Normal is a p99 of so many times that before, and so many milliseconds more."""
_MEASURED: Final = 3.0
_SENT: Final = 9.0
"""Times the capacity that an open loop has to have sent, or it was none."""
_LATE: Final = 0.1
"""Seconds late that 99 in 100 may be sent, or it is the load that limits."""


@dataclass(frozen=True)
class Found:
    """What came of ten times the load in so many seconds, and of a few requests before and after it."""

    capacity: float
    steady: float
    few: Sequence[Outcome]
    many: Sequence[Outcome]
    during: Span
    lasts: float
    growth: int


@dataclass(frozen=True)
class Crowd:
    """What asks ten times as much: for what, how (a port, seconds, requests a second), and what is said of it."""

    client: str
    ask: Callable[[int, float, float], list[Outcome]]
    judge: Callable[[Row, Found], None]


def ten_times(crowd: Crowd) -> Callable[[Fault, Start, float], Row]:
    """What plays it: before, some seconds of ten times the load, and after."""

    def run(fault: Fault, start: Start, seconds: float) -> Row:
        lasts = min(seconds * _LASTS, _MOST)
        with (
            InstanceProcess("a", LOAD) as one,
            InstanceProcess("b", LOAD) as two,
            start(fault.name, [one.port, two.port]) as subject,
            slowed(*subject.workers()) as worker,
        ):
            found = _measured(worker, subject.ports[0], crowd, lasts)
        row = Row(
            *(fault.name, subject.name, fault.promise, [*found.few, *found.many], found.steady, found.during),
            is_judged=subject.is_judged,
        )
        crowd.judge(row, found)
        return row

    return run


def _measured(worker: Worker, port: int, crowd: Crowd, lasts: float) -> Found:
    capacity = len(_in_turn(port, crowd.client, _FEW, _MEASURED)) / _MEASURED
    steady = time.monotonic()
    few = _in_turn(port, crowd.client, _FEW, _MEASURED, capacity * _QUIET)
    memory = worker.begin()
    begin = time.monotonic()
    many = crowd.ask(port, lasts, capacity * _TIMES)
    end = time.monotonic()
    growth = worker.since(memory).growth
    time.sleep(_NORMAL_AFTER)
    few += _in_turn(port, crowd.client, _FEW, _MEASURED, capacity * _QUIET)
    return Found(capacity, steady, few, many, (begin, end), lasts, growth)


def _in_turn(port: int, client: str, clients: int, seconds: float, rate: float = 0.0) -> list[Outcome]:
    """By so many clients, who each wait for an answer before they ask again."""
    return asked(seconds, "flood", port, client, clients, seconds, rate)


def _in_turn_by_many(port: int, seconds: float, rate: float) -> list[Outcome]:
    return _in_turn(port, "get", _CLIENTS, seconds, rate)


def _in_any_case(port: int, seconds: float, rate: float) -> list[Outcome]:
    return asked(seconds, "open_loop", port, seconds, rate)


def judge_waiting(row: Row, found: Found) -> None:
    """Notes and verdicts for clients who wait."""
    asked = f"{_CLIENTS} clients want {_TIMES} times that, ask {len(found.many) / found.lasts:.0f}/s"
    _judge(row, found, found.many, asked)


def judge_open(row: Row, found: Found) -> None:
    """Notes and verdicts for an open loop: also whether it was one."""
    sent = [each for each in found.many if each.client != HEALTH]
    health = [each for each in found.many if each.client == HEALTH]
    first, last = min(each.began for each in sent), max(each.began + each.late for each in sent)
    rate = len(sent) / max(found.lasts, last - first)
    late = _at_99(each.late for each in sent)
    slowest = max(each.seconds for each in health)
    _judge(row, found, sent, f"{rate:.0f}/s are sent, p99 late by {late * 1000:.0f} ms")
    row.notes.append(f"health within {slowest * 1000:.0f} ms")
    row.expect(rate >= _SENT * found.capacity, f"not measured: only {rate / found.capacity:.1f} times that were sent")
    row.expect(late < _LATE, f"not measured: the load was {late:.1f} s late itself")
    untold = sum(each.failure.startswith("503") and not each.retry_after for each in sent)
    row.expect(not untold, f"{untold} were refused without Retry-After")
    row.expect(not any(each.failure for each in health), "it did not always say that it is alive and ready")
    row.expect(slowest < _LONGEST, f"a probe was answered after {slowest:.1f} s")


def _judge(row: Row, found: Found, many: Sequence[Outcome], asked: str) -> None:
    refused = sum(each.is_refused() for each in many)
    longest = _at_99(each.seconds for each in many)
    before = p99(found.few, (found.steady, found.during[0]))
    after = p99(found.few, (found.during[1], float("inf")))
    row.notes.append(
        f"can {found.capacity:.0f}/s; {asked}, {refused / len(many):.0%} refused, p99 of all {longest * 1000:.0f} ms, "
        f"grew by {found.growth / (1 << 20):.1f} MiB"
    )
    row.expect(not any(each.failure for each in found.few), "a few requests alone fail, too")
    row.expect(longest < _LONGEST, f"1 in 100 waited {longest:.1f} s")
    row.expect(found.growth < _GROWTH, "its memory is not bounded")
    row.expect(after < _SLOWER * before + _SPARE, f"not back to normal after {_NORMAL_AFTER:.0f} s")


def _at_99(seconds: Iterable[float]) -> float:
    ordered = sorted(seconds)
    return ordered[int(len(ordered) * 0.99)]


WAITING: Final = Crowd("get", _in_turn_by_many, judge_waiting)
"""500 clients that ask for little; each waits for its answer before it asks again."""
OPEN: Final = Crowd(LARGE, _in_any_case, judge_open)
"""An open loop, whose requests are answered at length: it has to cost less to refuse than to answer."""
