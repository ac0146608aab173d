"""How many connections each worker has, in memory that all of them map: who has the fewest accepts the next one.

All workers wait at the same listening sockets, so that no connection is lost with one of them: what is queued at a
socket of its own (SO_REUSEPORT) is reset when it closes. But the kernel wakes all who wait, and on few cores the first
to run would accept everything. Nothing here is locked: who reads a number that is just being changed is wrong by one.
"""

from __future__ import annotations

import mmap
from time import monotonic
from typing import Final

_NOT_ACCEPTING: Final = 1 << 62
"""In place of the connections of a worker that is not there, or accepts no more."""
_SILENT: Final = 0.25
"""Seconds after the last sign of life from which a worker is not waited for: it is busy with one thing, or hangs."""
_TOLERANCE: Final = 3
"""Binary places: a worker may have an eighth more than another, which is none where they have less than eight."""
_EARLIER: Final = 32
"""Bits of the number of connections that were accepted in a second; that of the second is above them."""
_LITTLE: Final = 0.05
"""Share of a core: a worker that uses less is as good as idle, however many connections it has."""
_LESS: Final = 0.9
"""A worker that uses less than this share of what one with the fewest connections does has no reason to give up any."""


class Loads:
    """The table: a row for each worker, which the supervisor gives out."""

    def __init__(self, rows: int) -> None:
        memory = memoryview(mmap.mmap(-1, 4 * 8 * rows))
        columns = [memory[start : start + 8 * rows] for start in range(0, len(memory), 8 * rows)]
        self.connections = columns[0].cast("q")
        self.accepted = columns[1].cast("q")
        """In the second that is in its upper bits: those that come and go are counted, too."""
        self.seen = columns[2].cast("d")
        """Seconds, monotonic."""
        self.used = columns[3].cast("d")
        """Share of a core that was used lately."""
        self._free = set(range(rows))
        for row in range(rows):
            self.connections[row] = _NOT_ACCEPTING

    def reserve(self) -> Load | None:
        """A row for a new worker; None where there are too many workers that have not ended yet."""
        if not self._free:
            return None
        row = min(self._free)
        self._free.discard(row)
        return Load(self, row)

    def free(self, load: Load) -> None:
        """Its worker has ended, in whatever way."""
        self.connections[load.row] = _NOT_ACCEPTING
        self._free.add(load.row)


class Load:
    """What one worker has, and whether the next connection is for it or for another."""

    def __init__(self, loads: Loads, row: int) -> None:
        self.row = row
        self._loads = loads
        self._is_open = False
        self._opening = 0
        self._held = 0

    def open(self) -> None:
        """Accept from now on."""
        self._is_open = True
        self.report(0.0)
        self._publish()

    def leave(self) -> None:
        """Accept no more: no other waits for this one."""
        self._is_open = False
        self._loads.connections[self.row] = _NOT_ACCEPTING

    def report(self, used: float) -> None:
        """A sign of life, and how much of a core is used."""
        self._loads.seen[self.row] = monotonic()
        self._loads.used[self.row] = used

    def accept(self) -> None:
        """One was accepted."""
        second = int(monotonic()) << _EARLIER
        self._loads.accepted[self.row] = max(self._loads.accepted[self.row], second) + 1
        self._opening += 1
        self._publish()

    def fail(self) -> None:
        """One that was accepted has gone before HTTP began on it."""
        self._opening -= 1
        self._publish()

    def hold(self, count: int) -> None:
        """`count` connections are open; one that was accepted is among them now, or has gone."""
        self._held = count
        self._publish()

    def admit(self, count: int) -> None:
        """One of those that were accepted is among the `count` now on which HTTP is spoken."""
        self._opening -= 1
        self.hold(count)

    def _publish(self) -> None:
        if self._is_open:
            self._loads.connections[self.row] = self._opening + self._held

    def may_accept(self) -> bool:
        """Whether no other worker should rather have the next one: it has fewer, or as many and got fewer lately.

        The latter counts where connections come and go; where many stay, as many more may come at once as they differ.
        """
        loads = self._loads
        connections = loads.connections.tolist()
        own = connections[self.row]
        least = min(connections)
        if own > _most(least):
            return own <= _most(min(connections[row] for row in self._lively(connections)))
        second = int(monotonic()) << _EARLIER
        accepted = [max(0, each - second) for each in loads.accepted.tolist()]
        enough = accepted[self.row] - (least >> _TOLERANCE)
        if enough <= _most(min(accepted[row] for row, count in enumerate(connections) if count <= own)):
            return True
        lively = self._lively(connections)
        return enough <= _most(min(accepted[row] for row in lively if connections[row] <= own))

    def surplus(self) -> int:
        """How many connections are too many here, where another worker has fewer and not much more to do."""
        connections = self._loads.connections.tolist()
        lively = self._lively(connections)
        counts = [connections[row] for row in lively]
        own, least = connections[self.row], min(counts)
        if own <= max(_most(least), least + 1):
            return 0
        used = self._loads.used[lively[counts.index(least)]]
        if self._loads.used[self.row] < max(_LITTLE, _LESS * used):
            return 0
        return max(0, own - -(-sum(counts) // len(counts)))

    def _lively(self, connections: list[int]) -> list[int]:
        """The rows of those that accept and have given a sign of life lately, and the own one."""
        since = monotonic() - _SILENT
        seen = self._loads.seen.tolist()
        return [
            row
            for row, count in enumerate(connections)
            if row == self.row or (count < _NOT_ACCEPTING and seen[row] >= since)
        ]


def _most(least: int) -> int:
    return least + (least >> _TOLERANCE)
