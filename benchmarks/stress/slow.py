"""Many slow connections on one worker, and what a normal request takes beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.stress import subjects
from benchmarks.stress.crowd import KINDS, crowd
from benchmarks.stress.plan import SLOWER, Plan
from benchmarks.stress.probe import Latency, measured
from benchmarks.stress.row import Row
from benchmarks.stress.subjects import Subject
from support.instance_process import InstanceProcess
from support.worker import Memory

_SETTLE = 3.0
"""Seconds until the buffers on the way to a slow reader are full, and nothing is left of those that went."""


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """All kinds together with latencies, then each kind alone for its memory; nginx beside Portico."""
    starts = subjects.installed()
    kinds = tuple(KINDS)
    each = plan.connections // len(kinds)
    for measure in (_arriving, _together):
        for start in starts:
            with start(service.port) as subject:
                yield measure(subject, each, kinds, plan)
    for kind in kinds:
        for start in starts:
            with start(service.port) as subject:
                yield _alone(subject, each, kind)


def _arriving(subject: Subject, each: int, kinds: tuple[str, ...], plan: Plan) -> Row:
    """While they come, and the buffers on the way to the slow readers fill: that is work, and no promise is made."""
    without = measured(subject.port, plan.seconds, plan.rate)
    before = subject.worker.begin()
    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(measured, subject.port, plan.seconds, plan.rate)
        with crowd(subject.port, each, kinds) as end:
            beside = measuring.result()
            lost = end()
    p50, p99 = (without.p50, beside.p50), (without.p99, beside.p99)
    what = f"{each * len(kinds)} connections, longest {beside.longest:.0f} ms"
    memory = subject.worker.since(before)
    return Row("slow, arriving", subject.name, what, memory, p50, p99, lost + beside.failed, is_judged=False)


def _together(subject: Subject, each: int, kinds: tuple[str, ...], plan: Plan) -> Row:
    """Rounds without and with the crowd in turn; the medians of both."""
    count = each * len(kinds)
    without: list[Latency] = []
    beside: list[Latency] = []
    memory = Memory(0, 0)
    lost = 0
    for _ in range(plan.rounds):
        without.append(measured(subject.port, plan.seconds, plan.rate))
        before = subject.worker.begin()
        with crowd(subject.port, each, kinds) as end:
            time.sleep(_SETTLE)
            beside.append(measured(subject.port, plan.seconds, plan.rate))
            lost += end()
        memory = max(memory, subject.worker.since(before), key=lambda each: each.growth)
        time.sleep(_SETTLE)
    p50 = (median(latency.p50 for latency in without), median(latency.p50 for latency in beside))
    p99 = (median(latency.p99 for latency in without), median(latency.p99 for latency in beside))
    failed = sum(latency.failed for latency in without + beside)
    what = f"{count} connections, longest {max(latency.longest for latency in beside):.0f} ms"
    row = Row("slow, four kinds", subject.name, what, memory, p50, p99, failed + lost, is_judged=subject.is_judged)
    row.expect(not lost, f"{lost} slow connections were ended")
    row.expect(not failed, f"{failed} normal requests failed")
    for name, (before_ms, after_ms) in (("p50", p50), ("p99", p99)):
        row.expect(after_ms <= SLOWER * before_ms, f"{name} is {after_ms / before_ms:.1f} times as long")
    return row


def _alone(subject: Subject, each: int, kind: str) -> Row:
    before = subject.worker.begin()
    with crowd(subject.port, each, (kind,)) as end:
        time.sleep(_SETTLE)
        memory = subject.worker.since(before)
        lost = end()
    what = f"{each} connections, {memory.growth / each / 1024:.1f} KiB each"
    row = Row(kind, subject.name, what, memory, failures=lost, is_judged=subject.is_judged)
    row.expect(not lost, f"{lost} connections were ended")
    return row
