"""Token buckets that the workers of one gateway have in common: in memory that all of them map.

A request takes its token in about 3 µs; a Redis, embedded or not, would cost a worker ten times that.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

from portico.policies.counters.buckets import Buckets
from portico.policies.counters.generations import Generations

_PLACES: Final = 1 << 20
"""Buckets that are not full, of all limits together. Each takes 16 bytes, which the kernel gives when they are used."""
_GROUP: Final = 8
"""Places in which one bucket may be."""
_LOCKS: Final = 16
"""Files that are locked: who shares none of them never waits for one another."""
_TRIES: Final = 50
_REMEMBERED: Final = 100_000


class BucketTable:
    """For each bucket that is not full the moment when it will be; made before the workers, which then `open` it.

    A bucket's name is a digest under a key that only this gateway has, so no client can choose whose place it shares.
    Where all places of a group are taken, the one that is nearest to being full makes way: its client gains least.

    Between reading a moment and writing it a worker holds a lock, which the kernel takes back from one that is killed.
    One that is stopped there would stop the others: they go on after `_TRIES`, and may count one request too few.
    """

    def __init__(self, places: int = _PLACES) -> None:
        memory = memoryview(mmap.mmap(-1, 16 * places))
        self.moments = memory[: 8 * places].cast("d")
        self.names = memory[8 * places :].cast("Q")
        self._groups = places // _GROUP
        self._key = os.urandom(32)
        self._locks: list[int] = []

    def open(self, directory: Path) -> None:
        """Get this process's own locks, on files in `directory`, which all workers name alike."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._locks = [os.open(directory / f"limits.{number}", flags, 0o600) for number in range(_LOCKS)]

    def name_of(self, text: str) -> int:
        """What a bucket is called: a number that is not 0."""
        return int.from_bytes(blake2b(text.encode(), digest_size=8, key=self._key).digest(), "little") or 1

    def lock(self, name: int) -> int:
        """Keep others from the group of the bucket `name`: what to `unlock` then, or -1 where it is not to be had."""
        lock = self._locks[name % self._groups % _LOCKS]
        for _ in range(_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.sched_yield()
            else:
                return lock
        return -1

    def unlock(self, lock: int) -> None:
        """Let others at it again."""
        if lock >= 0:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def place_of(self, name: int) -> int:
        """Where a bucket is; one that is nowhere gets a place, and is full."""
        first = name % self._groups * _GROUP
        group = self.names[first : first + _GROUP].tolist()
        if name in group:
            return first + group.index(name)
        moments = self.moments[first : first + _GROUP].tolist()
        place = first + moments.index(min(moments))
        self.moments[place] = 0.0
        self.names[place] = name
        return place


class SharedBuckets(Buckets):
    """The buckets of one limit; `limit` names it, in the same words in every worker."""

    __slots__ = ("_known", "_limit", "_table")

    def __init__(self, table: BucketTable, limit: str, requests_per_minute: float, burst: int) -> None:
        super().__init__(requests_per_minute, burst)
        self._table = table
        self._limit = limit
        self._known: Generations[str, tuple[int, int]] = Generations(_REMEMBERED)
        """The names and places of buckets; a place may have been given to another bucket meanwhile."""

    def take(self, key: str, now: float) -> float:
        table = self._table
        name, place = self._known.young.get(key) or self._find(key)
        lock = table.lock(name)
        try:
            if table.names[place] != name:
                place = self._find_again(key, name)
            moments = table.moments
            debt = max(0.0, moments[place] - now)
            if debt > self._room + self._margin:
                return self._room - debt
            debt += self.interval
            moments[place] = now + debt
        finally:
            table.unlock(lock)
        return self._left(debt)

    def _full_at(self, key: str) -> float:
        table = self._table
        name, place = self._find(key)
        lock = table.lock(name)
        try:
            return table.moments[place if table.names[place] == name else self._find_again(key, name)]
        finally:
            table.unlock(lock)

    def _note(self, key: str, moment: float) -> None:
        table = self._table
        name, place = self._find(key)
        lock = table.lock(name)
        try:
            table.moments[place if table.names[place] == name else self._find_again(key, name)] = moment
        finally:
            table.unlock(lock)

    def _find(self, key: str) -> tuple[int, int]:
        """The name of a bucket, and the place where it was last."""
        return self._known.get(key) or (self._table.name_of(f"{self._limit} {key}"), 0)

    def _find_again(self, key: str, name: int) -> int:
        place = self._table.place_of(name)
        self._known.put(key, (name, place))
        return place
