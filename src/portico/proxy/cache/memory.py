"""The memory store of one worker: bounded by bytes, everything counted.

It evicts by S3-FIFO (Yang et al., SOSP 2023): what is new passes a small queue, and what was found there goes on to the
main one, in which it stays for as long as it is found again each time its turn comes. What comes back soon after it was
evicted goes to the main queue at once. A hit moves nothing.

Most of what a cache holds is not asked for just now: a key's only variant is kept packed (`codec.py`), three objects in
place of thirty that the garbage collector would traverse, and is unpacked when it is found.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from portico.core.slices import Steps
from portico.proxy.cache.codec import packed, unpacked
from portico.proxy.cache.keys import url_in
from portico.proxy.cache.stored import Body, Resource, Stored

_MOST_SHARE: Final = 8
"""One variant takes at most this part of the store: a large one must not push out everything else."""
_SMALL_SHARE: Final = 10
"""The small queue is this part of the store."""
_MOST_TURNS: Final = 3
"""Turns for which a variant stays in the main queue without being found again, however often it was found before."""
_BYTES_PER_GHOST: Final = 1024
"""Bytes of the store for each key that was evicted and may be remembered."""
_OWN: Final = Struct("<Bddq")
"""What is a packed variant's own, however much it has in common with others: `hits`, `since`, `born`, `checked`."""
_PLACE: Final = 200
"""Bytes of a key and its place in a queue and in a table, beside its text: the table is a third full at times."""
_PACKED: Final = 100
"""Bytes of what is packed, beside its text, its body and its key."""
_PIECE: Final = 50
"""Bytes of a piece of a body, beside what it holds."""
_MOST_TURNS_AT_ONCE: Final = 1000
"""Turns in one call, two milliseconds: a large body may have to push out very many small ones."""
_SKIPPED: Final = 64
"""Entries that take less than a tenth of a millisecond if they are only looked at."""

Bytes: TypeAlias = bytes
"""In `MemoryStore`, `bytes` is a number."""
_Packed: TypeAlias = tuple[bytes, ...]
"""What is a variant's own (`_OWN`), the variant as `packed` makes it, and the pieces of its body."""
_Entry: TypeAlias = "_Packed | Resource | None"
"""None: it was removed before its turn came."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What responses with the same head have in common, as it is packed once for all of them: all but their content,
    their times, and their URL, which the key has.
    """

    data: bytes
    weight: int
    """Bytes that each of them takes, all in, but for its key; `data` counts for each."""

    @classmethod
    def of(cls, stored: Stored, service: str) -> Pattern:
        """That of responses like this one, whose length is known; their content is one piece."""
        data, size = packed(stored, b"", service, 0.0, 0.0), stored.body.size
        return cls(data, _weight(b"", (_OWN.pack(0, 0.0, 0.0, 0), data)) + _PIECE + size)


class _Queue:
    """Entries in the order in which their turns come; each key is in `order` once, as long as it is in `entries`."""

    __slots__ = ("bytes", "entries", "order")

    def __init__(self) -> None:
        self.bytes = 0
        self.entries: dict[bytes, _Entry] = {}
        self.order: deque[bytes] = deque()

    def set(self, key: bytes, entry: _Entry) -> None:
        """Replace an entry, which keeps its turn."""
        self.bytes += _weight(key, entry) - _weight(key, self.entries[key])
        self.entries[key] = entry

    def append(self, key: bytes, entry: _Entry) -> None:
        self.bytes += _weight(key, entry)
        self.entries[key] = entry
        self.order.append(key)

    def pop(self) -> tuple[bytes, _Entry]:
        """Take out the one whose turn it is."""
        key = self.order.popleft()
        entry = self.entries.pop(key)
        self.bytes -= _weight(key, entry)
        return key, entry


