"""A tree without its wrong parts, so that the rest can still be checked and all problems be reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from portico.config.problems import KeyPath

Indexes = Mapping[str, list[int]]
"""For each top-level list, the original indexes of the items that were kept."""


def removable(path: KeyPath) -> KeyPath:
    """What to remove for an error at `path`: the whole list for an item of a list, the whole route for a route."""
    if path[0] in ("routes", "consumers"):
        return path[:2]
    inner = next((depth for depth, part in enumerate(path) if isinstance(part, int)), len(path))
    return path[:inner]


def without(wrong: Set[KeyPath], tree: Any) -> tuple[Any, Indexes]:
    """A copy of `tree` without the paths in `wrong`."""
    if not wrong:
        return tree, {}
    indexes: dict[str, list[int]] = {}
    return _without(wrong, tree, (), indexes), indexes


def _without(wrong: Set[KeyPath], value: Any, path: KeyPath, indexes: dict[str, list[int]]) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(wrong, item, (*path, key), indexes)
            for key, item in value.items()
            if (*path, key) not in wrong
        }
    if isinstance(value, list) and len(path) == 1:
        kept = [index for index in range(len(value)) if (*path, index) not in wrong]
        indexes[str(path[0])] = kept
        return [value[index] for index in kept]
    return value


def original(path: KeyPath, indexes: Indexes) -> KeyPath:
    """A path in the pruned tree as a path in the whole one."""
    match path:
        case (str(section), int(index), *rest) if section in indexes:
            return (section, indexes[section][index], *rest)
    return path


def is_consequence(path: KeyPath, wrong: Set[KeyPath], tree: Any) -> bool:
    """Whether a path seems wrong only because something below it, or what it names, was wrong and removed."""
    if any(removed[: len(path)] == path for removed in wrong):
        return True
    match path:
        case ("routes", int(index), "service" | "version" as target):
            service = ("services", tree["routes"][index].get("service"))
            needed = ("versions",) if target == "version" else ("url", "instances", "versions")
            return any(removed[:2] == service and (len(removed) == 2 or removed[2] in needed) for removed in wrong)
        case ("gateway", "listen", _, "routes", _):
            return any(removed[0] in ("services", "routes") for removed in wrong)
    return False
