"""Which directives hold at a place: those of its block, and of the blocks around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from portico.imports.nginx.syntax import Directive


class Level:
    """The directives of one block, by their names."""

    __slots__ = ("directives", "named")

    def __init__(self, directives: Iterable[Directive]) -> None:
        self.directives = tuple(directives)
        self.named: dict[str, list[Directive]] = {}
        for each in self.directives:
            self.named.setdefault(each.name, []).append(each)

    def __iter__(self) -> Iterator[Directive]:
        return iter(self.directives)


@dataclass(frozen=True, slots=True)
class Scope:
    """Blocks in one another, the outermost first."""

    levels: tuple[Level, ...]

    def inside(self, block: Iterable[Directive]) -> Scope:
        return Scope((*self.levels, Level(block)))

    def one(self, name: str) -> Directive | None:
        """A directive that says one thing: that of the innermost block counts."""
        for level in reversed(self.levels):
            if name in level.named:
                return level.named[name][-1]
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
            if len(names) == 1:
                found = level.named.get(names[0], [])
            else:
                found = [each for each in level if each.name in names] if {*names} & level.named.keys() else []
            if found:
                return found
        return []
