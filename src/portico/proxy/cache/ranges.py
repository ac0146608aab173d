"""Parts of a stored response (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from portico.core.messages import ResponseHead
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.stored import PIECE, Stored, derived_head
from portico.proxy.cache.validation import REPRESENTATION, is_same_representation

MOST_RANGES: Final = 32
"""Ranges of one request, at most: one with more is sent the whole."""
_GAP: Final = 80
"""Bytes between two ranges that are sent with them: less than the head of another part (section 15.3.7.2)."""
_RANGE: Final = re.compile(rb"[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*")
_ALL: Final = re.compile(rb"bytes 0-(\d{1,18})/(\d{1,18})")


class Part(NamedTuple):
    """Bytes to send: what comes before them (the head of a part of several), and where they are."""

    before: bytes
    start: int
    stop: int
    """Behind the last."""


class Ranged(NamedTuple):
    """A response to a request for parts: its head, whose framing is the length of all, the parts, and their end."""

    head: ResponseHead
    parts: tuple[Part, ...]
    after: bytes


def parts_of(stored: Stored, asked: Asked, method: bytes = b"GET") -> Ranged | None:
    """The parts of a stored 200 that a request asks for: 206, 416 without parts, or None: it gets the whole.

    None where there is no Range, where If-Range does not hold (section 13.1.5), and where a range is none or too many
    are asked for (section 14.2).
    """
    if asked.range is None or method != b"GET" or stored.head.status != 200:
        return None
    if asked.if_range is not None and not is_same_representation(stored, asked.if_range):
        return None
    size = stored.body.size
    found = _ranges(asked.range, size)
    if found is None:
        return None
    ranges = _merged(found)
    if not ranges:
        return _unsatisfiable(stored, size)
    return _one(stored, ranges[0], size) if len(ranges) == 1 else _several(stored, ranges, size)


def whole_head(head: ResponseHead, asked: Asked) -> ResponseHead | None:
    """The head of the 200 that a service would have sent in place of a 206 with all bytes; None where it has not all.

    Players ask for nothing but ranges, the first time for all: `Range: bytes=0-`. Such a response is complete, so it
    may be stored (RFC 9111, section 3.3); and without If-Range it has all fields (RFC 9110, section 15.3.7).
    """
    if asked.range is None or asked.if_range is not None:
        return None
    found = _ALL.fullmatch(head.fields.get(b"content-range") or b"")
    if found is None or not int(found[1]) + 1 == int(found[2]) == head.framing:
        return None
    return derived_head(head, status=200, without=(b"content-range",))


def slices(start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Where the bytes from `start` to `stop` are: the index of each piece of a body, and where in it."""
    while start < stop:
        index, offset = divmod(start, PIECE)
        end = min(PIECE, offset + stop - start)
        yield index, offset, end
        start += end - offset


def _ranges(asked: bytes, size: int) -> list[tuple[int, int]] | None:
    """The ranges that can be satisfied (section 14.1.2); None where the field is to be ignored."""
    unit, equals, listed = asked.partition(b"=")
    members = [member for member in listed.split(b",") if member.strip()]
    if unit.lower() != b"bytes" or not equals or not 0 < len(members) <= MOST_RANGES:
        return None
    found = []
    for member in members:
        match = _RANGE.fullmatch(member)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            start, stop = max(0, size - int(suffix)), size
            if not size and int(suffix):
                return None  # all of nothing: no Content-Range can say that
        else:
            start, stop = int(first), size
            if last:
                if int(last) < start:
                    return None
                stop = min(size, int(last) + 1)
        if start < stop:
            found.append((start, stop))
    return found


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in their order; those that overlap, or nearly touch, are one, in the place of the first of them."""
    merged: list[tuple[int, int]] = []
    for start, stop in ranges:
        near = [other for other in merged if other[0] <= stop + _GAP and start <= other[1] + _GAP]
        if not near:
            merged.append((start, stop))
            continue
        index = merged.index(near[0])
        near.append((start, stop))
        merged = [other for other in merged if other not in near]
        merged.insert(index, (min(low for low, _ in near), max(high for _, high in near)))
    return merged


def _one(stored: Stored, span: tuple[int, int], size: int) -> Ranged:
    start, stop = span
    line = b"Content-Range: " + _content_range(start, stop, size)
    return Ranged(derived_head(stored.head, status=206, lines=(line,), framing=stop - start), (Part(b"", *span),), b"")


def _several(stored: Stored, ranges: Sequence[tuple[int, int]], size: int) -> Ranged:
    """A `multipart/byteranges` (section 14.6)."""
    boundary = os.urandom(12).hex().encode()
    kind = stored.head.fields.get(b"content-type")
    type_line = b"Content-Type: %b\r\n" % kind if kind else b""
    parts = tuple(
        Part(
            b"\r\n--%b\r\n%bContent-Range: %b\r\n\r\n" % (boundary, type_line, _content_range(start, stop, size)),
            start,
            stop,
        )
        for start, stop in ranges
    )
    after = b"\r\n--%b--\r\n" % boundary
    length = sum(len(part.before) + part.stop - part.start for part in parts) + len(after)
    line = b"Content-Type: multipart/byteranges; boundary=" + boundary
    head = derived_head(stored.head, status=206, without=(b"content-type",), lines=(line,), framing=length)
    return Ranged(head, parts, after)


def _content_range(start: int, stop: int, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (start, stop - 1, size)


def _unsatisfiable(stored: Stored, size: int) -> Ranged:
    """A 416, of which nobody may think that it can be stored for as long as the whole (section 15.5.17)."""
    line = b"Content-Range: bytes */%d" % size
    return Ranged(derived_head(stored.head, status=416, without=_OF_THE_WHOLE, lines=(line,), framing=0), (), b"")


_OF_THE_WHOLE: Final = REPRESENTATION | {b"etag", b"last-modified", b"cache-control", b"expires", b"set-cookie"}
