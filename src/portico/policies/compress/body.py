"""A body that is compressed while it comes: small ones in the event loop, what is behind that in a thread."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Final

from portico.core.codings import Encoder
from portico.core.exchange import Stream
from portico.core.faults import FAULTS, contain
from portico.policies.compress.rules import DIGESTS

FLUSH_AFTER: Final = 0.01
"""Seconds for which what a service has sent may wait for more, so that it is compressed together."""
_HIGH: Final = 256 << 10
_LOW: Final = 64 << 10
"""Bytes that wait for the thread: from the first on the service is to pause, down to the second to go on."""
_THREADS: Final = 2
"""At once in a worker: more would take the processor from its loop."""


_NICENESS: Final = 10
"""What has to be done for large bodies is done when there is nothing to be done for others."""


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "compress", _stand_back)


def _stand_back() -> None:
    """Leave the processor to the loop where both want it: on Linux each thread has a niceness of its own."""
    if sys.platform == "linux":
        with suppress(OSError):  # where it is forbidden, the loop gets its share all the same
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)


class CodedBody:
    """The body of one response; `count` is called with the bytes that came and those that were sent of one that ended.

    `keep` gets all of its coded form.

    zlib, brotli and zstd work without the interpreter's lock: while a thread compresses, the loop serves others. It
    gets one `piece` at a time: where there is but one processor, the loop has it again after a fraction of a
    millisecond, not after the share of time that the kernel gives to threads.
    """

    # fmt: off
    __slots__ = (
        "_at_once", "_coded", "_count", "_encoder", "_flushes", "_is_busy", "_is_ended", "_is_over", "_is_paused",
        "_keep", "_kept", "_loop", "_piece", "_queue", "_queued", "_size", "_stream", "_timer", "_trailers",
        "_wants_flush",
    )
    # fmt: on

    def __init__(
        self,
        stream: Stream,
        encoder: Encoder,
        at_once: int,
        piece: int,
        count: Callable[[int, int], None],
        keep: Callable[[bytes], None] | None = None,
        *,
        flushes: bool,
    ) -> None:
        self._stream = stream
        self._encoder = encoder
        self._at_once = at_once
        self._piece = piece
        self._count = count
        self._keep = keep
        self._kept: list[bytes] = []
        self._flushes = flushes
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._size = self._coded = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        """Bytes that the thread has, or will get."""
        self._is_busy = self._is_paused = self._wants_flush = self._is_ended = self._is_over = False
        self._trailers: Sequence[bytes] = ()

    # ---- from the service

    def feed(self, data: bytes) -> None:
        """A further piece."""
        self._size += len(data)
        if self._size > self._at_once or self._is_busy:
            self._wants_flush = self._wants_flush or self._flushes
            self._queue += (data[at : at + self._piece] for at in range(0, len(data), self._piece))
            self._queued += len(data)
            if self._queued > _HIGH:  # also where it was paused: a client that has caught up had it go on
                self._is_paused = True
                self._loop.call_soon(self._pause)
            self._go_on()
            return
        coded = self._encoder.feed(data)
        if self._flushes:
            coded += self._encoder.flush()
        else:
            self._flush_later()
        self._send(coded)

    def end(self, trailers: Sequence[bytes]) -> None:
        """It is complete."""
        if self._is_ended:
            return
        self._is_ended = True
        self._trailers = [line for line in trailers if line.partition(b":")[0].lower() not in DIGESTS]
        if self._size > self._at_once or self._is_busy:
            self._go_on()
        else:
            self._send(self._encoder.end())
            self._finish()

    def drop(self) -> None:
        """No more of it is sent."""
        self._is_over = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def faulted(self) -> None:
        """A bug of ours: the client has to see that the body is not complete."""
        if not self._is_over:
            self.drop()
            self._stream.abort("internal_error")

    # ---- to the client

    def _send(self, coded: bytes) -> None:
        if coded:
            self._coded += len(coded)
            if self._keep is not None:
                self._kept.append(coded)
            self._stream.send_body(coded)

    def _finish(self) -> None:
        self.drop()
        self._count(self._size, self._coded)
        if self._keep is not None:
            self._keep(b"".join(self._kept))
        self._stream.end(self._trailers)

    def _flush_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_AFTER, self._flush)

    def _flush(self) -> None:
        self._timer = None
        try:
            if self._size > self._at_once or self._is_busy:
                self._wants_flush = True
                self._go_on()
            else:
                self._send(self._encoder.flush())
        except FAULTS:
            contain(self)

    # ---- by a thread

    def _go_on(self) -> None:
        """Have the thread do what there is to be done, unless it does something already."""
        if self._is_busy or not (self._queue or self._wants_flush or self._is_ended):
            return
        data = self._next()
        flushes, ends = self._wants_flush and not self._queue, self._is_ended and not self._queue
        self._wants_flush = self._wants_flush and not flushes
        self._is_busy = True
        _threads().submit(self._work, data, flushes, ends)

    def _next(self) -> bytes:
        """What is compressed next: as much of what there is as a piece may have."""
        taken, size = [], 0
        while self._queue and size + len(self._queue[0]) <= self._piece:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _work(self, data: bytes, flushes: bool, ends: bool) -> None:
        """In the thread: compress, and report to the loop."""
        try:
            coded = self._encoder.feed(data) if data else b""
            if ends:
                coded += self._encoder.end()
            elif flushes:
                coded += self._encoder.flush()
        except Exception as error:
            self._loop.call_soon_threadsafe(self._failed, error)
        else:
            self._loop.call_soon_threadsafe(self._worked, len(data), coded, flushes, ends)

    def _failed(self, error: Exception) -> None:
        try:
            raise error
        except FAULTS:
            contain(self)

    def _worked(self, size: int, coded: bytes, flushed: bool, ended: bool) -> None:
        if self._is_over:
            return
        try:
            self._is_busy = False
            self._queued -= size
            self._send(coded)
            if self._is_over:
                return
            if ended:
                self._finish()
                return
            if not flushed and not self._queue:
                self._flush_later()
            if self._is_paused and self._queued <= _LOW:
                self._is_paused = False
                if not self._stream.writing_paused:  # else it is to go on when the client has caught up
                    self._stream.receiver.resume_writing()
            self._go_on()
        except FAULTS:
            contain(self)

    def _pause(self) -> None:
        if self._is_paused and not self._is_over:
            try:
                self._stream.receiver.pause_writing()
            except FAULTS:
                contain(self)
