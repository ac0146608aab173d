"""A few clients that take all they can get, and what a normal request takes beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from benchmarks.stress import subjects
from benchmarks.stress.plan import Plan
from benchmarks.stress.probe import measured
from benchmarks.stress.row import Row
from benchmarks.stress.subjects import Subject
from benchmarks.stress.wire import StressWire, request
from support.instance_process import InstanceProcess

_RATE: Final = 40.0
"""Normal requests per second: few, or those that wait would hold each other up and measure themselves."""
_LONGEST: Final = 1000.0
"""Milliseconds that 99 in 100 normal requests may take: a greedy client takes the processor, but not all of its turns.

The service, on the same core as the clients, is busy too, which costs nginx some hundreds of them.
"""
_ENDLESS: Final = 1 << 44
_START: Final = 0.5


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """Each kind on a fresh gateway; nginx beside Portico."""
    for name, count, greed in KINDS:
        for start in subjects.installed():
            with start(service.port) as subject:
                yield _measure(subject, name, count, greed, plan)


def _measure(subject: Subject, name: str, count: int, greed: Callable[[StressWire], None], plan: Plan) -> Row:
    without = measured(subject.port, plan.seconds, _RATE)
    before = subject.worker.begin()
    with _at_work(subject.port, count, greed):
        time.sleep(_START)
        beside = measured(subject.port, plan.seconds, _RATE)
        memory = subject.worker.since(before)
    p50, p99 = (without.p50, beside.p50), (without.p99, beside.p99)
    what = f"{count} clients, longest {beside.longest:.0f} ms"
    row = Row(name, subject.name, what, memory, p50, p99, beside.failed, is_judged=subject.is_judged)
    row.expect(not beside.failed, f"{beside.failed} normal requests failed")
    row.expect(beside.p99 < _LONGEST, f"p99 is {beside.p99:.0f} ms")
    return row


@contextmanager
def _at_work(port: int, count: int, greed: Callable[[StressWire], None]) -> Iterator[None]:
    """So many clients at once, each in a thread, until the end of the block closes their connections."""
    wires = [StressWire(port) for _ in range(count)]
    threads = [threading.Thread(target=_until_closed, args=(greed, wire), daemon=True) for wire in wires]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for wire in wires:
            wire.reset()
        for thread in threads:
            thread.join(1)


def _until_closed(greed: Callable[[StressWire], None], wire: StressWire) -> None:
    with suppress(OSError):
        greed(wire)


def _download(wire: StressWire) -> None:
    wire.send(request("GET", f"/bytes/{_ENDLESS}"))
    for _ in wire.pieces():
        pass


def _upload(wire: StressWire) -> None:
    wire.send(request("POST", "/take", f"Content-Length: {_ENDLESS // 64}"))
    wire.send_pattern(_ENDLESS // 64, chunked=False)


def _tiny_chunks(wire: StressWire) -> None:
    """Chunks of one byte: six bytes to read for each."""
    wire.send(request("POST", "/take", "Transfer-Encoding: chunked"))
    block = b"1\r\nx\r\n" * 50_000
    while True:
        wire.send(block)


def _pipeline(wire: StressWire) -> None:
    """Requests one behind the other, as fast as they are taken; their answers are read."""
    threading.Thread(target=_until_closed, args=(_read_all, wire), daemon=True).start()
    block = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000
    while True:
        wire.send(block)


def _read_all(wire: StressWire) -> None:
    for _ in wire.pieces():
        pass


KINDS: Final[tuple[tuple[str, int, Callable[[StressWire], None]], ...]] = (
    ("greedy downloads", 4, _download),
    ("greedy uploads", 4, _upload),
    ("tiny chunks", 1, _tiny_chunks),
    ("pipelined flood", 1, _pipeline),
)
