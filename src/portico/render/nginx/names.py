"""What several routes have in common, once each and with a name: maps, zones and upstreams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from portico.config import Config
from portico.render.losses import Losses
from portico.render.nginx.text import block


@dataclass(slots=True)
class Names:
    """What is written beside the servers, in the order in which it was first asked for."""

    config: Config
    losses: Losses
    blocks: dict[str, list[str]] = field(default_factory=dict)
    """Maps and the like, by their names."""
    zones: dict[str, str] = field(default_factory=dict)
    """The lines of zones, by their names."""
    upstreams: dict[str, list[str]] = field(default_factory=dict)
    base: list[str] = field(default_factory=list)
    """What is said of responses everywhere: a location that says just this says nothing."""
    _known: dict[object, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def map(self, name: str, source: str, lines: Sequence[str]) -> str:
        """A variable that a map makes; those that are made alike are one. Gives its name, with the dollar."""
        known = (source, *lines)
        if known not in self._known:
            self._known[known] = own = self.free(name)
            self.blocks[own] = block(f"map {source} ${own}", lines)
        return "$" + self._known[known]

    def split(self, name: str, source: str, lines: Sequence[str]) -> str:
        """The same for a variable that shares requests out."""
        own = self.free(name)
        self.blocks[own] = block(f"split_clients {source} ${own}", lines)
        return "$" + own

    def once(self, known: object, name: str) -> tuple[str, bool]:
        """The name of a thing, and whether it is new."""
        if known in self._known:
            return self._known[known], False
        self._known[known] = own = self.free(name)
        return own, True

    def free(self, name: str) -> str:
        """`NAME`, or `NAME_2` where that is taken."""
        plain = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)
        self._counts[plain] = number = self._counts.get(plain, 0) + 1
        return plain if number == 1 else self.free(f"{plain}_{number}")
