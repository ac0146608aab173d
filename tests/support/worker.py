"""A worker's memory and descriptors, before a load and after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .proc import descriptors, status_bytes


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
        """Forget the peak so far (man 5 proc: clear_refs); resident bytes now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return status_bytes(self.pid, "VmRSS")

    def since(self, before: int) -> Memory:
        """What became of `before`, which `begin` gave."""
        return Memory(before, status_bytes(self.pid, "VmHWM"))

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(descriptors(self.pid))
