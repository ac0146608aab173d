"""Which core runs what: the gateway has its own, the load and the backend share the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ALL = sorted(os.sched_getaffinity(0))
_RESERVED = 2 if len(_ALL) >= 4 else 1  # two workers on two of three cores would outrun one core of load
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOAD = frozenset(_ALL[_RESERVED:] or _ALL)


def for_gateway(workers: int) -> frozenset[int]:
    """One core per worker, kept free of the load; every core where there are not enough for that."""
    return frozenset(_ALL[:workers] if leave_room(workers) else _ALL)


def leave_room(workers: int) -> bool:
    """Whether the load has cores that a gateway with so many workers doesn't use."""
    return workers <= _RESERVED < len(_ALL)


def count() -> int:
    """How many there are."""
    return len(_ALL)


@contextmanager
def pinned(cores: frozenset[int] | None) -> Iterator[None]:
    """Children started inside stay on `cores`: they inherit it, so it holds from their first instruction on.

    Where none are named they stay where this process is.
    """
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def idle_seconds(cores: frozenset[int]) -> float:
    """How long `cores` together have had nothing to do since the machine started (man 5 proc_stat)."""
    names = {f"cpu{core}" for core in cores}
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return sum(int(fields[4]) + int(fields[5]) for fields in lines if fields[0] in names) / _TICKS_PER_SECOND
