"""How much a run does: the numbers that the command's options change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GROWTH: Final = 16 << 20
"""Bytes by which a worker may grow while a body of any size passes."""
SLOWER: Final = 2.0
"""Times as long as without the load a normal request may take."""


@dataclass(frozen=True)
class Plan:
    """Slow `connections` in all, `gib` of a large transfer, `streams` of events, clients that are `vanishing`.

    Latencies are measured for `seconds`, `rounds` times where they are judged.
    """

    connections: int
    gib: float
    streams: int
    vanishing: int
    rounds: int
    seconds: float
    distinct: int
    """Clients, or whatever else comes once, of each kind."""
    rate: float = 400.0
    """Normal requests per second beside the slow ones: far from what the worker could do."""

    @property
    def large(self) -> int:
        """Bytes of the largest transfers."""
        return int(self.gib * (1 << 30))

    @property
    def medium(self) -> int:
        """Bytes where a transfer is slow, or goes both ways."""
        return self.large // 10
