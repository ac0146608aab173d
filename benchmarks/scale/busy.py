"""How long processes have worked, to the nanosecond, whoever else uses the machine (Linux; Documentation/scheduler)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from support.proc import children

_ASK: Final = b"GET /livez HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
_PAUSE: Final = 0.001


def worked(pid: int) -> float:
    """Seconds of CPU of every thread of a process; 0 where it is gone."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return total / 1e9


def family(pid: int) -> list[int]:
    """A supervisor and its children."""
    return [pid, *children(pid)]


@dataclass
class Work:
    """CPU seconds of processes between the block's beginning and its end, and how long that took."""

    pids: list[int]
    seconds: float = 0.0
    of: dict[int, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """In percent of a core, of all of them."""
        return sum(self.of.values()) / self.seconds * 100


@contextmanager
def working(*pids: int) -> Iterator[Work]:
    """Measures the block."""
    work = Work(list(pids))
    before = {pid: worked(pid) for pid in pids}
    began = time.monotonic()
    yield work
    work.seconds = time.monotonic() - began
    work.of = {pid: worked(pid) - before[pid] for pid in pids}


class Stalls:
    """Asks a worker for /livez over and over, and notes how long it worked on something else meanwhile.

    A stall is counted in the worker's own CPU time: that it had to wait for a processor is no fault of its own.
    `waits` are by the clock, as a client sees them.
    """

    def __init__(self, port: int, worker: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(120)
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stalls: list[float] = []
        self.waits: list[float] = []

    @property
    def longest(self) -> float:
        """In milliseconds of the worker's CPU."""
        return max(self.stalls, default=0.0) * 1e3

    @property
    def p99(self) -> float:
        """In milliseconds by the clock."""
        return sorted(self.waits)[int(len(self.waits) * 0.99)] * 1e3

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._over.wait(_PAUSE):
            began, before = time.monotonic(), worked(self._worker)
            self._socket.sendall(_ASK)
            data = b""
            while b"\r\n\r\n" not in data:
                data += self._socket.recv(65536)
            self.stalls.append(worked(self._worker) - before)
            self.waits.append(time.monotonic() - began)


def busiest(pids: Iterable[int]) -> float:
    """CPU seconds of the one that has worked most."""
    return max(map(worked, pids))
