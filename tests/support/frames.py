"""WebSocket frames (RFC 6455, section 5.2) as the tests write and read them; none of the gateway's code is in it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of a handshake in RFC 6455, section 1.3."""
MASK = b"\x37\xfa\x21\x3d"
"""The masking key of the RFC's own examples."""


class Frame(NamedTuple):
    """One frame, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = False

    @property
    def code(self) -> int:
        """The status of a close frame; 1005 where it has none (section 7.1.5)."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload under its mask; the same again takes it off."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def encode(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK, length_bytes: int = 0
) -> bytes:
    """A frame's bytes; an empty `mask` is a server's. `length_bytes` (2 or 8) writes a longer length than need be."""
    size = len(payload)
    if not length_bytes:
        length_bytes = 0 if size < 126 else 2 if size < 65536 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes((fin << 7 | rsv << 4 | opcode, bool(mask) << 7 | short))
    if length_bytes:
        head += size.to_bytes(length_bytes, "big")
    return head + mask + (masked(payload, mask) if mask else payload)


def closing(code: int, reason: bytes = b"", mask: bytes = MASK) -> bytes:
    """A close frame's bytes."""
    return encode(CLOSE, struct.pack("!H", code) + reason, mask=mask)


def fragments(opcode: int, parts: Iterable[bytes], *, rsv: int = 0, mask: bytes = MASK) -> list[bytes]:
    """A message cut into frames."""
    pieces = list(parts)
    last = len(pieces) - 1
    return [
        encode(0 if at else opcode, piece, fin=at == last, rsv=0 if at else rsv, mask=mask)
        for at, piece in enumerate(pieces)
    ]


def frame_size(data: bytes) -> int:
    """How long the frame is that `data` begins with, as far as it shows: as long as its head, where that is cut."""
    size = 2
    if len(data) >= size:
        short = data[1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        size += extra
        if len(data) >= size:
            size += (int.from_bytes(data[2:size], "big") if extra else short) + (4 if data[1] & 0x80 else 0)
    return size


def missing(data: bytes) -> int:
    """How many bytes more the beginning of a frame needs before it can be decoded as far as its next part; 0: none."""
    return max(0, frame_size(data) - len(data))


def decode(data: bytes) -> Frame:
    """The one frame that `data` is."""
    start = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    key = b""
    if data[1] & 0x80:
        key, start = data[start : start + 4], start + 4
    payload = data[start:]
    return Frame(
        data[0] & 15, masked(payload, key) if key else payload, bool(data[0] & 128), data[0] >> 4 & 7, bool(key)
    )
