"""br (RFC 7932)."""

from __future__ import annotations

from typing import Final

import brotli

from portico.core.codings.coding import Bounded, CodingError

_WINDOW: Final = 19
"""Bytes, as a power of two: 512 KiB. The default, 4 MiB, takes more memory for each stream."""


class BrotliEncoder:
    """Applies br."""

    __slots__ = ("_compressor",)

    def __init__(self, level: int) -> None:
        self._compressor = brotli.Compressor(quality=level, lgwin=_WINDOW)

    def feed(self, data: bytes) -> bytes:
        """See `Encoder`."""
        coded: bytes = self._compressor.process(data)
        return coded

    def flush(self) -> bytes:
        """See `Encoder`."""
        coded: bytes = self._compressor.flush()
        return coded

    def end(self) -> bytes:
        """See `Encoder`."""
        coded: bytes = self._compressor.finish()
        return coded

    def whole(self, body: bytes) -> bytes:
        """See `Encoder`."""
        return self.feed(body) + self.end()


class BrotliDecoder(Bounded):
    """Undoes br."""

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self._decompressor = brotli.Decompressor()
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        """See `Decoder`."""
        if not data:
            return b""
        self._fed = True
        try:
            return self._counted(self._decompressor.process(data, output_buffer_limit=self._most()))
        except brotli.error as error:
            raise CodingError(str(error)) from error

    def end(self) -> bytes:
        """See `Decoder`."""
        if self._fed and not self._decompressor.is_finished():
            raise CodingError("it ends too early")
        return b""
