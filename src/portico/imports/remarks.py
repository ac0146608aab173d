"""What is said of the lines of a source: whether each was taken, means something else now, or was left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from portico.core.printing import printable

Kind: TypeAlias = Literal["taken", "changed", "left"]
"""`taken`: it means the same here. `changed`: it is there, and means something else. `left`: it has no counterpart."""

_LONGEST = 160
"""Letters of what is quoted of a source."""


class Where(NamedTuple):
    """A line of a source. `line` counts from 1; None where the file has no lines of its own for it."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Remark:
    """What became of `what`, which is written in `file`, `line`, and `why`."""

    file: str
    line: int | None
    kind: Kind
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{Where(self.file, self.line)}: {self.kind}: {self.text}"

    @property
    def text(self) -> str:
        """What and why, on one line."""
        return f"{self.what}: {self.why}" if self.why else self.what


class SourceError(Exception):
    """A source that is refused; `where` is the line at fault."""

    def __init__(self, where: Where, message: str) -> None:
        super().__init__(where, message)
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.message}")


def quoted(text: str, longest: int = _LONGEST) -> str:
    """A piece of a source on one line, cut where it is long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"
