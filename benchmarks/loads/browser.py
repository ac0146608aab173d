"""Requests of many clients, as many as the gateway can answer; a content comes a while behind its head.

wrk sends a request in one piece. Browsers and libraries send a content in writes of its own, and what is on its way
behind a head over a network is mostly in a second read.
"""

from __future__ import annotations

import random
import select
import socket
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, module, report
from benchmarks.loads.response import status_of
from benchmarks.mixes import browser
from benchmarks.request import Request

_BEHIND: Final = 0.001
"""Seconds between head and content: what a busy gateway takes for one request of each connection."""


@dataclass(frozen=True)
class Browser:
    """One process around epoll: each connection sends its next request as soon as it has its response."""

    connections: int = 32

    @property
    def request(self) -> Request:
        return Request("/items")

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        return generate(module("browser", address.port, seconds, self.connections, first_number()), seconds)


class _Connection:
    """`began` is when its request was sent to the end."""

    __slots__ = ("began", "content", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = self.content = b""
        self.began = 0.0


class _Browsers:
    """All connections, and what they have sent and seen."""

    def __init__(self, port: int, count: int, seed: int) -> None:
        chance, mix = random.Random(seed), browser()
        self.requests = [mix[chance.randrange(len(mix))] for _ in range(1 << 16)]
        self.connections = {each.socket.fileno(): each for each in (_Connection(port) for _ in range(count))}
        self.poll = select.epoll()
        self.behind: deque[_Connection] = deque()
        self.latencies: list[float] = []
        self.sent = self.bytes = self.errors = self.broken = 0

    def run(self, seconds: float) -> float:
        """Sends and receives; returns how long that took. What is under way at the end does not count."""
        began = perf_counter()
        for descriptor, connection in self.connections.items():
            self.poll.register(descriptor, select.EPOLLIN)
            self._send(connection)
        while self.connections and perf_counter() < began + seconds:
            for descriptor, _ in self.poll.poll(_BEHIND):
                self._receive(self.connections[descriptor])
            self._send_contents()
        return perf_counter() - began

    def _send(self, connection: _Connection) -> None:
        head, connection.content = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        connection.received = b""
        connection.began = perf_counter()
        connection.socket.send(head)
        if connection.content:
            self.behind.append(connection)

    def _send_contents(self) -> None:
        while self.behind and self.behind[0].began + _BEHIND <= perf_counter():
            connection = self.behind.popleft()
            connection.began = perf_counter()
            content, connection.content = connection.content, b""
            connection.socket.sendall(content)

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(65536)
        self.bytes += len(data)
        if not data or connection.content:  # an answer to what has not been asked yet is none
            self._drop(connection)
            return
        connection.received += data
        if status := _status(connection.received):
            self.latencies.append(perf_counter() - connection.began)
            self.errors += status >= 400
            self._send(connection)

    def _drop(self, connection: _Connection) -> None:
        self.broken += 1
        del self.connections[connection.socket.fileno()]
        connection.socket.close()
        if connection.content:
            self.behind.remove(connection)


def _status(received: bytes) -> int | None:
    if received[9:12] == b"304":  # it has no content, whatever its length says
        return 304 if received.endswith(b"\r\n\r\n") else None
    return status_of(received)


def _main(port: int, seconds: float, count: int, seed: int) -> None:
    browsers = _Browsers(port, count, seed)
    took = browsers.run(seconds)
    report(browsers.latencies, took, browsers.bytes, browsers.errors, browsers.broken)


if __name__ == "__main__":
    _port, _seconds, _count, _seed = sys.argv[1:]
    _main(int(_port), float(_seconds), int(_count), int(_seed))
