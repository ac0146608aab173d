"""The part of `docs/conformance.md` that is measured: counts, and a row per case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .outcomes import lets_through

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
OWN = "Portico"


@dataclass(frozen=True)
class Table:
    """The outcomes of a corpus: for each gateway one per case."""

    title: str
    cases: list[Any]
    outcomes: dict[str, list[str]]

    def alone(self, lets: Callable[[str], bool]) -> list[str]:
        """The cases that Portico lets through and nobody else does."""
        others = [name for name in self.outcomes if name != OWN]
        return [
            f"{case['file']}: {case['name']}"
            for number, case in enumerate(self.cases)
            if others
            and lets(self.outcomes[OWN][number])
            and not any(lets(self.outcomes[name][number]) for name in others)
        ]

    def laxer(self, than: str) -> list[str]:
        """The cases that Portico lets through and this one refuses with a status."""
        pairs = zip(self.cases, self.outcomes[OWN], self.outcomes[than], strict=True)
        return [case["name"] for case, own, other in pairs if lets_through(own) and other.isdigit()]

    def sections(self) -> Iterator[str]:
        """A table per file of the corpus."""
        for file in dict.fromkeys(case["file"] for case in self.cases):
            kind, _, topic = file.partition("_")
            rows = [
                [case["name"], source(case["rfc"]), *(self.outcomes[name][number] for name in self.outcomes)]
                for number, case in enumerate(self.cases)
                if case["file"] == file
            ]
            yield f"#### {kind.capitalize()}s: {topic.replace('_', ' ')}"
            yield markdown([["case", "RFC", *self.outcomes], *rows])

    def counts(self) -> list[list[str]]:
        """Per gateway how often each outcome came about, refusals by any status taken together."""
        kinds = {name: Counter(map(_kind, outcomes)) for name, outcomes in self.outcomes.items()}
        order = sorted({kind for each in kinds.values() for kind in each}, key=lambda kind: (-kinds[OWN][kind], kind))
        return [
            [f"{self.title}: {len(self.cases)}", *self.outcomes],
            *([kind, *(str(kinds[name][kind]) for name in self.outcomes)] for kind in order),
        ]


@dataclass(frozen=True)
class Page:
    """What a run found."""

    versions: dict[str, str]
    tables: list[Table]

    def counts(self) -> str:
        """How often each outcome came about."""
        return "\n\n".join(markdown(table.counts()) for table in self.tables)

    def text(self) -> str:
        """All that stands between the markers."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        parts = [f"Compared: {versions}.", self.counts(), *self._differences()]
        for table in self.tables:
            parts.extend(table.sections())
        return "\n\n".join(parts)

    def _differences(self) -> Iterator[str]:
        for table in self.tables:
            for name in table.outcomes:
                if name != OWN and (names := table.laxer(name)):
                    yield f"{table.title} that Portico lets through and {name} refuses: {'; '.join(names)}."


def write(path: Path, text: str) -> None:
    """Put what was measured between the markers of the page at `path`."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _kind(outcome: str) -> str:
    if outcome.isdigit():
        return "refused with a status" if int(outcome) >= 400 else "answered by itself"
    return outcome


def source(rfc: str) -> str:
    """The section as tables name it."""
    return rfc.removeprefix("RFC ").replace(", section ", " §")


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [escaped[0], ["---"] * len(escaped[0]), *escaped[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
