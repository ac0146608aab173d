"""Content codings: what they make can be read by others, what others make is read, and what is wrong is an error."""

from __future__ import annotations

import gzip
import random
import sys
import zlib
from collections.abc import Callable, Sequence

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core import codings
from portico.core.codings import CodingError, TooLargeError, UnknownCodingError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"a line of text, and another one\n" * 500
NOISE = random.Random(1).randbytes(300_000)
MANY = 1 << 30

ENCODED = {
    b"gzip": gzip.compress(TEXT),
    b"x-gzip": gzip.compress(TEXT),
    b"deflate": zlib.compress(TEXT),
    b"br": brotli.compress(TEXT),
    b"zstd": zstd.compress(TEXT),
}


def bare(body: bytes) -> bytes:
    """Deflate without the zlib format around it."""
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(body) + deflate.flush()


def pieces(body: bytes, size: int) -> Sequence[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def decoded_piecewise(coded: bytes, coding: bytes, size: int, most: int = MANY) -> bytes:
    decoder = codings.decoder(coding, most)
    found = b"".join(decoder.feed(piece) for piece in pieces(coded, size))
    return found + decoder.end()


@pytest.mark.parametrize("coding", codings.DECODED)
def test_what_others_encode_is_decoded(coding: bytes) -> None:
    assert codings.decode(ENCODED[coding], [coding], len(TEXT)) == TEXT
    for size in (1, 7, 4096):
        assert decoded_piecewise(ENCODED[coding], coding, size, len(TEXT)) == TEXT


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_bare_deflate_is_decoded_too(size: int) -> None:
    assert decoded_piecewise(bare(TEXT), b"deflate", size) == TEXT


@pytest.mark.parametrize("coding", codings.ENCODED)
@pytest.mark.parametrize("body", [b"", b"x", TEXT, NOISE], ids=["empty", "byte", "text", "noise"])
def test_what_is_encoded_can_be_decoded(coding: bytes, body: bytes) -> None:
    for level in codings.LEVELS[coding]:
        assert codings.decode(codings.encode(body, coding, level), [coding], len(body)) == body


@pytest.mark.parametrize("coding", codings.ENCODED)
def test_others_decode_what_is_encoded(coding: bytes) -> None:
    readers: dict[bytes, Callable[[bytes], bytes]]
    readers = {b"gzip": gzip.decompress, b"br": brotli.decompress, b"zstd": zstd.decompress}
    read = readers[coding]
    assert read(codings.encode(TEXT, coding, 3)) == TEXT


@pytest.mark.parametrize("coding", codings.ENCODED)
@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_after_a_flush_all_that_was_fed_can_be_decoded(coding: bytes, body: list[bytes]) -> None:
    encoder, decoder = codings.encoder(coding, 4), codings.decoder(coding, MANY)
    for piece in body:
        assert decoder.feed(encoder.feed(piece) + encoder.flush()) == piece
    assert decoder.feed(encoder.end()) + decoder.end() == b""


@pytest.mark.parametrize("coding", codings.ENCODED)
def test_what_is_not_flushed_comes_with_the_end(coding: bytes) -> None:
    encoder = codings.encoder(coding, 4)
    coded = b"".join(map(encoder.feed, pieces(NOISE, 1000))) + encoder.end()
    assert codings.decode(coded, [coding], len(NOISE)) == NOISE


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_joined_members_are_one_body(coding: bytes) -> None:
    coded = ENCODED[coding] + codings.encode(b"", coding, 1) * 90 + ENCODED[coding]
    assert codings.decode(coded, [coding], 2 * len(TEXT)) == 2 * TEXT
    for size in (1, 1000):
        assert decoded_piecewise(coded, coding, size) == 2 * TEXT
    with pytest.raises(TooLargeError):
        codings.decode(coded, [coding], 2 * len(TEXT) - 1)


SKIPPED = b"\x50\x2a\x4d\x18\0\0\0\0"
"""A frame of zstd that has nothing in it (RFC 8878, section 3.1.2)."""


@pytest.mark.parametrize(
    ("coding", "unit"),
    [(b"gzip", codings.encode(b"", b"gzip", 1)), (b"zstd", codings.encode(b"", b"zstd", 1)), (b"zstd", SKIPPED)],
)
@pytest.mark.parametrize("size", [1, 1000, 1 << 16])
def test_a_body_of_thousands_of_empty_members_is_an_error(coding: bytes, unit: bytes, size: int) -> None:
    with pytest.raises(CodingError, match="too many parts"):
        decoded_piecewise(unit * 3000, coding, size)
    large = codings.encode(NOISE[:1000], coding, 1)
    assert len(decoded_piecewise(large * 300, coding, 1 << 16)) == 300_000


@pytest.mark.parametrize("coding", codings.DECODED)
def test_what_follows_the_end_is_an_error(coding: bytes) -> None:
    for rest in (b"x", b"\0" * 100):
        for size in (1, 100_000):
            with pytest.raises(CodingError):
                decoded_piecewise(ENCODED[coding] + rest, coding, size)


@pytest.mark.parametrize("coding", codings.DECODED)
def test_what_ends_too_early_is_an_error(coding: bytes) -> None:
    for length in (1, 2, 10, len(ENCODED[coding]) - 1):
        with pytest.raises(CodingError):
            codings.decode(ENCODED[coding][:length], [coding], MANY)


@pytest.mark.parametrize("coding", codings.DECODED)
def test_damage_is_an_error(coding: bytes) -> None:
    with pytest.raises(CodingError):
        codings.decode(b"\xff\xfe not coded at all", [coding], MANY)


@pytest.mark.parametrize("coding", codings.DECODED)
def test_an_empty_body_is_none_with_any_coding(coding: bytes) -> None:
    assert codings.decode(b"", [coding], 0) == b""


@pytest.mark.parametrize("coding", codings.DECODED)
def test_a_body_may_be_as_large_as_allowed_and_no_larger(coding: bytes) -> None:
    for size in (1, 1000, 100_000):
        assert decoded_piecewise(ENCODED[coding], coding, size, len(TEXT)) == TEXT
        with pytest.raises(TooLargeError):
            decoded_piecewise(ENCODED[coding], coding, size, len(TEXT) - 1)


def test_the_bound_may_be_raised_on_the_way() -> None:
    decoder = codings.decoder(b"gzip", 0)
    decoder.max_size = len(TEXT)
    assert decoder.feed(ENCODED[b"gzip"]) == TEXT


def test_codings_are_undone_in_the_reverse_order() -> None:
    coded = brotli.compress(gzip.compress(TEXT))
    assert codings.decode(coded, [b"gzip", b"br"], len(TEXT)) == TEXT
    with pytest.raises(CodingError):
        codings.decode(coded, [b"br", b"gzip"], len(TEXT))


def test_no_more_is_made_on_the_way_than_may_be() -> None:
    bomb = gzip.compress(gzip.compress(bytes(10_000_000)))
    with pytest.raises(TooLargeError):
        codings.decode(bomb, [b"gzip", b"gzip"], 5000)


def test_unknown_codings_are_named() -> None:
    with pytest.raises(UnknownCodingError, match="snappy"):
        codings.decode(b"", [b"gzip", b"snappy"], 1)
    with pytest.raises(UnknownCodingError, match="snappy"):
        codings.encode(b"", b"snappy", 1)
    with pytest.raises(UnknownCodingError):
        codings.decode(b"", [b"gzip"] * 5, 1)


def test_codings_are_read_from_fields() -> None:
    assert codings.codings_of([b"GZIP, identity", b" br ,,"]) == (b"gzip", b"br")
    assert codings.codings_of([b"identity"]) == codings.codings_of([]) == ()


def window_log(frame: bytes) -> int:
    """The window that a frame of zstd needs, as a power of two (RFC 8878, section 3.1.1)."""
    descriptor = frame[4]
    if descriptor & 0x20:  # a single segment: the window is the content
        width = (1, 2, 4, 8)[descriptor >> 6]
        content = int.from_bytes(frame[5 : 5 + width], "little") + (256 if width == 2 else 0)
        return content.bit_length()
    return 10 + (frame[5] >> 3) + (frame[5] & 7 > 0)


@pytest.mark.parametrize("level", range(codings.LEVELS[b"zstd"][0], codings.LEVELS[b"zstd"][1] + 1))
def test_windows_of_zstd_are_no_larger_than_8_mib(level: int) -> None:
    encoder = codings.encoder(b"zstd", level)
    assert window_log(encoder.feed(TEXT) + encoder.flush()) <= 23
    assert window_log(codings.encode(bytes(9 << 20), b"zstd", level)) <= 23


def test_larger_windows_of_zstd_are_not_accepted() -> None:
    parameter = zstd.CompressionParameter
    large = zstd.ZstdCompressor(options={parameter.compression_level: 1, parameter.window_log: 24})
    with pytest.raises(CodingError):
        codings.decode(large.compress(NOISE) + large.flush(), [b"zstd"], MANY)
