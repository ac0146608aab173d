"""The numbers that a sample gives, and which of them a scenario shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.sample import Sample

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Metric:
    """A column: its unit is in the title, `form` formats a value.

    One that `is_compared` has columns in the table of ratios. One that `needs_room` means nothing where the load and
    several workers share cores.
    """

    title: str
    value: Callable[[Sample], float]
    form: str
    is_compared: bool = False
    needs_room: bool = False


CPU = Metric("CPU µs/request", lambda sample: sample.cpu / sample.outcome.requests * 1e6, "{:.1f}", is_compared=True)
WORKER = Metric(
    "worker µs/request", lambda sample: sample.busiest / sample.outcome.requests * 1e6, "{:.1f}", is_compared=True
)
CPU_OF_PAIR = Metric("CPU µs/pair", CPU.value, "{:.1f}", is_compared=True)
RATE = Metric(
    "requests/s",
    lambda sample: sample.outcome.requests / sample.outcome.seconds,
    "{:.0f}",
    is_compared=True,
    needs_room=True,
)
PAIRS = Metric("pairs/s", RATE.value, "{:.0f}", is_compared=True)
P50 = Metric("p50 ms", lambda sample: sample.outcome.p50, "{:.2f}", needs_room=True)
P99 = Metric("p99 ms", lambda sample: sample.outcome.p99, "{:.2f}", is_compared=True, needs_room=True)
PER_CPU = Metric(
    "MiB/CPU second",
    lambda sample: sample.outcome.received / _MEBIBYTE / max(sample.cpu, 0.01),
    "{:.0f}",
    is_compared=True,
)
THROUGHPUT = Metric("MiB/s", lambda sample: sample.outcome.received / _MEBIBYTE / sample.outcome.seconds, "{:.0f}")
MEMORY = Metric("RSS MiB", lambda sample: sample.resident / _MEBIBYTE, "{:.1f}")
GROWTH = Metric("growth MiB", lambda sample: sample.growth / _MEBIBYTE, "{:.1f}")
PER_CONNECTION = Metric(
    "KiB/connection", lambda sample: sample.growth / 1024 / sample.outcome.requests, "{:.1f}", is_compared=True
)
CONNECTIONS = Metric("connections", lambda sample: sample.outcome.requests, "{:.0f}")
BUSY = Metric("core busy", lambda sample: sample.cpu / sample.outcome.seconds, "{:.0%}")
LOAD_BUSY = Metric("load busy", lambda sample: sample.load_busy, "{:.0%}")
FAILED = Metric("not 2xx", lambda sample: sample.outcome.failed, "{:.0f}")
BROKEN = Metric("broken", FAILED.value, "{:.0f}")

OF_REQUESTS = (CPU, RATE, P50, P99, MEMORY, BUSY, LOAD_BUSY, FAILED)
OF_WATCHED = (WORKER, *OF_REQUESTS)
OF_WORKERS = (CPU, RATE, MEMORY, BUSY, LOAD_BUSY, FAILED)
OF_BYTES = (PER_CPU, THROUGHPUT, GROWTH, MEMORY, BUSY, LOAD_BUSY, FAILED)
OF_CONNECTIONS = (PER_CONNECTION, CONNECTIONS, GROWTH, MEMORY, FAILED)
OF_MESSAGES = (CPU_OF_PAIR, PAIRS, P50, P99, BUSY, LOAD_BUSY, BROKEN)
OF_LATENCY = (P50, P99, CPU, RATE, LOAD_BUSY, FAILED)
