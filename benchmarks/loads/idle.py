"""Connections that ask once and then stay: what does a gateway keep for each of them?"""

from __future__ import annotations

import asyncio
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import uvloop

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, module, report, template_file
from benchmarks.loads.response import status_of
from benchmarks.request import SEQUENCE, Request

_AT_ONCE = 64
_SPARE_FILES = 200  # of the open files that a process may have, what it needs beside its connections


@dataclass(frozen=True)
class Idle:
    """So many connections, or as many as the limit of open files allows; held open for the measurement's length."""

    request: Request
    connections: int = 5000

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
        template = template_file(self.request, directory)
        count = min(self.connections, allowed)
        return generate(module("idle", address.port, seconds, count, template, first_number()), seconds)


def raise_file_limit() -> None:
    """As far as the system lets this process, for itself and all that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Crowd:
    """All connections, and how the first request of each went."""

    def __init__(self, port: int, template: bytes, number: int) -> None:
        self.port = port
        self.parts = template.split(SEQUENCE.encode())
        self.number = number
        self.turn = asyncio.Semaphore(_AT_ONCE)
        self.held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.latencies: list[float] = []
        self.not_2xx = self.broken = 0

    async def hold(self, count: int, seconds: float) -> None:
        """Opens `count` connections and keeps them; one that the gateway closes meanwhile counts as broken."""
        await asyncio.gather(*(self._ask(number) for number in range(count)))
        await asyncio.sleep(seconds)
        self.broken += sum(reader.at_eof() for reader, _ in self.held)

    async def _ask(self, number: int) -> None:
        async with self.turn:
            began = perf_counter()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(str(self.number + number).encode().join(self.parts))
                status = await _status(reader)
            except (OSError, ValueError):
                self.broken += 1
                return
            self.latencies.append(perf_counter() - began)
            self.not_2xx += status // 100 != 2
            self.held.append((reader, writer))


async def _status(reader: asyncio.StreamReader) -> int:
    received = b""
    while not (status := status_of(received)):
        data = await reader.read(65536)
        if not data:
            raise ConnectionError
        received += data
    return status


async def _main(port: int, seconds: float, count: int, template: bytes, number: int) -> None:
    began = perf_counter()
    crowd = _Crowd(port, template, number)
    await crowd.hold(count, seconds)
    report(crowd.latencies, perf_counter() - began, not_2xx=crowd.not_2xx, broken=crowd.broken)


if __name__ == "__main__":
    _port, _seconds, _count, _template, _number = sys.argv[1:]
    uvloop.run(_main(int(_port), float(_seconds), int(_count), Path(_template).read_bytes(), int(_number)))
