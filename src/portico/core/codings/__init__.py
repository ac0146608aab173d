"""Content codings (RFC 9110, section 8.4): gzip, deflate, br and zstd, of bodies that are there whole and of streams.

A coded body that came from outside is read with a bound on what it may become, and as far as its coding goes: several
members of gzip and several frames of zstd, joined, are one body; whatever else follows the end is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from portico.core.codings.brotli import BrotliDecoder, BrotliEncoder
from portico.core.codings.coding import CodingError, Decoder, Encoder, TooLargeError, UnknownCodingError
from portico.core.codings.deflate import DeflateDecoder, GzipEncoder, gzip_decoder
from portico.core.codings.zstandard import ZstdEncoder, encode_zstd, zstd_decoder

MOST_CODINGS: Final = 4
"""So many codings may be applied to one body; nobody applies more than two."""

_DECODERS: Final[Mapping[bytes, Callable[[int], Decoder]]] = {
    b"gzip": gzip_decoder,
    b"x-gzip": gzip_decoder,
    b"deflate": DeflateDecoder,
    b"br": BrotliDecoder,
    b"zstd": zstd_decoder,
}
_ENCODERS: Final[Mapping[bytes, Callable[[int], Encoder]]] = {
    b"gzip": GzipEncoder,
    b"br": BrotliEncoder,
    b"zstd": ZstdEncoder,
}
DECODED: Final = tuple(_DECODERS)
"""The codings that can be undone, in lower case."""
ENCODED: Final = tuple(_ENCODERS)
"""The codings that can be applied."""
LEVELS: Final[Mapping[bytes, tuple[int, int]]] = {b"gzip": (1, 9), b"br": (0, 11), b"zstd": (1, 19)}
"""The levels of each coding that can be applied, from the fastest to the one that makes the least of it."""


def codings_of(values: Iterable[bytes]) -> tuple[bytes, ...]:
    """The codings that the values of `Content-Encoding` fields name, in the order in which they were applied."""
    names = (name.strip().lower() for value in values for name in value.split(b","))
    return tuple(name for name in names if name not in (b"", b"identity"))


def decoder(coding: bytes, max_size: int) -> Decoder:
    """What undoes a coding piece by piece, and makes `max_size` bytes of it at most. Raises UnknownCodingError."""
    make = _DECODERS.get(coding)
    if make is None:
        raise UnknownCodingError(coding)
    return make(max_size)


def encoder(coding: bytes, level: int) -> Encoder:
    """What applies a coding piece by piece, at one of its `LEVELS`. Raises UnknownCodingError."""
    make = _ENCODERS.get(coding)
    if make is None:
        raise UnknownCodingError(coding)
    return make(level)


def decode(body: bytes, codings: Sequence[bytes], max_size: int) -> bytes:
    """A whole body without the codings that were applied to it in this order.

    Raises UnknownCodingError where one of them is none of `DECODED` or they are more than `MOST_CODINGS`, CodingError
    where the body is not what they say, TooLargeError where it would have more than `max_size` bytes.
    """
    if len(codings) > MOST_CODINGS:
        raise UnknownCodingError(b", ".join(codings))
    decoders = [decoder(coding, max_size) for coding in reversed(codings)]
    for each in decoders:
        body = each.feed(body)
        each.end()
    return body


def encode(body: bytes, coding: bytes, level: int) -> bytes:
    """A whole body with a coding applied, at one of its `LEVELS`. Raises UnknownCodingError."""
    if coding == b"zstd":
        return encode_zstd(body, level)
    return encoder(coding, level).whole(body)


# fmt: off
__all__ = [
    "DECODED", "ENCODED", "LEVELS", "MOST_CODINGS", "CodingError", "Decoder", "Encoder", "TooLargeError",
    "UnknownCodingError", "codings_of", "decode", "decoder", "encode", "encoder",
]
# fmt: on
