"""Strict readers of HTTP/1.1 that share nothing with the gateway's own: they read bytes and look each rule up.

What they are for is a second opinion: where the gateway reads a message, they must read the same one. They refuse less
than the gateway (no limits, any target), so that what they refuse the gateway must refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TOKEN = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
TEXT = {9, *range(0x20, 0x7F), *range(0x80, 0x100)}
DIGITS = set(b"0123456789")
HEX = DIGITS | set(b"abcdefABCDEF")


class BrokenError(Exception):
    """The bytes break a rule; the message says which."""


class ShortError(Exception):
    """The bytes end before the message does."""


@dataclass
class Message:
    """One request or response as far as it was read; `fault` says why it was not read further."""

    start: list[bytes] = field(default_factory=list)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    fault: str | None = None
    interims: list[Message] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        """The values of a lower-case name."""
        return [value for own, value in self.fields if own.lower() == name]

    @property
    def status(self) -> int:
        return int(self.start[1])


class Cursor:
    """A place in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytes(data)
        self.at = 0

    def take(self, count: int) -> bytes:
        """Up to `count` bytes."""
        piece = self.data[self.at : self.at + count]
        self.at += len(piece)
        return piece

    def line(self) -> bytes:
        """The bytes before the next CRLF, all of them printable, tab or obs-text."""
        end = self.data.find(b"\n", self.at)
        line = self.data[self.at : end] if end >= 0 else self.data[self.at :]
        whole, cr = (line[:-1], line[-1:]) if end >= 0 else (line.removesuffix(b"\r"), b"\r")
        if cr != b"\r" or not TEXT.issuperset(whole):
            raise BrokenError("a line with control bytes, or one that does not end in CRLF")
        if end < 0:
            raise ShortError
        self.at = end + 1
        return whole

    def skip_empty_lines(self) -> None:
        while self.data.startswith(b"\r\n", self.at):
            self.at += 2


def read_requests(data: bytes) -> list[Message]:
    """The requests in a client's bytes; only the last may be incomplete or at fault."""
    cursor = Cursor(data)
    found: list[Message] = []
    while True:
        cursor.skip_empty_lines()
        if cursor.at >= len(cursor.data):
            return found
        message = Message()
        try:
            message.start = _request_line(cursor.line())
            message.fields = _fields(cursor)
            found.append(message)
            _read_body(cursor, message, _framing(message, None))
            message.complete = True
        except ShortError:
            return found
        except BrokenError as error:
            message.fault = str(error)
            return found


def read_responses(data: bytes, methods: list[bytes], ended: bool) -> tuple[list[Message], bytes]:
    """The final responses to requests with these `methods`, and the bytes behind them.

    `ended`: the connection was closed in good order behind the last byte. Only the last one may be
    incomplete or at fault; what answers `101` is left to whoever asked: it is complete and its bytes are behind it.
    """
    cursor = Cursor(data)
    found: list[Message] = []
    for method in methods:
        message = Message()
        interims: list[Message] = []
        try:
            while not message.start or message.status < 200:
                message = Message(interims=interims)
                message.start = _status_line(cursor.line())
                message.fields = _fields(cursor)
                if message.status == 101:
                    break
                if message.status < 200:
                    interims.append(message)
            found.append(message)
            _read_body(cursor, message, _framing(message, method), ended)
            message.complete = True
        except ShortError:
            break
        except BrokenError as error:
            message.fault = str(error)
            break
        if message.status == 101:
            break
    if found and not found[-1].complete:
        return found, b""
    return found, cursor.data[cursor.at :]


def _request_line(line: bytes) -> list[bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts) or not TOKEN.issuperset(parts[0]):
        raise BrokenError("no request line")
    if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1") or any(byte <= 0x20 or byte >= 0x7F for byte in parts[1]):
        raise BrokenError("a version or target that is none")
    return parts


def _status_line(line: bytes) -> list[bytes]:
    parts = line.split(b" ", 2)
    if len(parts) < 2 or parts[0] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise BrokenError("no status line")
    if len(parts[1]) != 3 or not DIGITS.issuperset(parts[1]) or parts[1] < b"100":
        raise BrokenError("no status")
    return parts


def _fields(cursor: Cursor) -> list[tuple[bytes, bytes]]:
    fields = []
    while line := cursor.line():
        name, colon, value = line.partition(b":")
        if not colon or not name or not TOKEN.issuperset(name):
            raise BrokenError("no field line")
        fields.append((name, value.strip(b" \t")))
    return fields


def _framing(message: Message, method: bytes | None) -> int | None:
    """The body's length, -1 for chunked, None for all until the end; `method` is that of a response's request."""
    codings, lengths = message.all(b"transfer-encoding"), message.all(b"content-length")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or b"HTTP/1.0" in message.start:
            raise BrokenError("a transfer coding that leaves the length in doubt")
    elif lengths and (len(lengths) > 1 or not lengths[0] or not DIGITS.issuperset(lengths[0])):
        raise BrokenError("a length that is none")
    if method is not None and (method == b"HEAD" or message.status < 200 or message.status in (204, 304)):
        return 0
    if codings:
        return -1
    if lengths:
        return int(lengths[0])
    return 0 if method is None else None


def _read_body(cursor: Cursor, message: Message, length: int | None, ended: bool = False) -> None:
    if length == -1:
        _read_chunks(cursor, message)
        return
    message.body += cursor.take(len(cursor.data) if length is None else length)
    if len(message.body) < length if length is not None else not ended:
        raise ShortError


def _read_chunks(cursor: Cursor, message: Message) -> None:
    while True:
        size, semicolon, extension = cursor.line().partition(b";")
        if not size or len(size) > 15 or not HEX.issuperset(size) or (semicolon and not extension):
            raise BrokenError("no chunk size")
        length = int(size, 16)
        if not length:
            break
        data = cursor.take(length)
        message.body += data
        if len(data) < length:
            raise ShortError
        end = cursor.take(2)
        if not b"\r\n".startswith(end):
            raise BrokenError("chunk data without its end")
        if len(end) < 2:
            raise ShortError
    _fields(cursor)
