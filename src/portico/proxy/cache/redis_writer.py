"""Stores one response in Redis while its body arrives; it is there for all once it is complete, and not before."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from os import urandom
from typing import TYPE_CHECKING, Final

from portico.proxy.cache.codec import is_compressible, packed, sealed, sealed_piece
from portico.proxy.cache.redis_place import Place, variant_name
from portico.proxy.cache.stored import PIECE, Body, Resource, Stored

if TYPE_CHECKING:
    from portico.proxy.cache.redis_store import RedisStore

MOST_PENDING: Final = 4 << 20
"""Bytes that wait for Redis to take them: beyond that, what arrives is not stored."""
_OVERHEAD: Final = 700
"""Bytes of a variant in Redis beside its text: its hash, and its places in four tables."""
_VALIDATED_FOR: Final = 3600.0
"""Seconds for which a response is kept that is stale, but can be validated."""
_LONGEST: Final = 31_536_000.0


class RedisWriter:
    """What it needs of Redis it does one after the other; nothing waits for it, and no call raises.

    A body of one piece goes there whole, with what describes it; of a larger one each piece when it is complete.
    """

    # fmt: off
    __slots__ = (
        "_chunks", "_held", "_is_over", "_is_running", "_name", "_pieces", "_place", "_queue", "_resource", "_size",
        "_store", "_stored",
    )
    # fmt: on

    def __init__(self, store: RedisStore, resource: Resource, stored: Stored) -> None:
        self._store = store
        self._resource = resource
        self._stored = stored
        self._place = Place.of(resource.key)
        self._name = urandom(8)
        """That of the body."""
        self._chunks: list[bytes] = []
        self._held = 0
        """Bytes in `_chunks`."""
        self._size = 0
        self._pieces = 0
        """How many were given to Redis, or wait in the queue."""
        self._queue: deque[tuple[bytes, list[bytes], int]] = deque()
        """What is to be done, its arguments, and the bytes in them."""
        self._is_running = False
        self._is_over = not store.is_taking

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, in the order in which they came."""
        if self._is_over:
            return
        self._size += len(data)
        if self._size > self._store.most_object:
            self.abort()
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held > PIECE:
            self._send_pieces()

    def commit(self) -> None:
        """The body is complete."""
        if self._is_over:
            return
        if self._pieces:
            self._send_piece(b"".join(self._chunks))
        if not self._is_over:
            self._put()

    def abort(self) -> None:
        """Forget it; may be called at any time. What was committed stays."""
        if self._is_over:
            return
        self._is_over = True
        self._chunks.clear()
        for _, _, size in self._queue:
            self._store.pending -= size
        self._queue.clear()
        if self._pieces:
            self._store.run(self._place, b"drop", (self._name,))

    def _send_pieces(self) -> None:
        data = memoryview(b"".join(self._chunks))
        start = 0
        while len(data) - start > PIECE and not self._is_over:
            self._send_piece(bytes(data[start : start + PIECE]))
            start += PIECE
        rest = bytes(data[start:])
        self._chunks, self._held = [rest], len(rest)

    def _send_piece(self, piece: bytes) -> None:
        index, self._pieces = self._pieces, self._pieces + 1
        data = self._sealed(piece, index)
        self._do(b"piece", [self._name, b"%d" % index, data, self._life(), self._store.most_of_shard], len(data))

    def _sealed(self, piece: bytes, index: int) -> bytes:
        return sealed_piece(piece, self._name, index, is_compressible(self._stored.head, self._size))

    def _put(self) -> None:
        """Join what is known of the other variants by now, and replace those that it takes the place of."""
        joined = Resource(self._resource.key, self._resource.url, self._resource.service, self._resource.variants)
        joined.put(replace(self._stored).with_body(Body((), self._size)))
        stored, kept = joined.variants[0], joined.variants
        replaced = {variant_name(each) for each in self._resource.variants if each not in kept}
        variant = variant_name(stored)
        inline = b"" if self._pieces else self._sealed(b"".join(self._chunks), 0)
        description = described(self._store, self._place, joined, stored, self._name)
        size = len(description) + len(inline) + _OVERHEAD
        arguments = [variant, self._name, description, inline, b"%d" % self._pieces, b"%d" % size, self._life()]
        self._chunks.clear()
        self._do(b"put", [*arguments, self._store.most_of_shard, *(replaced - {variant})], size)

    def _life(self) -> bytes:
        return life(self._stored)

    def _do(self, act: bytes, arguments: list[bytes], size: int) -> None:
        self._store.pending += size
        self._queue.append((act, arguments, size))
        if self._store.pending > MOST_PENDING:
            self.abort()
        elif not self._is_running:
            self._run_next()

    def _run_next(self) -> None:
        act, arguments, size = self._queue.popleft()
        self._is_running = True

        def receive(reply: int | Exception) -> None:
            self._is_running = False
            self._store.pending -= size
            self._store.taken(reply)
            if reply != 1:  # an error, or it was evicted before it was complete
                self.abort()
            elif act == b"put":
                self._is_over = True
            elif self._queue:
                self._run_next()

        self._store.run(self._place, act, arguments, receive)


def life(stored: Stored) -> bytes:
    """For how many milliseconds it is of use."""
    validated = _VALIDATED_FOR if stored.etag is not None or stored.last_modified is not None else 0.0
    stale = max(stored.stale_while_revalidate, stored.stale_if_error, validated)
    left = stored.since + stored.lifetime + stale - time.monotonic()
    return b"%d" % (1000 * max(1.0, min(left, _LONGEST)))


def described(store: RedisStore, place: Place, resource: Resource, stored: Stored, body: bytes) -> bytes:
    """A variant as it is in Redis; its age is counted from a moment of Redis's clock, which dates it, too."""
    born = stored.born - time.time() + time.monotonic() + store.ahead
    data = packed(stored, resource.url, resource.service, stored.since + store.ahead, born)
    return sealed(data, place.digest, body)
