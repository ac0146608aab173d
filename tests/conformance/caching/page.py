"""The part of `docs/caching.md` that is measured: sums, and a row per case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conformance.page import markdown, source

from .case import Case
from .client import RIGHT, Verdict

TITLES = {
    "storing": "What is stored",
    "selecting": "Which stored response a request gets",
    "freshness": "How long a response is fresh",
    "age": "Its age",
    "stale": "What may be served stale",
    "validation": "Validation",
    "preconditions": "Conditional requests",
    "ranges": "Ranges",
    "invalidation": "Invalidation",
    "requests": "Directives of requests",
    "targeted": "Targeted fields",
    "extensions": "QUERY, groups, No-Vary-Search, Cache-Status",
}
"""The files of cases, in the page's order."""
_NEWER = ("targeted", "extensions")
"""What came after RFC 9111, and what few caches have."""


@dataclass(frozen=True)
class Page:
    """What a run found: for each cache one verdict per case."""

    versions: dict[str, str]
    cases: list[Case]
    verdicts: dict[str, list[Verdict]]

    def sums(self) -> str:
        """How many cases each cache has right, of those that are required and of those that are allowed."""
        groups: list[tuple[str, Callable[[Case], bool]]] = [
            ("RFC 9110 and 9111: required", lambda case: case.must and case.file not in _NEWER),
            ("RFC 9110 and 9111: allowed", lambda case: not case.must and case.file not in _NEWER),
            ("later extensions: required", lambda case: case.must and case.file in _NEWER),
            ("later extensions: allowed", lambda case: not case.must and case.file in _NEWER),
        ]
        rows = []
        for name, belongs in groups:
            numbers = [number for number, case in enumerate(self.cases) if belongs(case)]
            right = [str(self._count(verdicts, numbers)) for verdicts in self.verdicts.values()]
            rows.append([name, str(len(numbers)), *right])
        return markdown([["right", "cases", *self.verdicts], *rows])

    @staticmethod
    def _count(verdicts: list[Verdict], numbers: list[int]) -> int:
        return sum(verdicts[number].outcome == RIGHT for number in numbers)

    def outcomes(self) -> str:
        """What the required cases that are not right came to."""
        required = [number for number, case in enumerate(self.cases) if case.must]
        kinds = {
            name: Counter(verdicts[number].outcome for number in required) for name, verdicts in self.verdicts.items()
        }
        names = sorted({kind for each in kinds.values() for kind in each} - {RIGHT})
        return markdown(
            [["required, but", *kinds], *([name, *(str(kinds[each][name]) for each in kinds)] for name in names)]
        )

    def text(self) -> str:
        """All that stands between the markers."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n\n".join([f"Compared: {versions}.", self.sums(), self.outcomes(), *self._sections()])

    def _sections(self) -> Iterator[str]:
        for file, title in TITLES.items():
            rows = [
                [case.name, "must" if case.must else "may", source(case.rfc), *self._row(number)]
                for number, case in enumerate(self.cases)
                if case.file == file
            ]
            yield f"#### {title}"
            yield markdown([["case", "", "RFC", *self.verdicts], *rows])

    def _row(self, number: int) -> list[str]:
        return [verdicts[number].outcome for verdicts in self.verdicts.values()]
