"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ENVIRONMENT = "(environment)"
"""The first part of the path of a finding about a variable; the second is its name."""

KeyPath = tuple[str | int, ...]
"""Where a value is: names of keys and indexes of lists, from the top of the file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to fix. `line` and `column` count from 1; `suggestion` is the nearest right word.

    `rule` is the name of the warning, which stays the same whatever the words are.
    """

    file: str | None
    line: int | None
    column: int | None
    key: str
    message: str
    suggestion: str | None = None
    rule: str = ""

    def __str__(self) -> str:
        position = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        where = [":".join(position)] if position else []
        hint = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return ": ".join([*where, *([self.key] if self.key else []), self.message]) + hint


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds everything found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its line is looked up.

    `at_key` points at the key rather than at its value; `missing` says that a required key is not written.
    """

    path: KeyPath
    message: str
    suggestion: str | None = None
    at_key: bool = False
    missing: bool = False


def dotted(path: KeyPath) -> str:
    """`services.gemini.instances[0].url`; a key that is not printable is escaped."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if text.isprintable() else ascii(text)[1:-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was probably meant to be: misspelled, or the same words and more."""
    names = {name.lower(): name for name in sorted(known)}
    written = word.lower().replace("-", "_")[:100]
    close = [(edits, name) for name in names if (edits := _edits(written, name)) is not None]
    if close:
        return names[min(close)[1]]
    parts = set(written.split("_"))
    longer = [name for name in names if parts < set(name.split("_"))]
    return names[longer[0]] if len(longer) == 1 else None


def _edits(written: str, name: str) -> int | None:
    """How many edits make one word of the other; None where they are too many for a misspelling, in any part."""
    pairs = list(zip(written.split("_"), name.split("_"), strict=False))
    if written.count("_") != name.count("_"):
        pairs = [(written, name)]
    total = 0
    for one, other in pairs:
        edits = _distance(one, other)
        if edits > max(len(other) // 3, max(len(one), len(other)) > 2):
            return None
        total += edits
    return total


def _distance(one: str, other: str) -> int:
    """The optimal string alignment distance: two letters in the wrong order are one edit, too."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one):
        line = [row + 1]
        for column, wanted in enumerate(other):
            edits = min(last[column + 1] + 1, line[column] + 1, last[column] + (letter != wanted))
            if row and column and letter == other[column - 1] and one[row - 1] == wanted:
                edits = min(edits, before[column - 1] + 1)
            line.append(edits)
        before, last = last, line
    return last[-1]
