"""What several routes have in common, and what is written beside the routes."""

from __future__ import annotations

from dataclasses import dataclass, field

from portico.config import Config, Upstream
from portico.config.levels import Merged
from portico.render.losses import Losses


@dataclass(slots=True)
class Names:
    """What is written beside the sections of routes, in the order in which it was first asked for."""

    config: Config
    losses: Losses
    files: dict[str, str] = field(default_factory=dict)
    """Further files, by their names."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """The lines of the sections with stick tables, and of caches, by their heads."""
    checked: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """The section whose servers are checked, by service and version: others go by what those find."""
    cache: dict[object, list[str]] = field(default_factory=dict)
    """Lines that many routes have alike."""
    _services: dict[tuple[str, str | None], Upstream] = field(default_factory=dict)
    _known: dict[object, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def service(self, name: str, version: str | None) -> Upstream:
        """A service, or a version of it."""
        key = (name, version)
        if key not in self._services:
            self._services[key] = self.config.services[name].upstream(version)
        return self._services[key]

    def once(self, known: object, name: str) -> tuple[str, bool]:
        """The name of a thing, and whether it is new."""
        if known in self._known:
            return self._known[known], False
        self._known[known] = own = self.free(name)
        return own, True

    def free(self, name: str) -> str:
        """`NAME`, or `NAME-2` where that is taken."""
        plain = "".join(
            letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name
        )
        self._counts[plain] = number = self._counts.get(plain, 0) + 1
        return plain if number == 1 else self.free(f"{plain}-{number}")


def of_policy(policies: Merged, key: str) -> object:
    """The settings of a policy; None where it is off."""
    return policies[key][0] if key in policies else None
