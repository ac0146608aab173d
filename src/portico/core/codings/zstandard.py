"""zstd (RFC 8878), with windows of 8 MiB at most either way, as RFC 9659 wants it of content codings."""

from __future__ import annotations

import sys
from typing import Final, cast

from portico.core.codings.coding import JoinedDecoder, Unit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW_LOG: Final = 23
_SMALL: Final = 64 << 10
"""Bytes of a body for which a compressor is kept; one that was used for a large body keeps more memory."""
_kept: Final[dict[int, ZstdEncoder]] = {}
"""By level. Taken out while it is used, so that no two threads use one."""
_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}


class ZstdEncoder:
    """Applies zstd. Up to level 19 windows are no larger than they may be; those above are meant for files."""

    __slots__ = ("_compressor",)

    def __init__(self, level: int) -> None:
        self._compressor = zstd.ZstdCompressor(level)

    def feed(self, data: bytes) -> bytes:
        """See `Encoder`."""
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        """See `Encoder`."""
        return self._compressor.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        """See `Encoder`."""
        return self._compressor.flush()

    def whole(self, body: bytes) -> bytes:
        """See `Encoder`. The frame says how long the body is."""
        return self._compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)


def encode_zstd(body: bytes, level: int) -> bytes:
    """The same of a whole body. To make a compressor costs more than to code a small body: one is kept for these."""
    if len(body) > _SMALL:
        return ZstdEncoder(level).whole(body)
    compressor = _kept.pop(level, None) or ZstdEncoder(level)
    coded = compressor.whole(body)
    _kept[level] = compressor  # not if that failed
    return coded


def _decompress(unit: Unit, data: bytes | memoryview, most: int) -> bytes:
    return cast("zstd.ZstdDecompressor", unit).decompress(data, most)


def _frame() -> Unit:
    return zstd.ZstdDecompressor(options=_OPTIONS)


def zstd_decoder(max_size: int) -> JoinedDecoder:
    """What undoes zstd, of one or several frames."""
    return JoinedDecoder(max_size, _frame, _decompress, zstd.ZstdError)
