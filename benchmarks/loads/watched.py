"""A load on a gateway while a dashboard is open: its live streams are read as they come."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import Load, LoadError, Outcome
from benchmarks.request import Request

_STREAMS = ("live", "exchanges", "events")
_ADMIN = re.compile(r"^ *admin: '?127\.0\.0\.1:(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Watched:
    """A load, beside one client for each of the admin API's streams."""

    load: Load

    @property
    def request(self) -> Request:
        return self.load.request

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        with ExitStack() as stack:
            for name in _STREAMS:
                stack.enter_context(_stream(name, directory))
            return self.load.run(address, seconds, directory)


@contextmanager
def _stream(name: str, directory: Path) -> Iterator[None]:
    """Reads a stream until the end of the block. Raises LoadError where nothing comes."""
    found = _ADMIN.search((directory / "portico.yaml").read_text())
    if found is None:
        raise LoadError("the gateway's file names no port of an admin API")
    with socket.create_connection(("127.0.0.1", int(found[1])), 10) as client:
        head = f"GET /admin/{name} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        client.sendall(head.encode())
        if not client.recv(65536).startswith(b"HTTP/1.1 200 "):
            raise LoadError(f"/admin/{name} is no stream")
        reader = threading.Thread(target=_read, args=(client,))
        reader.start()
        try:
            yield
        finally:
            client.shutdown(socket.SHUT_RDWR)
            reader.join()


def _read(client: socket.socket) -> None:
    client.settimeout(None)
    while client.recv(65536):
        pass
