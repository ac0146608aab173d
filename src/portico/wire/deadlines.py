"""Timeouts for many connections with one timer: a wheel of coarse slots instead of a `call_later` per request."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from portico.core.faults import FAULTS, contain
from portico.wire.turn import Turn

RESOLUTION: Final = 0.05
"""Seconds that a deadline may fire late."""

NEVER: Final = float("inf")


class Timed(Protocol):
    """Something with at most one deadline at a time; `deadline` and `wakes` (`NEVER` at first) belong to the wheel."""

    deadline: float
    wakes: float

    def deadline_passed(self) -> None:
        """The deadline that was set last has passed."""

    def faulted(self) -> None:
        """`deadline_passed` raised an unexpected exception, which was reported: end, or have another deadline set."""


class Deadlines:
    """Calls `deadline_passed` on each item whose deadline, in `time.monotonic()` seconds, has passed.

    Moving a deadline later, which nearly every request does, writes one attribute: the item is looked at when its
    old slot comes up and is put back then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn | None = None) -> None:
        self._loop = loop
        self._turn = turn
        self._slots: dict[int, set[Timed]] = {}
        self._next = int(time.monotonic() / RESOLUTION)
        self._handle: asyncio.TimerHandle | None = loop.call_later(RESOLUTION, self._tick)

    def set(self, item: Timed, deadline: float) -> None:
        """Replace the item's deadline; `NEVER` for none."""
        item.deadline = deadline
        if deadline < item.wakes:
            self._remove(item)
            self._insert(item)

    def forget(self, item: Timed) -> None:
        """Drop the item, whose owner is gone."""
        item.deadline = NEVER
        self._remove(item)

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._slots.clear()

    def _insert(self, item: Timed) -> None:
        item.wakes = max(item.deadline, self._next * RESOLUTION)
        self._slots.setdefault(_slot(item.wakes), set()).add(item)

    def _remove(self, item: Timed) -> None:
        if item.wakes != NEVER:
            items = self._slots.get(_slot(item.wakes))
            if items is not None:
                items.discard(item)
                if not items:
                    del self._slots[_slot(item.wakes)]
            item.wakes = NEVER

    def _tick(self) -> None:
        self._handle = self._loop.call_later(RESOLUTION, self._tick)
        if self._turn is not None:
            self._turn.process()  # what arrived in time is not late because it waits to be processed
        now = time.monotonic()
        first, self._next = self._next, int(now / RESOLUTION) + 1
        for slot in range(first, self._next):
            for item in self._slots.pop(slot, ()):
                item.wakes = NEVER
                if item.deadline <= now:
                    item.deadline = NEVER
                    try:
                        item.deadline_passed()
                    except FAULTS:
                        contain(item, "what a deadline brings about failed")
                elif item.deadline != NEVER:
                    self._insert(item)


def _slot(deadline: float) -> int:
    return int(deadline / RESOLUTION) + 1