class MemoryStore:
    """Keeps variants by the primary key of their resource, `most_bytes` bytes of them at most, everything counted.

    `Resource.find` counts the `hits` of a variant: nothing else happens at a hit. Variants are evicted one by one.
    """

    def __init__(self, most_bytes: int) -> None:
        self._bound(most_bytes)
        self.entries = 0
        """Variants that are stored."""
        self.evictions = 0
        """Variants that made room for others, since the start."""
        self._small, self._main = _Queue(), _Queue()
        self.tables = self._main.entries, self._small.entries
        """The two in which a key may be, the first one first; what is there need not be a resource: see `get`."""
        self._ghosts = _Ghosts(most_bytes // _BYTES_PER_GHOST + 1)
        self._held: Resource | None = None
        """The one that is asked for just now: it stays what it is, whatever makes room for it."""

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return self._small.bytes + self._main.bytes

    def bounding(self, most_bytes: int) -> Steps[None]:
        """Keep to another number of bytes from now on; in slices."""
        self._bound(most_bytes)
        while self.bytes > most_bytes == self.most_bytes:
            self._make_room()
            yield

    def _bound(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.most_object = most_bytes // _MOST_SHARE
        """Bytes of the largest variant that is taken, all in."""

    def get(self, key: Bytes) -> Resource | None:
        """The resource with all its variants that are stored."""
        entry = self._main.entries.get(key) or self._small.entries.get(key)
        return self._unpack(key, entry) if type(entry) is tuple else entry  # type: ignore[return-value]

    def put(self, resource: Resource, stored: Stored) -> bool:
        """Store a variant of a resource, in the place of those that it replaces; False where it is too large.

        `resource` is what `get` gave, or a new one. What a 304 made of a variant is put in the same way.
        """
        if stored.size > self.most_object:
            return False
        key = resource.key
        queue = self._queue_of(key)
        entry = queue.entries.get(key)
        if type(entry) is tuple:
            entry = self._unpack(key, entry)
            queue = self._queue_of(key)  # its turn may have come
        if isinstance(entry, Resource):
            self._add(queue, entry, stored)
        else:
            self.entries += 1
            new = _packed(stored, resource)
            if key in queue.entries:
                queue.set(key, new)
            else:
                (self._main if self._ghosts.recall(key, len(self._main.order)) else self._small).append(key, new)
        self._make_room()
        return True

    def add(self, key: Bytes, pattern: Pattern, content: Bytes, since: float, born: float, checked: int) -> None:
        """Store a response that has a pattern and varies on nothing, with as little work as there can be."""
        small, main = self._small, self._main
        entry = (_OWN.pack(0, since, born, checked), pattern.data, content)
        weight = pattern.weight
        if key in small.entries or key in main.entries or weight > self.most_object:
            resource = _resource(key, entry)
            self.put(resource, resource.variants[0])
            return
        self.entries += 1
        queue = main if self.evictions and self._ghosts.recall(key, len(main.order)) else small
        queue.bytes += weight + len(key)
        queue.entries[key] = entry
        queue.order.append(key)
        if small.bytes + main.bytes > self.most_bytes:
            self._make_room()

    def drop(self, resource: Resource, stored: Stored) -> None:
        """Remove one variant if it is still there."""
        own = self.get(resource.key)
        for each in () if own is None else own.variants:
            if each is stored or (each.born, each.since, each.vary) == (stored.born, stored.since, stored.vary):
                self._remove(self._queue_of(resource.key), own, each)  # type: ignore[arg-type]
                return

    def discard(self, key: Bytes) -> None:
        """Remove a resource with all its variants, if it is there."""
        queue = self._queue_of(key)
        entry = queue.entries.get(key)
        if entry is not None:
            self.entries -= _variants(entry)
            queue.set(key, None)

    def peek(self) -> PeekedMemory:
        """The same, for whoever asks what is stored: nothing is used, added or dropped there."""
        return PeekedMemory(self)

    def sweep(self, is_gone: Callable[[Resource, Stored], bool], hint: Bytes = b"") -> Steps[int]:
        """Remove all variants for which `is_gone` says so: how many; in slices. It may put others in their places.

        `hint` is in the key, URL, service or tags of every one of them: of what does not have it, only few are looked
        at, which is much faster.
        """
        count = 0
        for queue in (self._small, self._main):
            for number, key in enumerate(list(queue.entries)):
                entry = queue.entries.get(key)
                if isinstance(entry, Resource):
                    count += self._sweep_resource(queue, entry, is_gone)
                    yield
                elif entry is not None and (hint in entry[1] or hint in key):
                    count += self._sweep_packed(queue, key, entry, is_gone)
                    yield
                elif not number % _SKIPPED:
                    yield
        return count

    def _sweep_resource(self, queue: _Queue, own: Resource, is_gone: Callable[[Resource, Stored], bool]) -> int:
        gone = [stored for stored in list(own.variants) if is_gone(own, stored)]
        for stored in gone:
            if queue.entries.get(own.key) is own:
                self._remove(queue, own, stored)
        return len(gone)

    def _sweep_packed(
        self, queue: _Queue, key: Bytes, entry: _Packed, is_gone: Callable[[Resource, Stored], bool]
    ) -> int:
        resource = _resource(key, entry)
        (stored,) = resource.variants
        checked = stored.checked
        gone = is_gone(resource, stored)
        if queue.entries.get(key) is entry:
            if gone:
                self.discard(key)
            elif stored.checked != checked:
                queue.set(key, _packed(stored, resource))
        return int(gone)

    def _queue_of(self, key: Bytes) -> _Queue:
        return self._main if key in self._main.entries else self._small

    def _unpack(self, key: Bytes, entry: _Packed) -> Resource:
        resource = _resource(key, entry)
        self._queue_of(key).set(key, resource)
        (stored,) = resource.variants
        hits, stored.hits = stored.hits, _MOST_TURNS  # the one that is asked for stays
        self._held = resource
        self._make_room()
        self._held = None
        stored.hits = hits
        return resource

    def _change(self, queue: _Queue, own: Resource, change: Callable[[], None]) -> None:
        size, count = own.size, len(own.variants)
        change()
        queue.bytes += own.size - size
        self.entries += len(own.variants) - count

    def _add(self, queue: _Queue, own: Resource, stored: Stored) -> None:
        before = own.variants.copy()
        self._change(queue, own, lambda: own.put(stored))
        replaced = [each.hits for each in before if each not in own.variants]
        if replaced:
            own.variants[0].hits = max(replaced)  # it is asked for as often as the one before it

    def _remove(self, queue: _Queue, own: Resource, stored: Stored) -> None:
        self._change(queue, own, lambda: own.replace(stored, None))
        if not own.variants:
            queue.set(own.key, None)

    # ---- eviction

    def _make_room(self) -> None:
        """Keep within the bytes; where that takes very many turns, the next calls take what is left of them."""
        small, main = self._small, self._main
        if small.bytes + main.bytes <= self.most_bytes:
            return
        now = time.monotonic()
        for _ in range(min(_MOST_TURNS_AT_ONCE, (_MOST_TURNS + 1) * (len(small.order) + len(main.order)))):
            is_small = small.order and (small.bytes * _SMALL_SHARE > self.most_bytes or not main.order)
            self._take_turn(small if is_small else main, now)
            if small.bytes + main.bytes <= self.most_bytes:
                return

    def _take_turn(self, queue: _Queue, now: float) -> None:
        """Evict what was not found since the last turn, as far as room is needed; what was found stays, or goes on."""
        key, entry = queue.pop()
        if isinstance(entry, Resource):
            is_found = any(stored.hits for stored in entry.variants)
            if entry is not self._held:
                self._evict(entry, self.most_bytes - self.bytes, now)
            if entry.variants:
                (self._main if is_found else queue).append(key, self._settled(entry, queue))
                return
        elif entry is not None:
            hits = entry[0][0]
            if hits:
                self._main.append(key, (b"%c%b" % (hits - 1, entry[0][1:]), *entry[1:]))
                return
            self._evicted()
        if entry is not None and queue is self._small:
            self._ghosts.add(key)

    def _evict(self, own: Resource, most: int, now: float) -> None:
        """Evict variants that are dead, and of those that were not found the oldest, until `most` bytes are left."""
        for stored in own.variants[::-1]:
            if _is_dead(stored, now) or (not stored.hits and own.size + _PLACE > most):
                own.replace(stored, None)
                self._evicted()

    def _evicted(self) -> None:
        self.entries -= 1
        self.evictions += 1

    def _settled(self, own: Resource, queue: _Queue) -> _Entry:
        """A resource after its turn in this queue: a single variant is packed until it is found again."""
        for stored in own.variants:
            stored.hits = 0 if queue is self._small else max(0, min(stored.hits, _MOST_TURNS) - 1)
        return _packed(own.variants[0], own) if len(own.variants) == 1 and own is not self._held else own


class _Ghosts:
    """Remembers which keys were evicted lately, in eight bytes each: part of a hash, and when it was."""

    __slots__ = ("_count", "_most", "_places")

    def __init__(self, places: int) -> None:
        self._most = places
        self._places = array("Q")
        """Made for the first one: there may be none for ever, and two megabytes are much for a small worker."""
        self._count = 0

    def add(self, key: bytes) -> None:
        self._count += 1
        number = hash(key)
        if not self._places:
            self._places = array("Q", (0,)) * self._most
        self._places[number % len(self._places)] = (number >> 32 & 0xFFFFFFFF) << 32 | self._count & 0xFFFFFFFF

    def recall(self, key: bytes, most: int) -> bool:
        """Whether a key is among the `most` that were evicted last."""
        if not self._places:
            return False
        number = hash(key)
        found = self._places[number % len(self._places)]
        return found >> 32 == number >> 32 & 0xFFFFFFFF and (self._count - found) & 0xFFFFFFFF < most


def _weight(key: bytes, entry: _Entry) -> int:
    """Bytes that an entry takes, all in."""
    if type(entry) is tuple:
        return _PLACE + _PACKED + len(key) + sum(map(len, entry)) + _PIECE * len(entry)
    return _PLACE + (len(key) if entry is None else entry.size)  # type: ignore[union-attr]


def _variants(entry: _Entry) -> int:
    return len(entry.variants) if isinstance(entry, Resource) else int(entry is not None)


def _packed(stored: Stored, own: Resource) -> _Packed:
    data = packed(stored, own.url, own.service, stored.since, stored.born)
    own_part = _OWN.pack(min(stored.hits, _MOST_TURNS), stored.since, stored.born, stored.checked)
    return own_part, data, *stored.body.pieces


def _resource(key: bytes, entry: _Packed) -> Resource:
    stored, url, service = unpacked(entry[1])
    stored.body = Body(entry[2:], stored.body.size)
    stored.hits, stored.since, stored.born, stored.checked = _OWN.unpack(entry[0])
    return Resource(key, url or url_in(key), service, [stored])


def _is_dead(stored: Stored, now: float) -> bool:
    """Whether nothing can be done with it any more: it is too old, and has nothing to be validated by."""
    stale = max(stored.stale_while_revalidate, stored.stale_if_error)
    return stored.etag is None and stored.last_modified is None and now - stored.since > stored.lifetime + stale


class PeekedMemory(MemoryStore):
    """What another one has, in copies, which change as it would; it notes the keys that are `wanted`."""

    def __init__(self, of: MemoryStore) -> None:
        self._bound(of.most_bytes)
        self.entries = self.evictions = 0
        self._small, self._main = _Queue(), _Queue()
        self.tables = self._main.entries, self._small.entries
        self._of = of
        self.wanted: list[bytes] = []
        self._copies: dict[Bytes, Resource | None] = {}

    def get(self, key: Bytes) -> Resource | None:
        self.wanted.append(key)
        if key not in self._copies:
            self._copies[key] = self._copy(key)
        return self._copies[key]

    def _copy(self, key: Bytes) -> Resource | None:
        found = next((entry for table in self._of.tables if (entry := table.get(key)) is not None), None)
        if found is None or type(found) is tuple:
            return None if found is None else _resource(key, found)
        assert isinstance(found, Resource)
        return Resource(key, found.url, found.service, map(copy, found.variants))

    def put(self, resource: Resource, stored: Stored) -> bool:
        """Only in the copy: who purges looks there again."""
        resource.put(stored)
        return True

    def add(self, *_: object) -> None:
        """Nothing is."""

    def drop(self, resource: Resource, stored: Stored) -> None:
        """Only from the copy."""
        resource.replace(stored, None)
        if not resource.variants:
            self._copies[resource.key] = None
