"""As much of WebSocket (RFC 6455) as a gateway needs: to check a handshake, and to close a tunnel cleanly.

Frames pass unread; only their lengths are tracked, so that a close frame can be put between two of them.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error
from hashlib import sha1
from typing import Final

PROTOCOL: Final = b"websocket"

GOING_AWAY: Final = 1001
"""Status of a close frame (section 7.4.1): this connection has come to its end."""
POLICY_VIOLATION: Final = 1008
"""The same: the client may not go on."""
RESTART: Final = 1012
"""One of the registry that the section names: the server restarts, and the client may connect anew.

Some take 1001 for an end that is meant: JupyterLab does not connect anew, and a loop over `websockets` just ends.
"""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 8
_LENGTH_BYTES: Final = {126: 2, 127: 8}


def close_frame(code: int) -> bytes:
    """A close frame with a status, unmasked, as a server sends it."""
    return b"\x88\x02" + code.to_bytes(2)


def masked_close_frame(code: int) -> bytes:
    """The same as a client sends it."""
    mask = os.urandom(4)
    return b"\x88\x82" + mask + bytes(a ^ b for a, b in zip(code.to_bytes(2), mask, strict=False))


def is_key(key: bytes | None) -> bool:
    """Whether this is what `Sec-WebSocket-Key` has to be (section 4.2.1): 16 bytes in base64, once."""
    try:
        return key is not None and len(b64decode(key, validate=True)) == 16
    except Error:
        return False


def accepts(key: bytes | None, accept: bytes | None) -> bool:
    """Whether a 101's `Sec-WebSocket-Accept` answers this `Sec-WebSocket-Key` (section 4.2.2)."""
    if key is None or not is_key(key):
        return False
    return accept == b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


class Frames:
    """Follows the frames of one direction.

    `closed` says whether a close frame began; what follows it is ignored. Bytes that are not frames do no harm: their
    lengths mean nothing, and the endpoints will end the connection.
    """

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False

    @property
    def is_between(self) -> bool:
        """Whether the last frame is complete and the next has not begun."""
        return not self._left and not self._head

    def feed(self, data: bytes, to_boundary: bool = False) -> int:
        """Follow `data`, with `to_boundary` only to the end of the current frame; returns how many bytes."""
        position, end = 0, len(data)
        while position < end and not (self.is_between and (to_boundary or self.closed)):
            if self._left:
                taken = min(self._left, end - position)
                self._left -= taken
                position += taken
            else:
                missing = _missing(self._head)
                self._head += data[position : position + missing]
                position = min(position + missing, end)
                if not _missing(self._head):
                    self._begin()
        return position

    def _begin(self) -> None:
        head, self._head = self._head, b""
        if head[0] & 0x0F == _CLOSE:
            self.closed = True
        self._left = _length(head) + (4 if head[1] & 0x80 else 0)


def _missing(head: bytes) -> int:
    """How many bytes a frame's beginning still needs before its length is known."""
    if len(head) < 2:
        return 2 - len(head)
    return 2 + _LENGTH_BYTES.get(head[1] & 0x7F, 0) - len(head)


def _length(head: bytes) -> int:
    short = head[1] & 0x7F
    return int.from_bytes(head[2:], "big") if short in _LENGTH_BYTES else short
