"""A dictionary that forgets: two generations, the older of which is dropped when the younger is full."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from sys import getsizeof
from typing import Any, Final, Generic, Self, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one generation: 50,000 addresses, each with a number."""
_ENTRY: Final = 100
"""Bytes that an entry takes beside its key: its slot, and a value that is a number or a few."""


def _nothing(value: object) -> int:  # noqa: ARG001
    return 0


class Generations(Generic[K, V]):
    """Holds at least the `capacity` most recently used entries and at most twice as many; fewer where a generation of
    them would take more than `max_bytes` bytes. `weigh` gives the bytes of a value that is more than a few numbers.

    An entry that is used moves to the young generation, so what is dropped has been unused for a whole generation:
    nearly LRU at the price of a plain dictionary.
    """

    __slots__ = ("_size", "_weigh", "capacity", "old", "max_bytes", "young")

    def __init__(self, capacity: int, max_bytes: int = MAX_BYTES, weigh: Callable[[V], int] = _nothing) -> None:
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}
        self._size = 0
        """Bytes of the young generation, about."""
        self._weigh = weigh

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def get(self, key: K) -> V | None:
        """The entry, which counts as used."""
        value = self.young.get(key)
        if value is None and self.old:
            value = self.old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Add or replace an entry."""
        if key not in self.young:
            size = getsizeof(key) + _ENTRY + self._weigh(value)
            if len(self.young) >= self.capacity or self._size + size > self.max_bytes:
                self.rotate()
            self._size += size
        self.young[key] = value

    def items(self) -> list[tuple[K, V]]:
        """All entries as they are now; none counts as used by that."""
        return [*self.young.items(), *(each for each in self.old.items() if each[0] not in self.young)]

    def discard(self, key: K) -> None:
        """Remove an entry if it is there."""
        value = self.young.pop(key, None)
        if value is not None:
            self._size -= getsizeof(key) + _ENTRY + self._weigh(value)
        self.old.pop(key, None)

    def rotate(self) -> None:
        """Start a new generation: entries unused since the last call are dropped."""
        self.old = self.young
        self.young = {}
        self._size = 0

    def peek(self) -> Self:
        """One with the same entries, for whoever asks what would become of them: whatever does, these stay."""
        peeked = copy(self)
        peeked.young, peeked.old, peeked._size = {}, _Below(self.young, self.old), 0
        return peeked


class _Below(dict[Any, Any]):
    """The entries of others, as an old generation of which nothing is taken."""

    def __init__(self, young: dict[Any, Any], old: dict[Any, Any]) -> None:
        super().__init__()
        self._young, self._old = young, old
        self._gone: set[Any] = set()

    def __bool__(self) -> bool:
        return True

    def pop(self, key: Any, default: Any = None) -> Any:
        if key in self._gone:
            return default
        self._gone.add(key)
        value = self._young.get(key)
        return self._old.get(key, default) if value is None else value
