"""The body of a response in Redis, of which pieces come one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from portico.proxy.cache.codec import DamagedError, unsealed_piece
from portico.proxy.cache.redis_place import Place
from portico.proxy.cache.stored import PIECE, Body, BodyLostError, Stored

if TYPE_CHECKING:
    from portico.proxy.cache.redis_store import RedisStore

_READ_TIMEOUT: Final = 2.0
"""Seconds for a piece: the client has a part of the body already."""


class RedisBody(Body):
    """It is stored under a `name` of its own; what has come of it is in `pieces`, if that is all, or is the `first`."""

    __slots__ = ("first", "name", "place", "store", "variant")

    def __init__(
        self, store: RedisStore, place: Place, variant: bytes, name: bytes, pieces: Sequence[bytes], size: int
    ) -> None:
        super().__init__(pieces, size)
        self.store = store
        self.place = place
        self.variant = variant
        self.name = name
        self.first: bytes | None = None

    @property
    def is_here(self) -> bool:
        """Whether all of it has come."""
        return bool(self.pieces) or not self.size

    async def piece(self, index: int) -> bytes:
        if self.pieces:
            return self.pieces[index]
        if self.first is not None and not index:
            return self.first
        loop = asyncio.get_running_loop()
        came: asyncio.Future[bytes | None] = loop.create_future()
        self._read(index, _READ_TIMEOUT, lambda data: None if came.done() else came.set_result(data))
        data = await came
        if data is None:
            raise BodyLostError
        return data

    def begin(self, stored: Stored, timeout: float, done: Callable[[Stored | None], None]) -> None:
        """Have its first piece come within so many seconds: `done` gets `stored` with it, or None."""

        def came(data: bytes | None) -> None:
            if data is None:
                done(None)
            elif self.count == 1:
                self.pieces = (data,)
                done(stored)
            else:
                body = RedisBody(self.store, self.place, self.variant, self.name, (), self.size)
                body.first = data
                done(replace(stored, body=body))

        self._read(0, timeout, came)

    def _read(self, index: int, timeout: float, came: Callable[[bytes | None], None]) -> None:
        def receive(reply: bytes | Exception | None) -> None:
            came(self._opened(reply, index) if isinstance(reply, bytes) else None)

        self.store.run(self.place, b"read", (self.variant, self.name, b"%d" % index), receive, timeout)

    def _opened(self, data: bytes, index: int) -> bytes | None:
        try:
            piece = unsealed_piece(data, self.name, index)
        except DamagedError:
            return None
        return piece if len(piece) == min(PIECE, self.size - index * PIECE) else None
