"""Stored responses as bytes: compact in memory, and in Redis such that whatever is damaged or foreign is recognised."""

from __future__ import annotations

import zlib
from typing import Final, TypeVar

import msgspec

from portico.core.messages import Fields, ResponseHead
from portico.proxy.cache.stored import PIECE, Body, Stored, plain_head

FORMAT: Final = 1
"""Changes whenever the meaning of the bytes does: entries of other versions are misses."""

_COMPRESSED_FROM: Final = 8 << 10
"""Bytes from which a body is compressed: less saves little, and takes the same 60 µs."""
_LEVEL: Final = 1
"""zlib's fastest: text becomes a fifth; higher levels save a little more and take several times as long."""
_PLAIN, _DEFLATED = b"\0", b"\1"
_CHECK: Final = 4
"""Bytes of a checksum."""
_TEXT_TYPES: Final = (b"text/", b"application/json", b"application/xml", b"application/javascript", b"image/svg")
_TEXT_SUFFIXES: Final = (b"+json", b"+xml", b"javascript", b"ndjson", b"wasm")
_MOST_REMEMBERED: Final = 4096


class DamagedError(Exception):
    """What was found is not what was stored."""


class _Packed(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A `Stored` without its body. The first two are of its resource."""

    url: bytes
    service: str
    head: bytes
    """Status line and field lines, between line ends."""
    size: int
    since: float
    lifetime: float
    stale_while_revalidate: float
    stale_if_error: float
    is_immutable: bool
    revalidates: bool
    is_shared: bool
    asker: bytes | None
    vary: tuple[tuple[bytes, bytes], ...]
    codings: frozenset[bytes] | None
    coding: frozenset[bytes]
    language: bytes | None
    date: float
    etag: bytes | None
    last_modified: bytes | None
    tags: frozenset[bytes]
    born: float
    checked: int


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Packed).decode

T = TypeVar("T")


class _Remembered(dict[T, T]):
    """Objects of which many are equal: each is kept once."""

    def one(self, each: T) -> T:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        return self.setdefault(each, each)


_sets: Final[_Remembered[frozenset[bytes]]] = _Remembered()
_names: Final[dict[bytes, bytes]] = {}
"""Names of fields in lower case, by how they were sent."""


def packed(stored: Stored, url: bytes, service: str, since: float, born: float) -> bytes:
    """A stored response without its body, with what is known of its resource; `since` and `born` as they are to be
    read.
    """
    return _encode(
        _Packed(
            url,
            service,
            b"\r\n".join((stored.head.line, *stored.head.fields.lines)),
            stored.body.size,
            since,
            stored.lifetime,
            stored.stale_while_revalidate,
            stored.stale_if_error,
            stored.is_immutable,
            stored.revalidates,
            stored.is_shared,
            stored.asker,
            stored.vary,
            stored.codings,
            stored.coding,
            stored.language,
            stored.date,
            stored.etag,
            stored.last_modified,
            stored.tags,
            born,
            stored.checked,
        )
    )


def unpacked(data: bytes) -> tuple[Stored, bytes, str]:
    """What was packed: the response, with a body that has its size and no pieces, then URL and service.

    Raises DamagedError.
    """
    try:
        found = _decode(data)
        return _stored(found), found.url, found.service
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise DamagedError(str(error)) from error


def _stored(found: _Packed) -> Stored:
    return Stored(
        head=_head(found.head, found.size),
        body=Body((), found.size),
        since=found.since,
        lifetime=found.lifetime,
        stale_while_revalidate=found.stale_while_revalidate,
        stale_if_error=found.stale_if_error,
        is_immutable=found.is_immutable,
        revalidates=found.revalidates,
        is_shared=found.is_shared,
        asker=found.asker,
        vary=found.vary,
        codings=None if found.codings is None else _sets.one(found.codings),
        coding=_sets.one(found.coding),
        language=found.language,
        date=found.date,
        etag=found.etag,
        last_modified=found.last_modified,
        tags=_sets.one(found.tags) if len(found.tags) < 2 else found.tags,
        born=found.born,
        checked=found.checked,
    )


def _head(raw: bytes, size: int) -> ResponseHead:
    line, *lines = raw.split(b"\r\n")
    _, status, phrase = line.split(b" ", 2)
    head = plain_head(int(status), phrase, line, Fields(list(map(_name, lines)), lines), size)
    head.noted = _sets.one(head.noted)
    return head


def _name(line: bytes) -> bytes:
    sent = line[: line.index(b":")]
    name = _names.get(sent)
    if name is None:
        if len(_names) >= _MOST_REMEMBERED:
            _names.clear()
        name = _names[sent] = sent.lower()
    return name


# ---- with a checksum


def sealed(data: bytes, key: bytes, body: bytes) -> bytes:
    """Packed data for Redis, of a response under `key`, whose body is stored under the name `body` (8 bytes)."""
    start = bytes((FORMAT,)) + body
    return b"%b%b%b" % (start, _checksum(start + data, key), data)


def unsealed(data: bytes, key: bytes) -> tuple[bytes, bytes]:
    """The packed data, and the name of the body. Raises DamagedError."""
    start, check, rest = data[:9], data[9 : 9 + _CHECK], data[9 + _CHECK :]
    if start[:1] != bytes((FORMAT,)) or check != _checksum(start + rest, key):
        raise DamagedError("another format, or damaged")
    return rest, start[1:]


def is_compressible(head: ResponseHead, size: int) -> bool:
    """Whether compression of a body of at least `size` bytes is worth its time: text that has no coding yet."""
    if size < _COMPRESSED_FROM or b"content-encoding" in head.fields.names:
        return False
    kind = (head.fields.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    return kind.startswith(_TEXT_TYPES) or kind.endswith(_TEXT_SUFFIXES)


def sealed_piece(piece: bytes, body: bytes, index: int, compress: bool) -> bytes:
    """A piece of the body with this name, for Redis."""
    how = _PLAIN
    if compress:
        small = zlib.compress(piece, _LEVEL)
        if len(small) < len(piece):
            how, piece = _DEFLATED, small
    return b"%b%b%b" % (how, _checksum(piece, b"%b%b%d" % (how, body, index)), piece)


def unsealed_piece(data: bytes, body: bytes, index: int) -> bytes:
    """The piece, of `PIECE` bytes at most. Raises DamagedError."""
    how, check, piece = data[:1], data[1 : 1 + _CHECK], data[1 + _CHECK :]
    if check != _checksum(piece, b"%b%b%d" % (how, body, index)):
        raise DamagedError("damaged")
    if how == _DEFLATED:
        try:
            piece = zlib.decompressobj().decompress(piece, PIECE + 1)
        except zlib.error as error:
            raise DamagedError(str(error)) from error
    if len(piece) > PIECE:
        raise DamagedError("too large")
    return piece


def _checksum(data: bytes, of: bytes) -> bytes:
    return zlib.crc32(data, zlib.crc32(of)).to_bytes(_CHECK, "big")
