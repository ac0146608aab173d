"""What a rendering could not say, and where that is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from portico.config import Config
from portico.config.problems import Finding, KeyPath


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that is written in `file`, `line`, and that the target does not do, or does otherwise."""

    file: str | None
    line: int | None
    what: str
    why: str

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{where}: {self.what}: {self.why}" if where else f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Rendering:
    """The files of the target by their names, the main one first, and what they do not say."""

    files: dict[str, str]
    losses: tuple[Loss, ...]
    private: frozenset[str] = frozenset()
    """The names of files with secrets in them: nobody else may read these."""
    otherwise: tuple[str, ...] = ()
    """What the target does otherwise with any configuration, or with all routes of a kind: sentences."""


@dataclass(slots=True)
class Losses:
    """Collects them: each place and reason once."""

    config: Config
    _found: dict[tuple[KeyPath, str], None] = field(default_factory=dict)

    def add(self, path: KeyPath, why: str) -> None:
        """What is written at `path` is lost, and `why`."""
        self._found[path, why] = None

    def all(self) -> tuple[Loss, ...]:
        """All of them, in the order of the file."""
        losses = [self._located(path, why) for path, why in self._found]
        return tuple(sorted(losses, key=lambda loss: (loss.file or "", loss.line or 0, loss.what, loss.why)))

    def _located(self, path: KeyPath, why: str) -> Loss:
        problem = self.config.problem(Finding(path, why, at_key=True))
        return Loss(problem.file, problem.line, problem.key, problem.message)
