"""A client that moves large bodies with little work of its own."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from support.chunks import LAST, Chunks
from support.client import Wire
from support.heads import split_head
from support.pattern import PERIOD, Checker, as_file

SMALL = 8192
"""Bytes of a receive buffer with which the kernel takes little of what the client does not read."""


def request(method: str, target: str, *lines: str) -> bytes:
    """The head of a request to the service behind the gateway."""
    return "\r\n".join([f"{method} /api/stress{target} HTTP/1.1", "Host: stress.test", *lines, "", ""]).encode()


class StressWire(Wire):
    """One connection that reads into one buffer and sends bodies from the kernel's memory."""

    TIMEOUT = 60.0

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        super().__init__(port, receive_buffer=receive_buffer)
        self._space = memoryview(bytearray(1 << 20))
        self._rest = b""

    def send_pattern(self, size: int, chunked: bool) -> None:
        """A body of `size` bytes; from a file in memory, so that no byte is copied here."""
        descriptor = as_file()
        try:
            for offset in range(0, size, PERIOD):
                count = min(PERIOD, size - offset)
                if chunked:
                    self.send(b"%x\r\n" % count)
                at = 0
                while at < count:
                    at += self._sendfile(descriptor, at, count - at)
                if chunked:
                    self.send(b"\r\n")
            if chunked:
                self.send(LAST)
        finally:
            os.close(descriptor)

    def _sendfile(self, descriptor: int, at: int, count: int) -> int:
        while True:
            try:
                return os.sendfile(self.socket.fileno(), descriptor, at, count)
            except BlockingIOError:  # a socket with a time-out does not block in itself
                _wait_until_writable(self.socket)

    def head(self) -> dict[str, str]:
        """The head of a response, `status` among its fields; what follows it is kept."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(f"closed in the middle of a head: {data!r}")
            data += more
        head, _, self._rest = data.partition(b"\r\n\r\n")
        (_, status, *_), fields = split_head(head)
        return {**fields, "status": status}

    def pieces(self) -> Iterator[memoryview]:
        """What comes until the connection ends; each piece is valid until the next."""
        if self._rest:
            rest, self._rest = self._rest, b""
            yield memoryview(rest)
        while got := self.socket.recv_into(self._space):
            yield self._space[:got]

    def skip(self) -> str:
        """Read a response of a known length to its end: its status."""
        head = self.head()
        left = int(head["content-length"])
        while len(self._rest) < left:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("closed in the middle of a body")
            self._rest += more
        self._rest = self._rest[left:]
        return head["status"]

    def json(self) -> Any:
        """The content of a short response of a known length. Raises ValueError where it is not a 200."""
        head = self.head()
        if head["status"] != "200":
            raise ValueError(f"the answer is a {head['status']}")
        left = int(head["content-length"])
        body, self._rest = self._rest[:left], self._rest[left:]
        while len(body) < left:
            more = self.socket.recv(left - len(body))
            if not more:
                raise ConnectionError("closed in the middle of a body")
            body += more
        return json.loads(body)


def receive_sized(wire: StressWire, size: int, pause: Callable[[], None] | None = None) -> Checker:
    """The content of a response of `size` bytes, after its head; with a `pause` after every piece."""
    checker = Checker()
    for data in wire.pieces():
        checker.take(data)
        if checker.total >= size:
            break
        if pause is not None:
            pause()
    return checker


def receive_chunked(wire: StressWire) -> Checker:
    """The content of a chunked response, after its head."""
    checker, chunks = Checker(), Chunks()
    for data in wire.pieces():
        for content in chunks.feed(data):
            checker.take(content)
        if chunks.done:
            break
    return checker


def _wait_until_writable(sock: socket.socket) -> None:
    if not select.select([], [sock], [], StressWire.TIMEOUT)[1]:
        raise TimeoutError("nobody takes what is sent")
