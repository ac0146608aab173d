"""A gateway that has just started: what its processes take of memory, and how long they were busy until it served."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import family, worked
from benchmarks.scale.row import Figure, Measured, Row
from support.proc import proportional

_ROUTES: Final = 10_000
_MIB: Final = 1 << 20
_STEADY: Final = 1.0
"""Seconds between two looks at memory, until it hardly changes."""


def _config(workers: int, routes: int) -> dict[str, Any]:
    service = {"url": "http://127.0.0.1:9", "health_check": False}
    many = [{"service": "s", "path": f"/r/{n}"} for n in range(routes)]
    return {"gateway": {"workers": workers}, "services": {"s": service}, "routes": many}


def _small(build: Build) -> Measured:
    """The CPU is that of the supervisor and of its worker, which begins where that has read and loaded all."""
    with Subject(build, _config(1, 0)) as gateway:
        busy = worked(gateway.pid) + sum(map(worked, gateway.workers()))
        one = _memory(gateway)
    with Subject(build, _config(3, 0)) as gateway:
        three = _memory(gateway)
    return {"one worker": one, "each further one": (three - one) / 2, "serves after": busy}


def _large(build: Build) -> Measured:
    with Subject(build, _config(1, _ROUTES)) as gateway:
        return {"one worker": _memory(gateway)}


def _memory(gateway: Subject) -> float:
    """MiB of all its processes, a shared page counted once, when all have started."""
    gateway.wait_for_control()
    before, now = 0.0, 1.0
    while abs(now - before) > now / 100:
        time.sleep(_STEADY)
        before, now = now, sum(map(proportional, family(gateway.pid))) / _MIB
    return now


ROWS: Final = (
    Row(
        "a started gateway",
        (
            Figure("one worker", "MiB", 75),
            Figure("each further one", "MiB", 20),
            Figure("serves after", "s of CPU", 0.3),
        ),
        _small,
    ),
    Row(f"a started gateway with {_ROUTES:,} routes", (Figure("one worker", "MiB", 160),), _large),
)
