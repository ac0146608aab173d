"""What a scenario showed: rows of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Load
from benchmarks.metrics import Metric
from benchmarks.sample import Sample
from benchmarks.scenarios import Scenario, Variant
from support import cores

_BUSY = 0.95  # of the load's cores, from where on they may be what limits more than one worker


@dataclass(frozen=True)
class Row:
    """A peer in one variant of a scenario; `label` says both. One that is `slow` takes part in the first round only."""

    name: str
    label: str
    variant: Variant
    load: Load
    slow: bool = False


@dataclass
class Result:
    """The samples by row; `unusable` holds why a row has none or too few.

    `share` is how much of a core each process of a gateway was held to; 0 where it was not.
    """

    scenario: Scenario
    rounds: int
    seconds: float
    samples: dict[Row, list[Sample]] = field(default_factory=dict)
    unusable: dict[Row, str] = field(default_factory=dict)
    share: float = 0.0

    def row(self, name: str, variant: str = "") -> Row | None:
        """The row of a peer that was measured, by the peer's and the variant's name."""
        return next((row for row in self.samples if (row.name, row.variant.name) == (name, variant)), None)

    def is_valid(self, row: Row) -> bool:
        """Whether every request was answered with 2xx."""
        return not any(sample.outcome.failed for sample in self.samples[row])

    def median(self, metric: Metric, row: Row | None) -> float | None:
        """None where the row does not count, or does not for this metric on this machine."""
        if row is None or not self.is_valid(row) or not self.is_measurable(metric, row):
            return None
        return median(self.values(metric, row))

    def ratio(self, metric: Metric, above: Row | None, below: Row | None) -> float | None:
        """The median of the rounds' ratios; of the medians where one row has fewer rounds. None as for `median`."""
        dividend, divisor = self.median(metric, above), self.median(metric, below)
        if above is None or below is None or dividend is None or not divisor:
            return None
        pairs = [*zip(self.values(metric, above), self.values(metric, below), strict=False)]
        if len(pairs) < self.rounds or not all(value for _, value in pairs):
            return dividend / divisor
        return median(one / other for one, other in pairs)

    def values(self, metric: Metric, row: Row) -> Sequence[float]:
        """One per sample."""
        return [metric.value(sample) for sample in self.samples[row]]

    def lacks_room(self) -> bool:
        """Whether some of its numbers mean nothing on this machine."""
        return not all(self.is_measurable(metric, row) for metric in self.scenario.columns for row in self.samples)

    def is_measurable(self, metric: Metric, row: Row) -> bool:
        """Whether the number is about the gateway, as far as the load's share of the machine decides that."""
        workers = row.variant.workers
        if not metric.needs_room or workers == 1:
            return True
        has_cores = self.share > 0 or cores.leave_room(workers)
        return has_cores and median(sample.load_busy for sample in self.samples[row]) < _BUSY
