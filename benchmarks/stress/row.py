"""What a scenario found, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from support.markdown import markdown
from support.worker import Memory

_HEAD = (
    "scenario", "gateway", "held or moved", "p50 ms", "with", "p99 ms", "with", "ratio",
    "RSS MiB", "peak", "growth", "failures", "verdict",
)  # fmt: skip


@dataclass
class Row:
    """One line of the table: latencies in ms without and with the load, `failures` of whatever was tried.

    `broken` says which promises were not kept; a row that is there to compare with has no verdict.
    """

    scenario: str
    gateway: str
    what: str
    memory: Memory
    p50: tuple[float, float] | None = None
    p99: tuple[float, float] | None = None
    failures: int = 0
    broken: list[str] = field(default_factory=list)
    is_judged: bool = True

    def expect(self, promise: bool, otherwise: str) -> None:
        """Note a promise that was not kept."""
        if not promise:
            self.broken.append(otherwise)

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.is_judged:
            return "-"
        return "; ".join(self.broken) or "ok"

    def has_failed(self) -> bool:
        """Whether the gateway under test broke a promise."""
        return self.is_judged and bool(self.broken)


def as_table(rows: Sequence[Row]) -> str:
    """All rows, for a terminal and for Markdown."""
    return markdown([_HEAD, *map(_cells, rows)])


def _cells(row: Row) -> list[str]:
    latencies = [_pair(row.p50), _pair(row.p99)]
    ratios = [f"{after / before:.2f}" for before, after in filter(None, (row.p50, row.p99))]
    sizes = [f"{size / (1 << 20):.1f}" for size in (row.memory.before, row.memory.peak, row.memory.growth)]
    return [
        row.scenario,
        row.gateway,
        row.what,
        *latencies[0],
        *latencies[1],
        ", ".join(ratios),
        *sizes,
        str(row.failures),
        row.verdict,
    ]


def _pair(values: tuple[float, float] | None) -> list[str]:
    return [f"{value:.2f}" for value in values] if values else ["", ""]
