"""Stored responses as bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import random

import pytest

from portico.proxy.cache import codec
from portico.proxy.cache.codec import DamagedError
from portico.proxy.cache.stored import PIECE, Stored
from support.stored import lines_of, response

KEY, NAME = b"the digest of a key", b"12345678"

FULL = response(
    b"x" * 10,
    b"Content-Type: text/plain",
    b"X-Tag: \xe4\x00",
    b"Link: </a>",
    status=404,
    since=5.5,
    lifetime=60.0,
    stale_while_revalidate=1.5,
    stale_if_error=2.5,
    is_immutable=True,
    revalidates=True,
    is_shared=False,
    asker=b"somebody",
    vary=((b"accept-language", b"de"), (b"x-none", b"")),
    codings=frozenset({b"gzip", b"identity"}),
    coding=frozenset({b"gzip"}),
    language=b"de",
    date=1.25,
    etag=b'"a"',
    last_modified=b"Sun, 30 Nov 2025 10:00:00 GMT",
    tags=frozenset({b"tag:a", b"group:b"}),
    born=7.5,
    checked=9,
)


def again(stored: Stored) -> Stored:
    return codec.unpacked(codec.packed(stored, b"http://a/b", "items", stored.since, stored.born))[0]


@pytest.mark.parametrize("stored", [FULL, response(b"")], ids=["every part", "few parts"])
def test_what_is_unpacked_is_what_was_packed(stored: Stored) -> None:
    found = again(stored)
    for field in dataclasses.fields(Stored):
        if field.name not in ("head", "body", "hits", "memo"):
            assert getattr(found, field.name) == getattr(stored, field.name), field.name
    assert (found.body.size, list(found.body.pieces)) == (stored.body.size, [])
    assert lines_of(found) == lines_of(stored)
    for name in ("status", "line", "phrase", "framing", "hop_by_hop"):
        assert getattr(found.head, name) == getattr(stored.head, name), name
    assert found.head.fields.names == stored.head.fields.names
    assert found.head.noted == {name for name in (b"link",) if name in stored.head.fields.names}


def test_the_resource_is_known_again() -> None:
    _, url, service = codec.unpacked(codec.packed(FULL, b"http://a/b?c", "items", 1.0, 2.0))
    assert (url, service) == (b"http://a/b?c", "items")


def test_whatever_is_damaged_is_recognised() -> None:
    """One bit, a cut, a longer one: at any place."""
    data = codec.sealed(codec.packed(FULL, b"http://a/b", "items", 1.0, 2.0), KEY, NAME)
    assert codec.unsealed(data, KEY)[1] == NAME
    for index in range(len(data)):
        flipped = data[:index] + bytes((data[index] ^ 1 << index % 8,)) + data[index + 1 :]
        for damaged in (flipped, data[:index], data + data[index:]):
            with pytest.raises(DamagedError):
                codec.unsealed(damaged, KEY)


def test_what_is_foreign_is_recognised() -> None:
    """Another's bytes, another key's, and those of a version with other fields."""
    data = codec.sealed(codec.packed(FULL, b"http://a/b", "items", 1.0, 2.0), KEY, NAME)
    with pytest.raises(DamagedError):
        codec.unsealed(data, b"the digest of another key")
    foreign = random.Random(1)
    for size in range(200):
        with pytest.raises(DamagedError):
            codec.unsealed(foreign.randbytes(size), KEY)
        with pytest.raises(DamagedError):
            codec.unpacked(foreign.randbytes(size))
    with pytest.raises(DamagedError):
        codec.unsealed(bytes((codec.FORMAT + 1,)) + data[1:], KEY)


@pytest.mark.parametrize("piece", [b"", b"a", b"text " * 5000, os.urandom(PIECE)], ids=len)
@pytest.mark.parametrize("compress", [False, True])
def test_a_piece_is_what_it_was(piece: bytes, compress: bool) -> None:
    data = codec.sealed_piece(piece, NAME, 3, compress)
    assert codec.unsealed_piece(data, NAME, 3) == piece
    assert len(data) <= len(piece) + 5, "what cannot be compressed does not grow"
    for index in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(DamagedError):
            codec.unsealed_piece(data[:index] + bytes((data[index] ^ 1,)) + data[index + 1 :], NAME, 3)
    with pytest.raises(DamagedError):
        codec.unsealed_piece(data, NAME, 2)
    with pytest.raises(DamagedError):
        codec.unsealed_piece(data, b"87654321", 3)


def test_a_piece_that_would_grow_without_end_is_damaged() -> None:
    """Its checksum holds, and it is more than any piece is."""
    data = codec.sealed_piece(bytes(100 * PIECE), NAME, 0, True)
    with pytest.raises(DamagedError):
        codec.unsealed_piece(data, NAME, 0)


def test_only_long_text_without_a_coding_is_compressed() -> None:
    def is_compressible(size: int, *lines: bytes) -> bool:
        return codec.is_compressible(response(b"", *lines).head, size)

    text = b"Content-Type: application/json; charset=utf-8"
    assert is_compressible(10_000, text)
    assert is_compressible(10_000, b"Content-Type: Image/SVG+xml")
    assert not is_compressible(1000, text)
    assert not is_compressible(10_000, text, b"Content-Encoding: gzip")
    assert not is_compressible(10_000, b"Content-Type: image/png")
    assert not is_compressible(10_000)


def test_text_takes_a_fraction() -> None:
    text = json.dumps([{"id": number, "name": f"item {number}"} for number in range(1000)]).encode()
    assert len(codec.sealed_piece(text, NAME, 0, True)) < len(text) / 4
