"""What several routes have in common, and what is written beside the routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from portico.config.levels import Merged
from portico.render.once import Once


@dataclass(slots=True)
class Names(Once):
    """What is written beside the sections of routes, in the order in which it was first asked for."""

    files: dict[str, str] = field(default_factory=dict)
    """Further files, by their names."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """The lines of the sections with stick tables, and of caches, by their heads."""
    checked: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """The section whose servers are checked, by service and version: others go by what those find."""
    cache: dict[object, list[str]] = field(default_factory=dict)
    """Lines that many routes have alike."""

    BETWEEN: ClassVar[str] = "-"
    ALSO: ClassVar[str] = "._-"


def of_policy(policies: Merged, key: str) -> object:
    """The settings of a policy; None where it is off."""
    return policies[key][0] if key in policies else None
