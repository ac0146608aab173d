"""What an `Instance` answers, by the first segment of the target that means something here; others may stand before it.

| target | answer |
| --- | --- |
| `/small/TEXT` | TEXT, or the document |
| `/bytes/N` | N bytes of the pattern; `/bytes/N/MS`: 8 KiB of them each MS milliseconds |
| `/mebibyte`, `/gibibyte` | the same, so many |
| `/echo` | the request's body: as it comes if it is chunked, else when it is whole |
| `/take` | how much of the pattern came, and how much is wrong; `/take/S`: read slowly for S seconds |
| `/events/N/MS` | N events, one each MS milliseconds: its number, and the time by the clock all processes share |
| an upgrade | a WebSocket that echoes |
| `/seen` | what came of what gateways send |
| `/open` | how many other connections there are |
| `/health` | that all is well |
| `/-/be/MANNER`, `/-/count` | how many requests came |
| all else | the document |
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from .chunks import LAST
from .frames import CLOSE, decode, encode, frame_size
from .pattern import Checker, piece
from .sockets import reset_at_close

if TYPE_CHECKING:
    from .instance import Connection

PIECE: Final = 8192
_BLOCK: Final = 1 << 20
_SLOW_READ: Final = 64 * 1024
_SLOW_PAUSE: Final = 0.02
"""A slow reader takes 64 KiB each 20 ms: 3 MiB a second."""
_BEFORE_RESET: Final = 0.01
"""Seconds, or what was written is lost with the rest."""
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Answer:
    """What is done about one request: first of all, with each piece of its body, and once that is whole."""

    is_counted: ClassVar[bool] = True
    reads = sys.maxsize
    """Bytes that are read at once."""

    def __init__(self, connection: Connection, arguments: list[str], fields: Mapping[str, str]) -> None:
        self.connection = connection
        self.instance = connection.instance
        self.transport = connection.transport
        self.arguments = arguments
        self.fields = fields

    def begin(self) -> None:
        """Before the body."""

    def take(self, data: memoryview) -> None:
        """A piece of the body, valid for this call."""

    def end(self) -> None:
        """After the body."""

    def go_on(self) -> None:
        """The client takes more again."""

    def send(self, body: bytes, *lines: str, status: str = "200 OK") -> None:
        self.send_head(f"Content-Length: {len(body)}", *lines, status=status)
        self.transport.write(body)

    def send_head(self, *lines: str, status: str = "200 OK") -> None:
        self.transport.write("\r\n".join([f"HTTP/1.1 {status}", *self.instance.lines, *lines, "", ""]).encode())

    def send_chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def send_json(self, document: Mapping[str, object]) -> None:
        self.send(json.dumps(document).encode(), "Content-Type: application/json")


class Document(Answer):
    def end(self) -> None:
        self.send(self.instance.document, "Content-Type: application/json")


class Small(Document):
    def end(self) -> None:
        if self.arguments:
            self.send("/".join(self.arguments).encode())
        else:
            super().end()


class Bytes(Answer):
    size = 0

    def end(self) -> None:
        size, *pause = [int(argument) for argument in self.arguments] or [self.size]
        self._at, self._size = 0, size
        self._pause = pause[0] / 1000 if pause else 0.0
        self.send_head(f"Content-Length: {size}")
        self.go_on()

    def go_on(self) -> None:
        if self._pause:
            self._send(PIECE)
            if self._at < self._size:
                self.connection.later(self._pause, self.go_on)
        else:
            while self._at < self._size and not self.connection.is_paused and not self.transport.is_closing():
                self._send(_BLOCK)

    def _send(self, most: int) -> None:
        block = piece(self._at, min(most, self._size - self._at))
        self._at += len(block)
        self.transport.write(block)


class Mebibyte(Bytes):
    size = 1 << 20


class Gibibyte(Bytes):
    size = 1 << 30


class Echo(Answer):
    def begin(self) -> None:
        self._is_streamed = "transfer-encoding" in self.fields
        self._whole = bytearray()
        if self._is_streamed:
            self.send_head("Transfer-Encoding: chunked")

    def take(self, data: memoryview) -> None:
        if self._is_streamed:
            self.send_chunk(bytes(data))
        else:
            self._whole += data

    def end(self) -> None:
        if self._is_streamed:
            self.transport.write(LAST)
        else:
            self.send(bytes(self._whole))


class Take(Answer):
    def begin(self) -> None:
        self._checker = Checker()
        self._slow_until = time.monotonic() + float(self.arguments[0]) if self.arguments else 0.0
        self.reads = _SLOW_READ if self.arguments else sys.maxsize

    def take(self, data: memoryview) -> None:
        self._checker.take(data)
        if time.monotonic() < self._slow_until:
            self.transport.pause_reading()
            self.connection.later(_SLOW_PAUSE, self.transport.resume_reading)
        else:
            self.reads = sys.maxsize

    def end(self) -> None:
        self.send_json({"total": self._checker.total, "wrong": self._checker.wrong})


class Events(Answer):
    def end(self) -> None:
        self._count, self._number = int(self.arguments[0]), 0
        self.send_head("Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        self._send_next()

    def _send_next(self) -> None:
        if self._number == self._count:
            self.transport.write(LAST)
            return
        self.send_chunk(b"data: %d %d\n\n" % (self._number, time.monotonic_ns()))
        self._number += 1
        self.connection.later(int(self.arguments[1]) / 1000, self._send_next)


class Socket(Answer):
    def begin(self) -> None:
        key = self.fields["sec-websocket-key"] + _GUID
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        self.send_head(*lines, status="101 Switching Protocols")
        self._data = b""
        self.connection.never_end()

    def take(self, data: memoryview) -> None:
        self._data += data
        while len(self._data) >= (size := frame_size(self._data)):
            frame, self._data = decode(self._data[:size]), self._data[size:]
            self.transport.write(encode(frame.opcode, frame.payload, mask=b""))
            if frame.opcode == CLOSE:
                self.transport.close()
                return


class Seen(Answer):
    def end(self) -> None:
        fields = {
            "request_id": self.fields.get("x-request-id", ""),
            "forwarded_for": self.fields.get("x-forwarded-for", ""),
            "user": self.fields.get("x-consumer-username", ""),
        }
        self.send_json({"connection": str(self.connection.number), **fields})


class Open(Answer):
    def end(self) -> None:
        self.send_json({"open": len(self.instance.connections) - 1})


class Health(Answer):
    is_counted = False

    def end(self) -> None:
        self.send(b"fine")


class Control(Answer):
    is_counted = False

    def end(self) -> None:
        if self.arguments[0] == "be":
            self.instance.manner = self.arguments[1]
        self.send(str(self.instance.served).encode())


# ---- the bad manners


class Failing(Answer):
    def end(self) -> None:
        self.send(b"nothing works", status="500 Internal Server Error")


class Cutting(Answer):
    def end(self) -> None:
        self.send_head("Content-Length: 1000")
        self.transport.write(bytes(500))
        self.connection.later(_BEFORE_RESET, self._reset)

    def _reset(self) -> None:
        reset_at_close(self.transport.get_extra_info("socket"))
        self.transport.abort()


class Mute(Answer):
    def begin(self) -> None:
        self.connection.never_end()


_ANSWERS: Final[Mapping[str, type[Answer]]] = {
    "small": Small,
    "bytes": Bytes,
    "mebibyte": Mebibyte,
    "gibibyte": Gibibyte,
    "echo": Echo,
    "take": Take,
    "events": Events,
    "seen": Seen,
    "open": Open,
    "health": Health,
    "-": Control,
}
_MANNERS: Final[Mapping[str, type[Answer]]] = {"failing": Failing, "cutting": Cutting, "mute": Mute}


def answer_to(connection: Connection, target: str, fields: Mapping[str, str]) -> Answer:
    """As the target says, unless the instance's manner is another."""
    segments = target.partition("?")[0].strip("/").split("/")
    at = next((number for number, segment in enumerate(segments) if segment in _ANSWERS), -1)
    kind = Socket if fields.get("upgrade") == "websocket" else _ANSWERS[segments[at]] if at >= 0 else Document
    instance = connection.instance
    instance.served += kind.is_counted
    if kind is not Control and (kind.is_counted or instance.manner == "mute"):
        kind = _MANNERS.get(instance.manner, kind)
    return kind(connection, segments[at + 1 :], fields)
