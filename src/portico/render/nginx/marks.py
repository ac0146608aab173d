"""What is said of responses in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_ALWAYS: Final = {"X-Request-ID": "$request_id", "Retry-After": "$retry_after", "Vary": "$vary_by_page"}
"""What all responses have. `$wait` and `$bare` say in a location whether the latter two are there."""


@dataclass(slots=True)
class Marks:
    """What is said of responses in one place."""

    added: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    """What is answered at once: preflights."""

    def add(self, name: str, value: str) -> None:
        self.added.append(f"add_header {name} {value} always;")

    def hide(self, name: str) -> None:
        line = f"proxy_hide_header {name};"
        if line not in self.hidden:
            self.hidden.append(line)

    def whole(self) -> list[str]:
        """All lines, with what all responses have."""
        return ["proxy_hide_header X-Request-ID;", *self.hidden, *self.fields]

    @property
    def fields(self) -> list[str]:
        """The lines of all fields."""
        return [*(f"add_header {name} {value} always;" for name, value in _ALWAYS.items()), *self.added]

    def lines(self, base: list[str]) -> list[str]:
        """The same, but none where they are those of all locations.

        nginx inherits such lines only where there are none of their kind.
        """
        whole = self.whole()
        return [] if whole == base else whole
