"""A fixed rate of requests, below what any gateway here can take: how long does one request take then?"""

from __future__ import annotations

import select
import socket
import sys
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, module, report, template_file
from benchmarks.loads.flood import flood_of_bad_tokens
from benchmarks.loads.large import over_and_over
from benchmarks.loads.response import status_of
from benchmarks.request import SEQUENCE, Request

_TIMEOUT = 5.0  # seconds for the last responses


@dataclass(frozen=True)
class Paced:
    """`rate` requests per second, evenly spaced, over so many connections.

    Meanwhile `beside` is asked for over and over, or a `flood` of bad tokens comes.
    """

    request: Request
    rate: int = 1000
    connections: int = 16
    beside: Request | None = None
    flood: bool = False

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        template = template_file(self.request, directory)
        count = max(1, round(self.rate * seconds))
        command = module("paced", address.port, self.rate, count, self.connections, template, first_number())
        with ExitStack() as stack:
            if self.beside is not None:
                stack.enter_context(over_and_over(self.beside, address, directory))
            if self.flood:
                stack.enter_context(flood_of_bad_tokens(address, directory))
            return generate(command, seconds)


class _Pacer:
    """One thread around select(), whose time-out counts microseconds; the timers of event loops count milliseconds.

    A request that found every connection busy counts from the moment at which it was due: else a gateway that stalls
    would hold back the very requests that show it. One that is only late because the generator was counts from when it
    was sent.
    """

    def __init__(self, rate: int, count: int, connections: list[socket.socket], template: bytes, number: int) -> None:
        self.interval = 1 / rate
        self.count = count
        self.parts = template.split(SEQUENCE.encode())
        self.number = number
        self.free = deque(connections)
        self.sent = 0
        self.held_back = False
        self.under_way: dict[socket.socket, float] = {}
        self.received: dict[socket.socket, bytes] = {}
        self.latencies: list[float] = []
        self.bytes = self.not_2xx = self.broken = 0

    def run(self) -> float:
        """Sends and receives everything; returns how long that took."""
        self.began = perf_counter()
        last = self.began + self.count * self.interval + _TIMEOUT
        while len(self.latencies) + self.broken < self.count and perf_counter() < last:
            self._send_what_is_due()
            readable, _, _ = select.select(list(self.under_way), (), (), self._pause())
            for connection in readable:
                self._receive(connection)
        self.broken += self.count - len(self.latencies) - self.broken
        return perf_counter() - self.began

    def _due(self) -> float:
        return self.began + self.sent * self.interval

    def _pause(self) -> float:
        return max(0.0, self._due() - perf_counter()) if self.free and self.sent < self.count else _TIMEOUT

    def _send_what_is_due(self) -> None:
        while self.sent < self.count and self._due() <= perf_counter():
            if not self.free:
                self.held_back = True
                return
            connection = self.free.popleft()
            self.under_way[connection] = self._due() if self.held_back else perf_counter()
            self.received[connection] = b""
            connection.sendall(str(self.number + self.sent).encode().join(self.parts))
            self.sent += 1
        self.held_back = False

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        self.bytes += len(data)
        self.received[connection] += data
        if not data:
            self.broken += 1
            del self.under_way[connection]
        elif status := status_of(self.received[connection]):
            self.latencies.append(perf_counter() - self.under_way.pop(connection))
            self.not_2xx += status // 100 != 2
            self.free.append(connection)


def _main(port: int, rate: int, count: int, connections: int, template: Path, number: int) -> None:
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for connection in opened:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pacer = _Pacer(rate, count, opened, template.read_bytes(), number)
    seconds = pacer.run()
    report(pacer.latencies, seconds, pacer.bytes, pacer.not_2xx, pacer.broken)


if __name__ == "__main__":
    _port, _rate, _count, _connections, _template, _number = sys.argv[1:]
    _main(int(_port), int(_rate), int(_count), int(_connections), Path(_template), int(_number))
