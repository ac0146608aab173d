"""What a plugin comes to: policies of the routes that it holds for, and whether they have to be closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from portico.imports.draft import Draft
from portico.imports.kong.entities import Plugin
from portico.imports.located import Value


@dataclass(slots=True)
class Piece:
    """A plugin's part in a route. `closed` is why the route must not let requests through."""

    policies: dict[str, Any] = field(default_factory=dict)
    route: dict[str, Any] = field(default_factory=dict)
    """Keys of the route itself: `body_size`, `respond`, `redirect`."""
    uri: str = ""
    """The path that the service gets, with Kong's `$(…)` in it."""
    closed: str = ""


@dataclass(slots=True)
class Reading:
    """What plugins are read with. `groups` has the consumers of each ACL group; `secrets` the names of variables."""

    draft: Draft
    credentials: dict[str, list[tuple[Value, str]]]
    groups: dict[str, list[str]]
    anonymous_refused: set[str]
    """The names of consumers who have a guard of their own, and so do not stand for callers without credentials."""
    hashed: bool = False
    """Whether passwords of the file are hashes of Kong's."""
    auth: frozenset[str] = frozenset()
    """The plugins of the route that check who asks, by name."""

    def changed(self, plugin: Plugin, key: str, why: str) -> None:
        """A key of the plugin's configuration means something else here."""
        value = plugin.config.get(key) if key else plugin.value.get("name")
        self.draft.changed(value.where, f"{plugin.name}: {key}" if key else plugin.name, why)

    def left(self, plugin: Plugin, key: str, why: str) -> None:
        """A key of the plugin's configuration has no counterpart."""
        value = plugin.config.get(key) if key else plugin.value.get("name")
        self.draft.left(value.where, f"{plugin.name}: {key}" if key else plugin.name, why)

    def unknown(self, plugin: Plugin, *known: str) -> None:
        """Say of all other keys that they are left."""
        for key, value in plugin.config.entries().items():
            if key not in known and value.raw not in (None, False, "", [], {}):
                self.draft.left(value.where, f"{plugin.name}: {key}", "there is no counterpart")


Convert: TypeAlias = Callable[[Plugin, Reading], Piece]

AUTH: Final = frozenset({"jwt", "key-auth", "basic-auth"})
"""The plugins that check who asks, and that there is something for here."""


def closed(why: str) -> Piece:
    """What closes a route."""
    return Piece(closed=why)
