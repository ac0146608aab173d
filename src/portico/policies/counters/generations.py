"""A dictionary that forgets: two generations, the older of which is dropped when the younger is full."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Holds at least the `capacity` most recently used entries and at most twice as many.

    An entry that is used moves to the young generation, so what is dropped has been unused for a whole generation:
    nearly LRU at the price of a plain dictionary.
    """

    __slots__ = ("capacity", "old", "young")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

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
        if len(self.young) >= self.capacity:
            self.rotate()
        self.young[key] = value

    def discard(self, key: K) -> None:
        """Remove an entry if it is there."""
        self.young.pop(key, None)
        self.old.pop(key, None)

    def rotate(self) -> None:
        """Start a new generation: entries unused since the last call are dropped."""
        self.old = self.young
        self.young = {}
