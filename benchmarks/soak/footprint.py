"""What a process holds, every half minute, and by how much that grows (Linux; man 5 proc_pid_smaps)."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from support.proc import descriptors

_SIZE: Final = re.compile(r"^(Pss|Rss):\s+(\d+) kB$", re.MULTILINE)
_HOUR: Final = 3600.0
_LEAST: Final = 1.5
"""Times as long as it settles a process has to live on for a verdict: half a MiB comes and goes with the load."""
_SAMPLES: Final = 10


@dataclass(frozen=True)
class Sample:
    """One look at a process: seconds since the run began, bytes, open files and sockets.

    `pss` counts a page that processes share by their shares of it.
    """

    at: float
    pss: int
    rss: int
    descriptors: int


def look(pid: int, at: float) -> Sample | None:
    """None where the process is gone."""
    try:
        sizes = dict(_SIZE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
        return Sample(at, int(sizes["Pss"]) * 1024, int(sizes["Rss"]) * 1024, len(descriptors(pid)))
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None


@dataclass
class Footprint:
    """All that was seen of one process of a kind (`worker`, `control`, `supervisor`)."""

    pid: int
    kind: str
    samples: list[Sample] = field(default_factory=list)

    def settled(self, settle: float) -> list[Sample]:
        """Without the first `settle` seconds of its life, in which it fills its caches."""
        return [each for each in self.samples if each.at >= self.samples[0].at + settle]

    def is_judged(self, settle: float) -> bool:
        """Whether it lived long enough for a verdict."""
        samples = self.settled(settle)
        return len(samples) >= _SAMPLES and samples[-1].at - samples[0].at >= _LEAST * settle

    def growth(self, settle: float) -> tuple[float, float]:
        """Bytes (`rss`) and descriptors an hour once it has settled; needs two samples.

        By `pss` a process grows when those end that it shared pages with, or write to them.
        """
        samples = self.settled(settle)
        return (
            _slope([(each.at, each.rss) for each in samples]) * _HOUR,
            _slope([(each.at, each.descriptors) for each in samples]) * _HOUR,
        )


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen): single peaks do not move it."""
    return statistics.median((y - x) / (after - before) for (before, x), (after, y) in combinations(points, 2))
