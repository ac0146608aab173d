"""One change between two configurations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What becomes of something."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Effect(StrEnum):
    """What that means for those who send requests."""

    LOOSENED = "loosened"
    """More of them get through than before."""
    TIGHTENED = "tightened"
    """Fewer of them do."""
    RETARGETED = "retargeted"
    """They get to another service, or get there under another path."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is other than before.

    `what` names it (`service shop`, `route admin`, `policy rate_limit`), `details` are the values before and after, in
    lines. `where` is the file and line of the new configuration, or of the old one for what is removed. `warning` is
    what should make an operator look twice.
    """

    kind: Kind
    what: str
    details: tuple[str, ...] = ()
    effect: Effect | None = None
    where: str = ""
    warning: str = ""

    def as_data(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "kind": self.kind.value,
            "what": self.what,
            "effect": self.effect.value if self.effect else None,
            "details": list(self.details),
            "where": self.where,
            "warning": self.warning or None,
        }
