"""Content that shows where in a stream it belongs, and a check of it that costs little beside moving it."""

from __future__ import annotations

import os
import random
from typing import Final

PERIOD: Final = (1 << 20) + 7
"""Bytes until the content repeats: no buffer's size divides it, so what is lost, doubled or moved does not fit."""

_TWICE: Final = memoryview(random.Random(1).randbytes(PERIOD) * 2)
_SAMPLE: Final = 64
_WHOLE_EVERY: Final = 32


def piece(position: int, size: int) -> memoryview:
    """The `size` bytes (`PERIOD` at most) that belong at `position`."""
    offset = position % PERIOD
    return _TWICE[offset : offset + size]


def content(size: int) -> bytes:
    """The first `size` bytes."""
    return (bytes(_TWICE[:PERIOD]) * (size // PERIOD + 1))[:size]


def as_file() -> int:
    """A descriptor of one period in memory, for sendfile."""
    descriptor = os.memfd_create("pattern")
    os.write(descriptor, _TWICE[:PERIOD])
    return descriptor


class Checker:
    """Counts a stream as it comes; `wrong` counts the pieces that do not belong where they are.

    Both ends of every piece are compared, and the whole of every 32nd.
    """

    def __init__(self) -> None:
        self.total = 0
        self.wrong = 0
        self._pieces = 0

    def take(self, data: memoryview) -> None:
        """The next piece."""
        self._pieces += 1
        if self._pieces % _WHOLE_EVERY == 0:
            fits = bytes(data) == bytes(piece(self.total, len(data)))
        else:
            end = max(0, len(data) - _SAMPLE)
            fits = (
                data[:_SAMPLE] == piece(self.total, min(_SAMPLE, len(data)))
                and data[end:] == piece(self.total + end, len(data) - end)
            )  # fmt: skip
        self.wrong += not fits
        self.total += len(data)
