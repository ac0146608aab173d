"""The chunked coding as the two ends here read it: fast, trusting, and not the gateway's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LAST: Final = b"0\r\n\r\n"
_LINE: Final = 32


class Chunks:
    """Takes a chunked body as it comes; `done` is true after its last chunk. Trailers are not expected."""

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # of a chunk, with the CRLF behind it
        self._is_last = False
        self._line = b""

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """The content in `data`, piece by piece."""
        position, end = 0, len(data)
        while position < end and not self.done:
            if self._left > 2:
                piece = data[position : position + self._left - 2]
                position += len(piece)
                self._left -= len(piece)
                yield piece
            elif self._left:
                taken = min(self._left, end - position)
                position += taken
                self._left -= taken
                self.done = self._is_last and not self._left
            else:
                position += self._read_size(bytes(data[position : position + _LINE]))

    def _read_size(self, data: bytes) -> int:
        line, newline, _ = data.partition(b"\n")
        self._line += line
        if newline:
            size = int(self._line, 16)
            self._line = b""
            self._is_last = not size
            self._left = size + 2
        return len(line) + len(newline)
