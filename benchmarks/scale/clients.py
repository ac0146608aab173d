"""What rows need of clients: a connection that sends one request after the other, or a great many at once."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, Self

_BATCH: Final = 50
_LONG: Final = 60.0


class Client:
    """One connection. Answers have to have a length."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(_LONG)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, target: str, *lines: str) -> int:
        """The status."""
        self._socket.sendall(request(target, *lines))
        return self._status()

    def ask_all(self, requests: Iterable[bytes]) -> int:
        """How many were sent: so many at once that sending is no work, in the order in which they come."""
        left, sent = iter(requests), 0
        while batch := list(islice(left, _BATCH)):
            self._socket.sendall(b"".join(batch))
            for _ in batch:
                self._status()
            sent += len(batch)
        return sent

    def _status(self) -> int:
        status, length = 0, 0
        while (line := self._file.readline()) != b"\r\n":
            if not line:
                raise EOFError("the gateway closed the connection")
            name, _, value = line.partition(b":")
            if not status:
                status = int(line.split()[1])
            elif name.lower() == b"content-length":
                length = int(value)
        self._file.read(length)
        return status


def request(target: str, *lines: str) -> bytes:
    """A GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: gateway.test", *lines, "", ""]).encode()


def spread(numbers: Sequence[int], times: int) -> list[int]:
    """All of these in an order that no cache likes, over and over, `times` in all."""
    return [numbers[(n * 7919) % len(numbers)] for n in range(times)]
