"""What is written once, however many routes need it: under which name, and of which service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from portico.config import Config
from portico.config.services import Upstream
from portico.render.losses import Losses


@dataclass(slots=True)
class Once:
    """The services of a configuration, and names that a target has not given yet.

    Names are of ASCII letters, digits and `ALSO`; any other character becomes `BETWEEN`.
    """

    config: Config
    losses: Losses
    _services: dict[tuple[str, str | None], Upstream] = field(default_factory=dict, init=False)
    _given: dict[object, str] = field(default_factory=dict, init=False)
    _counts: dict[str, int] = field(default_factory=dict, init=False)

    BETWEEN: ClassVar[str] = "_"
    ALSO: ClassVar[str] = ""

    def service(self, name: str, version: str | None) -> Upstream:
        """A service, or a version of it."""
        key = (name, version)
        if key not in self._services:
            self._services[key] = self.config.services[name].upstream(version)
        return self._services[key]

    def once(self, known: object, name: str) -> tuple[str, bool]:
        """The name of a thing, and whether it is new."""
        if known in self._given:
            return self._given[known], False
        self._given[known] = own = self.free(name)
        return own, True

    def free(self, name: str) -> str:
        """`NAME`, or `NAME_2` where that is taken."""
        letters = (each if each.isascii() and (each.isalnum() or each in self.ALSO) else self.BETWEEN for each in name)
        plain = "".join(letters)
        self._counts[plain] = number = self._counts.get(plain, 0) + 1
        return plain if number == 1 else self.free(f"{plain}{self.BETWEEN}{number}")
