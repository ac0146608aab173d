"""What waits for one client of a stream: little, however slowly it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

MOST_BYTES: Final = 64 << 10
"""Bytes that wait for one client; what comes beyond is left out, and counted."""
HEARTBEAT: Final = 10.0
"""Seconds after which a quiet stream says that it is there."""
_PAUSE: Final = 0.2
"""Seconds between two writes to one client, where there are few."""
_FEW: Final = 100
"""Clients; with more of them, pauses are longer, so that all together cost no more."""


class Watcher:
    """One client; what feeds it puts records in, and its stream takes them out."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0
        self._left_out = 0
        self._came = asyncio.Event()

    def put(self, records: Sequence[bytes], left_out: int = 0) -> None:
        """Records for the client, and how many did not get here."""
        self._left_out += left_out
        for index, record in enumerate(records):
            if self._size + len(record) > MOST_BYTES:
                self._left_out += len(records) - index
                break
            self._size += len(record)
            self._waiting.append(record)
        self._came.set()

    async def take(self) -> tuple[list[bytes], int]:
        """What waits and how many were left out before, once there is anything; nothing after a heartbeat's time."""
        try:
            async with asyncio.timeout(HEARTBEAT):
                await self._came.wait()
        except TimeoutError:
            return [], 0
        self._came.clear()
        taken = self._waiting, self._left_out
        self._waiting, self._size, self._left_out = [], 0, 0
        return taken


class Form:
    """How a stream writes records, and what it has beside them."""

    def __init__(self, before: bytes, after: bytes, left_out: bytes, heartbeat: bytes) -> None:
        self._before = before
        self._after = after
        self._left_out = left_out
        self.heartbeat = heartbeat

    def written(self, records: Sequence[bytes], left_out: int) -> bytes:
        """All of these as one piece."""
        note = self._left_out % left_out if left_out else b""
        if not records:
            return note or self.heartbeat
        between = self._after + self._before
        return b"".join((note, self._before, between.join(records), self._after))


EVENTS: Final = Form(b"data: ", b"\n\n", b'event: left_out\ndata: {"left_out": %d}\n\n', b": \n\n")
LINES: Final = Form(b"", b"\n", b'{"left_out": %d}\n', b"")


async def pieces(
    watcher: Watcher, form: Form, most: int | None, watching: Callable[[], int]
) -> AsyncGenerator[bytes, None]:
    """What a stream sends, until it has sent `most` records; `watching` says how many clients there are."""
    yield form.heartbeat
    while most is None or most > 0:
        records, left_out = await watcher.take()
        if most is not None:
            records = records[:most]
            most -= len(records)
        yield form.written(records, left_out)
        await asyncio.sleep(_PAUSE * max(1.0, watching() / _FEW))
