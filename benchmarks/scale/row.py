"""What is measured: a row has figures, each with a goal, and a table has rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.scale.build import Build
from support.markdown import markdown

Measured = Mapping[str, float]
"""By what a figure is called; one that is missing could not be measured."""
_HEAD: Final = ("what", "goal", "old", "new", "met")


@dataclass(frozen=True)
class Figure:
    """One number of a row, and the `most` that it may be; without one it is there to compare with."""

    what: str
    unit: str
    most: float | None = None

    def written(self, value: float | None) -> str:
        """With its unit."""
        return "not measured" if value is None else f"{_short(value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Row:
    """A thing that grows. `measure` starts what it needs, and takes a minute at most where the build is a good one.

    It may raise: what a build cannot do at all is a result too.
    """

    name: str
    figures: Sequence[Figure]
    measure: Callable[[Build], Measured]


@dataclass
class Result:
    """What came of a row, by build: numbers, or words where it failed."""

    row: Row
    old: Measured | str = ""
    new: Measured | str = ""

    def misses(self) -> list[str]:
        """The figures of the new build that are above their goals."""
        return [f"{self.row.name}, {each.what}" for each in self.row.figures if self._is_met(each) is False]

    def lines(self) -> list[list[str]]:
        """For the table."""
        return [self._line(each) for each in self.row.figures]

    def _line(self, figure: Figure) -> list[str]:
        goal = "" if figure.most is None else f"≤ {figure.written(figure.most)}"
        is_met = {True: "yes", False: "no", None: ""}[self._is_met(figure)]
        cells = [_cell(figure, each) for each in (self.old, self.new)]
        return [f"{self.row.name}: {figure.what}", goal, *cells, is_met]

    def _is_met(self, figure: Figure) -> bool | None:
        if figure.most is None:
            return None
        value = None if isinstance(self.new, str) else self.new.get(figure.what)
        return value is not None and value <= figure.most


def as_table(results: Sequence[Result]) -> str:
    """All, for a terminal and for Markdown."""
    return markdown([_HEAD, *(line for result in results for line in result.lines())])


def _cell(figure: Figure, measured: Measured | str) -> str:
    return measured if isinstance(measured, str) else figure.written(measured.get(figure.what))


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
