"""Work that many callers request at once, and that is done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two rounds: so many callers cost 20 rounds a second at most, and none of them waits for long."""


class Rounds(Generic[T]):
    """Does `work` in rounds: one at a time, with a pause between them, each for all callers that asked before it
    began.

    A caller that asks while a round is running gets the result of the next, which covers all that had happened when it
    asked. (The group commit of databases; the usual single flight would join the running round, which may be older.)
    Rounds take no more than the `share` of the time, as long as the pause that this needs is not too long.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], share: float) -> None:
        self._work = work
        self._pauses = 1 / share - 1
        """How long a pause is, as a multiple of the round before it."""
        self._turn = asyncio.Lock()
        self._earliest = 0.0
        self._next: asyncio.Task[T] | None = None
        """The round that has not begun yet."""

    async def result(self) -> T:
        """The result of a round that begins from now on; a cancelled caller does not cancel the others."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._round())
        return await asyncio.shield(self._next)

    async def _round(self) -> T:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._earliest - loop.time())
            self._next, began = None, loop.time()
            try:
                return await self._work()
            finally:
                end = loop.time()
                self._earliest = end + min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, (end - began) * self._pauses))
