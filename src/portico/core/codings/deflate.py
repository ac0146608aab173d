"""gzip (RFC 1952) and deflate: the zlib format (RFC 1950), and bare, as some send it all the same."""

from __future__ import annotations

import zlib
from typing import Final, cast

from portico.core.codings.coding import Bounded, CodingError, JoinedDecoder, Unit

_GZIP: Final = 16 + zlib.MAX_WBITS
_BARE: Final = -zlib.MAX_WBITS
_MEMORY: Final = 8
"""zlib's own default, as nginx and others have it."""


class GzipEncoder:
    """Applies gzip."""

    __slots__ = ("_compressor",)

    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP, _MEMORY)

    def feed(self, data: bytes) -> bytes:
        """See `Encoder`."""
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        """See `Encoder`."""
        return self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """See `Encoder`."""
        return self._compressor.flush()

    def whole(self, body: bytes) -> bytes:
        """See `Encoder`."""
        return self._compressor.compress(body) + self._compressor.flush()


class _Inflater(Unit):
    """What `zlib.decompressobj` makes; it has no name that can be imported."""

    unconsumed_tail: bytes

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """What a piece becomes; what is beyond `max_length` stays in `unconsumed_tail`."""
        raise NotImplementedError


def _inflate(unit: Unit, data: bytes | memoryview, most: int) -> bytes:
    return cast("_Inflater", unit).decompress(data, most)


def _member() -> Unit:
    return zlib.decompressobj(_GZIP)


def gzip_decoder(max_size: int) -> JoinedDecoder:
    """What undoes gzip, of one or several members."""
    return JoinedDecoder(max_size, _member, _inflate, zlib.error)


class DeflateDecoder(Bounded):
    """Undoes deflate, in the zlib format or bare; the first two bytes tell which."""

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size)
        self._begin = b""
        self._unit: _Inflater | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Decoder`."""
        if self._unit is None:
            self._begin = data = self._begin + data
            if len(data) < 2:
                return b""
            self._unit = cast("_Inflater", zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(data) else _BARE))
        try:
            decoded = self._counted(self._unit.decompress(data, self._most()))
        except zlib.error as error:
            raise CodingError(str(error)) from error
        if self._unit.unused_data:
            raise CodingError("something follows its end")
        return decoded

    def end(self) -> bytes:
        """See `Decoder`."""
        if self._begin and (self._unit is None or not self._unit.eof):
            raise CodingError("it ends too early")
        return b""


def _is_zlib(begin: bytes) -> bool:
    """Whether this is the header of the zlib format (RFC 1950, section 2.2)."""
    return begin[0] & 0x0F == zlib.DEFLATED and int.from_bytes(begin[:2], "big") % 31 == 0
