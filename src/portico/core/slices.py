"""Long work on an event loop in small steps: a generator yields wherever other work may run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Each step is well under a millisecond; what the generator returns is the result."""

_SLICE: Final = 0.001
"""Seconds of work between two turns of the loop."""
BESIDE_CHECKS: Final = 0.01
"""The same where a turn may be long, and nobody waits for each: in the control process, with thousands of checks."""


def at_once(steps: Steps[T]) -> T:
    """The result, without a pause."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: T = end.value
        return result


async def in_slices(steps: Steps[T], seconds: float = _SLICE) -> T:
    """The result, with a turn of the event loop after so many `seconds` of work."""
    while True:
        end = time.perf_counter() + seconds
        try:
            while time.perf_counter() < end:
                next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        await asyncio.sleep(0)


def letting_go(parts: Iterable[object]) -> Steps[None]:
    """Free many objects one by one: when the last reference to a large structure goes, all of it is freed at once.

    `parts` are to hold the only reference to that structure. They go in their order: a part behind the whole that it
    belongs to is freed by itself.
    """
    kept = []
    for part in parts:
        kept.append(part)
        yield
    del parts
    kept.reverse()
    while kept:
        kept.pop()
        yield


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Create many objects of which none is garbage: the collector would look through all of them again and again.

    It does so afterwards, and what becomes garbage later is found then, unlike after `without_collections`.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Create long-lived objects that the garbage collector scans neither now nor later.

    Scanning those of 10,000 routes would take a tenth of a second. What is alive at the end is never collected, so it
    must not include anything that comes and goes with a request or a connection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
