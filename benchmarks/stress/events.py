"""Hundreds of streams of events at once: every event arrives, in order, and how late."""

from __future__ import annotations

import re
import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from benchmarks.stress import subjects
from benchmarks.stress.plan import Plan
from benchmarks.stress.row import Row
from benchmarks.stress.wire import StressWire
from support.instance_process import InstanceProcess

_INTERVAL: Final = 0.2
_EVENTS: Final = 50
_ADDED: Final = 50.0
"""Milliseconds that the gateway may add to the delay of 99 in 100 events."""
_EVENT: Final = re.compile(rb"data: ([0-9]+) ([0-9]+)\n\n")


@dataclass
class _Streams:
    """What came on all streams: `late` in ms per event, `wrong` counts events that are missing or out of order."""

    late: list[float] = field(default_factory=list)
    wrong: int = 0

    def percentile(self, part: float) -> float:
        return sorted(self.late)[int(len(self.late) * part)] if self.late else 0.0


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """Straight from the service first, then through the gateway: the difference is what the gateway adds."""
    count = plan.streams
    straight = _listen(service.port, "/events", count)
    with subjects.portico(service.port) as subject:
        before = subject.worker.begin()
        through = _listen(subject.port, "/api/stress/events", count)
        memory = subject.worker.since(before)
    p50 = (straight.percentile(0.5), through.percentile(0.5))
    p99 = (straight.percentile(0.99), through.percentile(0.99))
    what = f"{count} streams, {len(through.late)} events, {memory.growth / count / 1024:.1f} KiB each"
    row = Row("events", subject.name, what, memory, p50, p99, through.wrong)
    row.expect(not through.wrong, f"{through.wrong} events are missing or out of order")
    row.expect(p99[1] - p99[0] < _ADDED, f"adds {p99[1] - p99[0]:.0f} ms")
    yield row


def _listen(port: int, target: str, count: int) -> _Streams:
    result = _Streams()
    selector = selectors.DefaultSelector()
    seen: dict[StressWire, int] = {}
    for _ in range(count):
        wire = StressWire(port)
        wire.send(f"GET {target}/{_EVENTS}/{_INTERVAL * 1000:.0f} HTTP/1.1\r\nHost: stress.test\r\n\r\n".encode())
        wire.socket.setblocking(False)
        selector.register(wire.socket, selectors.EVENT_READ, wire)
        seen[wire] = 0
    end = time.monotonic() + _EVENTS * _INTERVAL + StressWire.TIMEOUT / 4
    open_streams = count
    while open_streams and time.monotonic() < end:
        for key, _ in selector.select(1):
            data = key.data.socket.recv(65536)  # events are sent one by one, and read as they come: none is cut in two
            now = time.monotonic_ns()
            for number, sent in _EVENT.findall(data):
                result.wrong += int(number) != seen[key.data]
                seen[key.data] = int(number) + 1
                if seen[key.data] > 1:  # the first came while the other streams were opened, and waited for that
                    result.late.append((now - int(sent)) / 1e6)
            if not data or data.endswith(b"0\r\n\r\n"):
                selector.unregister(key.fileobj)
                open_streams -= 1
    for wire, number in seen.items():
        result.wrong += _EVENTS - number
        wire.close()
    return result
