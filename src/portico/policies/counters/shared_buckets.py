"""Token buckets shared by the workers of one gateway, in memory that all of them map.

A request takes its token in about 3 µs; a Redis, embedded or not, would cost a worker ten times that.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from portico.core.caches import ages
from portico.core.slices import Steps
from portico.policies.counters.buckets import Buckets
from portico.policies.counters.generations import Generations
from portico.policies.counters.standing import without

_SLOTS: Final = 1 << 20
"""Buckets that are not full, of all limits together. Each takes 16 bytes, which the kernel gives when they are used."""
_GROUP: Final = 8
"""Slots in which one bucket may be."""
_LOCKS: Final = 16
"""Lock files: workers that use different ones never wait for each other."""
_ATTEMPTS: Final = 50
_BLOCK: Final = 8192
"""Buckets whose memory is returned together: whole pages of their moments, and of their names."""
_REMOVE: Final[int] = getattr(mmap, "MADV_REMOVE", 0)
_REMEMBERED: Final = 50_000


class BucketTable:
    """For each bucket that is not full, the moment when it will be; made before the workers, which then `open` it.

    A bucket's name is a digest under a key that only this gateway has, so no client can choose whose slot it shares.
    Where all slots of a group are in use, the bucket nearest to being full is evicted: its client gains least.

    Between reading a moment and writing it a worker holds a lock, which the kernel takes back from one that is killed.
    One that is stopped there would stop the others: they go on after `_ATTEMPTS`, and may count one request too few.
    """

    def __init__(self, slots: int = _SLOTS) -> None:
        self._memory = mmap.mmap(-1, 16 * slots)
        memory = memoryview(self._memory)
        self.moments = memory[: 8 * slots].cast("d")
        self.names = memory[8 * slots :].cast("Q")
        self._groups = slots // _GROUP
        self._key = os.urandom(32)
        self._locks: list[int] = []

    def open(self, directory: Path) -> None:
        """Get this process's own locks, on files in `directory` that have the same names in all workers."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._locks = [os.open(directory / f"limits.{number}", flags, 0o600) for number in range(_LOCKS)]

    def forgetting(self, now: float) -> Steps[None]:
        """Return to the kernel, block by block, the memory of buckets that are all full."""
        for first in range(0, len(self.moments) if _REMOVE else 0, _BLOCK):
            locked = [lock for number in range(_LOCKS) if (lock := self.lock(number)) >= 0]
            try:
                if len(locked) == _LOCKS:
                    self._forget(first, now)
            finally:
                for lock in locked:
                    self.unlock(lock)
            yield

    def _forget(self, first: int, now: float) -> None:
        if max(self.moments[first : first + _BLOCK]) <= now:
            for start in (8 * first, 8 * (len(self.moments) + first)):
                self._memory.madvise(_REMOVE, start, 8 * _BLOCK)

    def name_of(self, text: str) -> int:
        """The name of a bucket: a number that is not 0."""
        return int.from_bytes(blake2b(text.encode(), digest_size=8, key=self._key).digest(), "little") or 1

    def lock(self, name: int) -> int:
        """Lock the group of the bucket `name`: what to `unlock` afterwards, or -1 if the lock cannot be had."""
        lock = self._locks[name % self._groups % _LOCKS]
        for _ in range(_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.sched_yield()
            else:
                return lock
        return -1

    def unlock(self, lock: int) -> None:
        """Release the lock."""
        if lock >= 0:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def slot_of(self, name: int) -> int:
        """The slot of a bucket; one that has none gets one, and is full."""
        first = name % self._groups * _GROUP
        group = self.names[first : first + _GROUP].tolist()
        if name in group:
            return first + group.index(name)
        moments = self.moments[first : first + _GROUP].tolist()
        slot = first + moments.index(min(moments))
        self.moments[slot] = 0.0
        self.names[slot] = name
        return slot

    def moment_of(self, name: int) -> float:
        """When a bucket will be full, or was; nothing is locked or changed for it."""
        first = name % self._groups * _GROUP
        group = self.names[first : first + _GROUP].tolist()
        moment: float = self.moments[first + group.index(name)] if name in group else 0.0
        return moment


class Slots:
    """The names and slots of buckets that this worker knows, by key; the slot may be another bucket's by now."""

    __slots__ = ("__weakref__", "known", "table")

    def __init__(self, table: BucketTable) -> None:
        self.table = table
        self.known: Generations[str, tuple[int, int]] = Generations(_REMEMBERED)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget slots; the buckets stay where they are."""
        self.known.rotate()

    def items(self) -> Iterable[tuple[str, float]]:
        """The keys with the moments of their buckets. The table has no names of clients."""
        names, moments = self.table.names, self.table.moments
        for key, (name, slot) in self.known.items():
            if names[slot] == name:
                yield key, moments[slot]

    def buckets(self, limit: str, requests_per_minute: float, burst: int, prefix: str) -> Buckets:
        """Buckets of some clients of a limit, which are known by a prefix here."""
        return SharedBuckets(self.table, limit, requests_per_minute, burst, self, prefix)

    def peek(self) -> Slots:
        """The same, for whoever asks what is in buckets: nothing is taken of any."""
        return _PeekedSlots(self.table)


class _PeekedSlots(Slots):
    def buckets(self, limit: str, requests_per_minute: float, burst: int, prefix: str) -> Buckets:
        return super().buckets(limit, requests_per_minute, burst, prefix).peek()


class SharedBuckets(Buckets):
    """The buckets of one limit; `limit` is its name, the same in every worker.

    Their `store` may be that of other buckets too, whose keys have another `prefix` there.
    """

    __slots__ = ("_limit", "_prefix", "_table", "store")

    def __init__(
        self,
        table: BucketTable,
        limit: str,
        requests_per_minute: float,
        burst: int,
        store: Slots | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__(requests_per_minute, burst)
        self._table = table
        self._limit = limit
        self._prefix = prefix
        self.store = store if store is not None else Slots(table)

    def take(self, key: str, now: float) -> float:
        table = self._table
        name, slot = self.store.known.young.get(self._prefix + key) or self._find(key)
        lock = table.lock(name)
        try:
            if table.names[slot] != name:
                slot = self._find_again(key, name)
            moments = table.moments
            debt = max(0.0, moments[slot] - now)
            if debt > self._tolerance + self._margin:
                return self._tolerance - debt
            debt += self.interval
            moments[slot] = now + debt
        finally:
            table.unlock(lock)
        return self._left(debt)

    def charge(self, key: str, tokens: int, now: float) -> None:
        table = self._table
        name, slot = self._find(key)
        lock = table.lock(name)
        try:
            if table.names[slot] != name:
                slot = self._find_again(key, name)
            table.moments[slot] = max(table.moments[slot], now) + tokens * self.interval
        finally:
            table.unlock(lock)

    def peek(self) -> Buckets:
        return _Peeked(self, self._table, self._limit)

    def _full_at(self, key: str) -> float:
        table = self._table
        name, slot = self._find(key)
        lock = table.lock(name)
        try:
            return table.moments[slot if table.names[slot] == name else self._find_again(key, name)]
        finally:
            table.unlock(lock)

    def _forget(self, key: str) -> None:
        self._note(key, 0.0, 0.0)

    def _note(self, key: str, moment: float, now: float) -> None:  # noqa: ARG002
        table = self._table
        name, slot = self._find(key)
        lock = table.lock(name)
        try:
            table.moments[slot if table.names[slot] == name else self._find_again(key, name)] = moment
        finally:
            table.unlock(lock)

    def _moments(self) -> Iterable[tuple[str, float]]:
        return without(self._prefix, self.store.items())

    def _find(self, key: str) -> tuple[int, int]:
        """The name of a bucket, and the slot where it was last."""
        return self.store.known.get(self._prefix + key) or (self._table.name_of(f"{self._limit} {key}"), 0)

    def _find_again(self, key: str, name: int) -> int:
        slot = self._table.slot_of(name)
        self.store.known.put(self._prefix + key, (name, slot))
        return slot


class _Peeked(Buckets):
    """The same buckets, of which nothing is taken."""

    __slots__ = ("_limit", "_table")

    def __init__(self, of: SharedBuckets, table: BucketTable, limit: str) -> None:
        super().__init__(60.0 / of.interval, of.burst)
        self._table, self._limit = table, limit

    def take(self, key: str, now: float) -> float:
        return self.look(key, now)

    def charge(self, key: str, tokens: int, now: float) -> None:
        """Nothing is taken."""

    def peek(self) -> Buckets:
        return self

    def _full_at(self, key: str) -> float:
        return self._table.moment_of(self._table.name_of(f"{self._limit} {key}"))

    def _note(self, key: str, moment: float, now: float) -> None:
        """Nothing is kept."""

    def _forget(self, key: str) -> None:
        """Nothing is kept."""
