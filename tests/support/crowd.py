"""Many clients at once: so many requests over so many connections, or a steady load beside a test."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}).*?\r\ncontent-length: (\d+)", re.IGNORECASE | re.DOTALL)


def storm(ports: Sequence[int], requests: int, connections: int, target: str) -> tuple[Counter[int], float]:
    """Send `requests` in all, as fast as it goes, to these ports in turn: statuses, and the seconds it took."""
    began = time.monotonic()
    statuses = asyncio.run(_storm(ports, requests, connections, target))
    return statuses, time.monotonic() - began


async def _storm(ports: Sequence[int], requests: int, connections: int, target: str) -> Counter[int]:
    each, rest = divmod(requests, connections)
    assert not rest
    ways = [await asyncio.open_connection("127.0.0.1", ports[n % len(ports)]) for n in range(connections)]
    statuses: Counter[int] = Counter()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_request(target) * each)
        for _ in range(each):
            statuses[(await _answer(reader))[0]] += 1
        writer.close()

    await asyncio.gather(*(one(*way) for way in ways))
    return statuses


def _request(target: str) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: gateway.test\r\n\r\n" % target.encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of a response, and whether the connection ends with it."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _HEAD.match(head)
    assert found, head
    await reader.readexactly(int(found[2]))
    return int(found[1]), b"\r\nconnection: close\r\n" in head.lower()


class Crowd:
    """Clients that send one request after the other until they are stopped; what they saw."""

    def __init__(self, port: int, target: str, connections: int = 8) -> None:
        self.port = port
        self.target = target
        self.connections = connections
        self.statuses: Counter[int | str] = Counter()
        self.seconds: list[float] = []
        self._stop = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _ask(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self.connections)))

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not self._stop:
            began = time.monotonic()
            writer.write(_request(self.target))
            try:
                status, is_last = await _answer(reader)
                self.statuses[status] += 1
            except (OSError, EOFError) as error:
                self.statuses[type(error).__name__] += 1
                is_last = True
            if is_last:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.002)
        writer.close()
