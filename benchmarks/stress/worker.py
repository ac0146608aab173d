"""A process as /proc shows it (Linux; man 5 proc): memory, descriptors, children."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Resident bytes: at the beginning, and the most since then."""

    before: int
    peak: int

    @property
    def growth(self) -> int:
        return max(0, self.peak - self.before)


@dataclass(frozen=True)
class Worker:
    """The one process that serves."""

    pid: int

    def begin(self) -> int:
        """Forget the peak so far; resident bytes now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._read("VmRSS")

    def since(self, before: int) -> Memory:
        """What became of `before`, which `begin` gave."""
        return Memory(before, self._read("VmHWM"))

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def _read(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        if found is None:
            raise ProcessLookupError(f"the worker {self.pid} is gone")
        return int(found[1]) * 1024


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def server_of(connection: socket.socket, pids: list[int]) -> Worker:
    """The one of `pids` that has the other end of a connection."""
    ends = (connection.getpeername()[1], connection.getsockname()[1])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if tuple(int(address.rpartition(":")[2], 16) for address in columns[1:3]) == ends:
            for pid in pids:
                if f"socket:[{columns[9]}]" in _open_files(pid):
                    return Worker(pid)
    raise ProcessLookupError("nobody holds the other end of this connection")


def _open_files(pid: int) -> set[str]:
    names = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed while we looked
            names.add(str(entry.readlink()))
    return names
