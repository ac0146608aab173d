"""One measurement."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load import Outcome


@dataclass(frozen=True)
class Sample:
    """What a gateway, or the service itself, did under a load.

    `cpu` in seconds, `busiest` that of the process with most; `resident` and `growth` (by which the peak was above
    the beginning) in bytes; `load_busy` is the share of the time for which the load's cores worked.
    """

    outcome: Outcome
    cpu: float
    busiest: float
    resident: int
    growth: int
    load_busy: float
