"""The chunked transfer coding (RFC 9112, section 7.1), decoded strictly and incrementally, and encoded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from portico.core.errors import MessageError
from portico.wire.http1.grammar import are_field_lines
from portico.wire.writing import LARGE

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"[\t \x21\x23-\x5b\x5d-\x7e]*+"'
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*+"
)
_CHUNK_START: Final = re.compile(_SIZE_LINE.pattern + rb"\r\n")
_TURN: Final = 1024
"""Chunks that are taken at once; a sender of one-byte chunks could stall all other clients with one read."""
_LINE_LIMIT: Final = 256
"""Bytes of a size line with its extensions: nothing in use needs more, and an endless one would hold memory."""
_TRAILER_LIMIT: Final = 8192

LAST_CHUNK: Final = b"0\r\n\r\n"

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedDecoder:
    """Takes the bytes of a chunked body as they arrive and returns its content.

    After the last chunk and the trailer section, `done` is true, `trailers` holds that section's field lines and `rest`
    the bytes after the body. Raises MessageError with `reason` where the coding is broken; `sound` is the content
    before that in the same bytes.
    """

    __slots__ = ("_left", "_pending", "_reason", "_state", "done", "has_more", "rest", "sound", "trailers")

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._state = _SIZE
        self._left = 0
        self._pending = b""
        self.done = self.has_more = False
        self.rest = self.sound = b""
        self.trailers: Sequence[bytes] = ()

    def feed(self, data: bytes) -> bytes:
        """The content in `data`, empty where there is none yet.

        After many chunks it stops so that others are served: `has_more` asks for `feed(b"")` a turn later.
        """
        if self._pending:
            data = self._pending + data
            self._pending = b""
        self.has_more = False
        pieces: list[bytes] = []
        position, end = 0, len(data)
        if self._state == _SIZE:
            position = self._take_whole_chunks(data, pieces)
        while position < end:
            if len(pieces) >= _TURN:
                self._pending = data[position:]
                self.has_more = True
                break
            if self._state == _DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
                continue
            try:
                after = self._step(data, position)
            except MessageError:
                self.sound = b"".join(pieces)
                raise
            if after < 0:
                self._pending = data[position:]
                break
            position = after
            if self._state == _DONE:
                self.done = True
                self.rest = data[position:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @staticmethod
    def _take_whole_chunks(data: bytes, pieces: list[bytes]) -> int:
        """Take the complete chunks, except for the last one of a body; returns the position after them."""
        position = 0
        while len(pieces) < _TURN:
            match = _CHUNK_START.match(data, position)
            if match is None:
                break
            start = match.end()
            end = start + int(match[1], 16)
            if end == start or start - position > _LINE_LIMIT or not data.startswith(b"\r\n", end):
                break
            pieces.append(data[start:end])
            position = end + 2
        return position

    def _step(self, data: bytes, position: int) -> int:
        """Read one piece of syntax at `position`; returns the position after it, or -1 where more bytes are needed."""
        if self._state == _DATA_END:
            return self._read_data_end(data, position)
        if self._state == _SIZE:
            return self._read_size(data, position)
        return self._read_trailer(data, position)

    def _read_data_end(self, data: bytes, position: int) -> int:
        found = data[position : position + 2]
        if found == b"\r\n":
            self._state = _SIZE
            return position + 2
        if found == b"\r":
            return -1
        raise MessageError(self._reason, "chunk data is not followed by CRLF")

    def _read_size(self, data: bytes, position: int) -> int:
        newline = data.find(b"\n", position, position + _LINE_LIMIT)
        if newline < 0:
            if len(data) - position >= _LINE_LIMIT:
                raise MessageError(self._reason, f"a chunk size line is longer than {_LINE_LIMIT} bytes")
            return -1
        match = _SIZE_LINE.fullmatch(data, position, max(newline - 1, position))
        if match is None or data[newline - 1 : newline] != b"\r":
            raise MessageError(self._reason, "a chunk size line is not a hexadecimal number, extensions and CRLF")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILER
        return newline + 1

    def _read_trailer(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._state = _DONE
            return position + 2
        end = data.find(b"\r\n\r\n", position, position + _TRAILER_LIMIT)
        if end < 0:
            if len(data) - position >= _TRAILER_LIMIT:
                raise MessageError(self._reason, f"a trailer section is longer than {_TRAILER_LIMIT} bytes")
            return -1
        if not are_field_lines(data[position : end + 2]):
            raise MessageError(self._reason, "a trailer section that is not made of field lines")
        self.trailers = data[position:end].split(b"\r\n")
        self._state = _DONE
        return end + 4


def whole_body(data: bytes) -> bytes | None:
    """The content of a body that is all of `data`; None for anything else, also with trailers or very many chunks."""
    if not data.endswith(LAST_CHUNK):
        return None
    pieces: list[bytes] = []
    end = ChunkedDecoder._take_whole_chunks(data, pieces)
    if end + len(LAST_CHUNK) != len(data):
        return None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def encode_whole(data: bytes) -> tuple[bytes, ...]:
    """A body of one chunk, or of none where `data` is empty."""
    return (b"%x\r\n" % len(data), data, b"\r\n0\r\n\r\n") if data else (LAST_CHUNK,)


def last_chunk(trailers: Sequence[bytes]) -> bytes:
    """The end of a chunked body, with these trailer field lines."""
    return b"\r\n".join((b"0", *trailers, b"", b"")) if trailers else LAST_CHUNK


def encode_chunk(data: bytes) -> tuple[bytes, ...]:
    """One chunk around `data`, which may not be empty; in pieces where copying it would cost more."""
    if len(data) < LARGE:
        return (b"%x\r\n%b\r\n" % (len(data), data),)
    return b"%x\r\n" % len(data), data, b"\r\n"
