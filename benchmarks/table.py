"""Medians, ratios and spreads of samples as tables that read well both in a terminal and as Markdown."""

from __future__ import annotations

from statistics import median

from benchmarks.metrics import P50, P99, Metric
from benchmarks.result import Result, Row
from support.markdown import markdown

BASELINES = ("nginx", "nginx+lua")
"""The peers that the others are divided by, by name: in the plain stack `nginx` is `nginx plain`."""

NOT_MEASURABLE = "not measurable"
"""In place of a number that the machine is too small for."""


def medians(result: Result) -> str:
    """A row per peer and variant, a column per metric; one with a failed request is marked and does not count."""
    columns = result.scenario.columns
    rows = [[_marked(result, row), *(_median(result, metric, row) for metric in columns)] for row in result.samples]
    return markdown([["", *(metric.title for metric in columns)], *rows])


def ratios(result: Result) -> str:
    """The medians divided by those of each baseline in the same variant, and of the same peer in the first variant.

    Behind them what a gateway adds to the latency of going to the service directly, where that was measured.
    """
    compared = [metric for metric in result.scenario.columns if metric.is_compared]
    bases = [name for name in BASELINES if any(row.name == name for row in result.samples)]
    first = result.scenario.variants[0].name
    head = [
        f"{metric.title.split()[0]} ÷ {base}" for base in [*bases, *([first] if first else [])] for metric in compared
    ]
    direct = result.row("direct")
    head += [f"{metric.title} added" for metric in (P50, P99)] if direct else []
    rows = []
    for row in result.samples:
        others = [result.row(base, row.variant.name) for base in bases]
        others += [result.row(row.name, first)] if first else []
        cells = [_ratio(result, metric, row, other) for other in others for metric in compared]
        cells += [_difference(result, metric, row, direct) for metric in (P50, P99)] if direct else []
        rows.append([_marked(result, row), *cells])
    return markdown([["", *head], *rows]) if head else ""


def spreads(result: Result) -> str:
    """The least and the greatest value of each number."""
    columns = result.scenario.columns
    rows = [[_marked(result, row), *(_spread(result, metric, row) for metric in columns)] for row in result.samples]
    return markdown([["", *(metric.title for metric in columns)], *rows])


def _marked(result: Result, row: Row) -> str:
    return row.label if result.is_valid(row) else f"{row.label} (INVALID)"


def _median(result: Result, metric: Metric, row: Row) -> str:
    if not result.is_measurable(metric, row):
        return NOT_MEASURABLE
    return metric.form.format(median(result.values(metric, row)))


def _ratio(result: Result, metric: Metric, row: Row, base: Row | None) -> str:
    above, below = result.median(metric, row), result.median(metric, base)
    return f"{above / below:.2f}" if above is not None and below else "n/a"


def _difference(result: Result, metric: Metric, row: Row, base: Row) -> str:
    longer, shorter = result.median(metric, row), result.median(metric, base)
    return metric.form.format(longer - shorter) if longer is not None and shorter is not None else "n/a"


def _spread(result: Result, metric: Metric, row: Row) -> str:
    values = result.values(metric, row)
    return f"{metric.form.format(min(values))} to {metric.form.format(max(values))}"
