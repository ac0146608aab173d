"""Which directives hold at a place: those of its block, and of the blocks around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portico.imports.nginx.syntax import Directive


@dataclass(frozen=True, slots=True)
class Scope:
    """Blocks in one another, the outermost first."""

    levels: tuple[Sequence[Directive], ...]

    def inside(self, block: Sequence[Directive]) -> Scope:
        return Scope((*self.levels, block))

    def one(self, name: str) -> Directive | None:
        """A directive that says one thing: that of the innermost block counts."""
        for level in reversed(self.levels):
            for each in reversed(level):
                if each.name == name:
                    return each
        return None

    def value(self, name: str, default: str = "") -> str:
        """Its first argument."""
        found = self.one(name)
        return default if found is None or not found.args else found.args[0]

    def is_on(self, name: str) -> bool:
        return self.value(name, "off").lower() == "on"

    def all(self, *names: str) -> list[Directive]:
        """Directives that may stand several times: a block that has one of them has none of the blocks around it."""
        for level in reversed(self.levels):
            found = [each for each in level if each.name in names]
            if found:
                return found
        return []
