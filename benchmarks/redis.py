"""A Valkey or Redis for gateways that share a limit: on the cores of the load, for it is not what is measured."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.children import child, free_port
from benchmarks.cores import LOAD
from benchmarks.readiness import comes_true
from portico.net.redis.server import find_server

_WITHIN = 10.0  # seconds to start


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """The URL of a new one that keeps nothing; empty where there is no server."""
    program, port = find_server(), free_port()
    if program is None:
        yield ""
        return
    argv = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with child(argv, directory, LOAD):
        comes_true(lambda: _answers(port), _WITHIN)
        yield f"redis://127.0.0.1:{port}/0"


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(5) == b"+PONG"
    return False
