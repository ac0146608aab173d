"""Medians, ratios and spreads of samples as tables that read well both in a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import Result, Sample


@dataclass(frozen=True)
class Metric:
    """A column: its unit is in the title, `form` formats a value."""

    title: str
    value: Callable[[Sample], float]
    form: str
    is_compared: bool = False


METRICS = (
    Metric("CPU µs/request", lambda sample: sample.cpu, "{:.1f}", is_compared=True),
    Metric("requests/s", lambda sample: sample.rate, "{:.0f}", is_compared=True),
    Metric("p50 ms", lambda sample: sample.p50, "{:.2f}"),
    Metric("p99 ms", lambda sample: sample.p99, "{:.2f}", is_compared=True),
    Metric("RSS MiB", lambda sample: sample.resident / (1 << 20), "{:.1f}"),
    Metric("core busy", lambda sample: sample.busy, "{:.0%}"),
    Metric("not 2xx", lambda sample: sample.failed, "{:.0f}"),
)
BASELINES = ("nginx", "nginx+lua")
"""The peers that the others are divided by, by name: in the plain stack `nginx` is `nginx plain`."""

Rows = Sequence[Sequence[str]]


def medians(result: Result) -> str:
    """A row per peer, a column per metric; a peer with a failed request is marked and its row does not count."""
    head = ["", *(metric.title for metric in METRICS)]
    rows = [
        [_marked(label, samples), *(metric.form.format(_median(metric, samples)) for metric in METRICS)]
        for label, samples in result.samples.items()
    ]
    return markdown([head, *rows])


def ratios(result: Result) -> str:
    """The medians divided by those of each baseline that was measured without a failed request."""
    bases = [label for label in _baselines(result) if is_valid(result.samples[label])]
    columns = [(metric, base) for base in bases for metric in METRICS if metric.is_compared]
    head = ["", *(f"{metric.title.split()[0]} ÷ {base}" for metric, base in columns)]
    rows = [
        [_marked(label, samples), *(_ratio(metric, samples, result.samples[base]) for metric, base in columns)]
        for label, samples in result.samples.items()
    ]
    return markdown([head, *rows]) if columns else ""


def spreads(result: Result) -> str:
    """The least and the greatest value of each number."""
    head = ["", *(metric.title for metric in METRICS)]
    rows = [
        [_marked(label, samples), *(_spread(metric, samples) for metric in METRICS)]
        for label, samples in result.samples.items()
    ]
    return markdown([head, *rows])


def is_valid(samples: Sequence[Sample]) -> bool:
    """Whether every request was answered with 2xx."""
    return not any(sample.failed for sample in samples)


def markdown(rows: Rows) -> str:
    """The first row is the head; the first column is left-aligned, numbers are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join("| " + " | ".join(_justified(line, widths)) + " |" for line in lines)


def _baselines(result: Result) -> list[str]:
    labels = {peer.name: peer.label for peer in result.peers}
    return [labels[name] for name in BASELINES if labels.get(name) in result.samples]


def _marked(label: str, samples: Sequence[Sample]) -> str:
    return label if is_valid(samples) else f"{label} (INVALID)"


def _median(metric: Metric, samples: Sequence[Sample]) -> float:
    return median(metric.value(sample) for sample in samples)


def _ratio(metric: Metric, samples: Sequence[Sample], base: Sequence[Sample]) -> str:
    below = _median(metric, base)
    return f"{_median(metric, samples) / below:.2f}" if below and is_valid(samples) else "n/a"


def _spread(metric: Metric, samples: Sequence[Sample]) -> str:
    values = [metric.value(sample) for sample in samples]
    return f"{metric.form.format(min(values))} to {metric.form.format(max(values))}"


def _justified(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = line
    return [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
