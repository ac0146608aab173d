"""Numbers by key, within so many bytes: what is nothing any more is forgotten first, then what is least.

Whoever floods a limit with new keys pushes out keys that have taken little, others of the flood before all, and never
the one of a client that has taken everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from heapq import heappop, heappush
from sys import getsizeof
from typing import Any, Final, Generic, Self, TypeVar

from portico.core.slices import Steps

K = TypeVar("K")

CAPACITY: Final = 100_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all keys: 60,000 addresses."""
ALL_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all of a process together, beyond which none may have more than its part."""
_ENTRY: Final = 200
"""Bytes that a key takes beside itself: a slot of the dictionary, its number, and its pair in the heap."""
_LOOKS: Final = 8
"""Entries that are looked at for each new one: more may go than come, and none costs more than that."""
_STEP: Final = 64
"""Entries that are looked at in one step."""
_FEW: Final = 1000
"""As many are copied in 20 µs."""


class Shared:
    """The bytes that many share."""

    def __init__(self, max_bytes: int = ALL_BYTES) -> None:
        self.max_bytes = max_bytes
        self.size = self.holders = 0

    def is_over(self, size: int) -> bool:
        """Whether all of them have too much, and one that has so many bytes more than its part of it."""
        return self.size > self.max_bytes and size * self.holders > self.max_bytes


_all: Final = Shared()


class Ranked(Generic[K]):
    """The keys with the largest numbers: `capacity` at most, which take `max_bytes` bytes at most, and all of them what
    is `shared`: many that are flooded at once push out of each other what is beyond their parts, and no more.

    A heap has every key once, with the number that it had when its place was last found. What a key counts only grows,
    as a rule, so the smallest of the heap is no larger than the smallest number; one that has grown is put back when
    its turn comes.
    """

    __slots__ = ("__weakref__", "_heap", "_shared", "_size", "capacity", "max_bytes", "numbers")

    def __init__(self, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES, shared: Shared = _all) -> None:
        self.capacity = capacity
        self.max_bytes = max_bytes
        self._shared = shared
        shared.holders += 1
        self.numbers: dict[K, float] = {}
        """What is known; a number that is there may be replaced."""
        self._heap: list[tuple[float, K]] = []
        self._size = 0

    def __del__(self) -> None:
        self._shared.holders -= 1
        self._shared.size -= self._size

    def __len__(self) -> int:
        return len(self.numbers)

    def get(self, key: K) -> float:
        """The number of a key; 0 where there is none."""
        return self.numbers.get(key, 0.0)

    def put(self, key: K, number: float, floor: float = 0.0) -> None:
        """Set the number of a key. For a new one, others go where there is no room, and some that are up to `floor`."""
        if key not in self.numbers:
            self.numbers[key] = number
            heappush(self._heap, (number, key))
            self._resize(getsizeof(key) + _ENTRY)
            self._make_room(floor, _LOOKS)
        else:
            self.numbers[key] = number

    def items(self) -> Iterator[tuple[K, float]]:
        """All keys with their numbers, as they are now."""
        return iter([*self.numbers.items()])

    def forget(self, key: K) -> None:
        """Count a key as one that has nothing; its place is free when its turn comes."""
        if self.numbers.get(key):
            self.numbers[key] = 0.0

    def forgetting(self, floor: float) -> Steps[None]:
        """Drop all keys whose numbers are no larger than that."""
        while self._heap and self._heap[0][0] <= floor:
            self._make_room(floor, _STEP)
            yield
        if len(self.numbers) < _FEW:
            self.numbers = dict(self.numbers)  # one that had many keys keeps room for as many

    def peek(self) -> Self:
        """The same numbers, for whoever asks what would become of them: whatever does, these stay."""
        peeked = copy(self)
        peeked.numbers, peeked._heap, peeked._size = _Over(self.numbers), [], 0
        peeked._shared = Shared()
        peeked._shared.holders = 1
        return peeked

    def _make_room(self, floor: float, looks: int) -> None:
        heap, numbers = self._heap, self.numbers
        grown: list[tuple[float, K]] = []
        for _ in range(min(looks, len(heap))):
            known, key = heap[0]
            is_over = self._is_over()
            if known > floor and not is_over:
                break
            number = numbers.get(key, 0.0)
            heappop(heap)
            if number <= floor or (is_over and number == known):
                self._drop(key)
            else:
                grown.append((number, key))
        if grown and self._is_over():
            least = min(grown)
            grown.remove(least)
            self._drop(least[1])
        for entry in grown:
            heappush(heap, entry)

    def _drop(self, key: K) -> None:
        self.numbers.pop(key, None)
        self._resize(-getsizeof(key) - _ENTRY)

    def _resize(self, size: int) -> None:
        self._size += size
        self._shared.size += size

    def _is_over(self) -> bool:
        return len(self.numbers) > self.capacity or self._size > self.max_bytes or self._shared.is_over(self._size)


class _Over(dict[Any, Any]):
    """Numbers laid over those of others."""

    def __init__(self, below: dict[Any, Any]) -> None:
        super().__init__()
        self._below = below

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key, self._below.get(key, default))
