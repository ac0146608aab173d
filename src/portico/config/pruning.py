"""A tree less its wrong parts, so that the rest can still be checked and every problem be told at once."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from portico.config.problems import KeyPath

Places = Mapping[str, list[int]]
"""For each list at the top of the file, where the items that stayed had stood."""


def removable(path: KeyPath) -> KeyPath:
    """What has to go for the wrong thing at `path` to be gone: of a list the whole list, of a route the whole route."""
    if path[0] in ("routes", "consumers"):
        return path[:2]
    inner = next((depth for depth, part in enumerate(path) if isinstance(part, int)), len(path))
    return path[:inner]


def without(wrong: Set[KeyPath], tree: Any) -> tuple[Any, Places]:
    """A copy of `tree` that lacks the places in `wrong`."""
    if not wrong:
        return tree, {}
    places: dict[str, list[int]] = {}
    return _without(wrong, tree, (), places), places


def _without(wrong: Set[KeyPath], value: Any, path: KeyPath, places: dict[str, list[int]]) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(wrong, item, (*path, key), places) for key, item in value.items() if (*path, key) not in wrong
        }
    if isinstance(value, list) and len(path) == 1:
        kept = [place for place in range(len(value)) if (*path, place) not in wrong]
        places[str(path[0])] = kept
        return [value[place] for place in kept]
    return value


def moved(path: KeyPath, places: Places) -> KeyPath:
    """A place in the pruned tree as a place in the whole one."""
    match path:
        case (str(section), int(place), *rest) if section in places:
            return (section, places[section][place], *rest)
    return path


def is_consequence(path: KeyPath, wrong: Set[KeyPath], tree: Any) -> bool:
    """Whether a place seems wrong only because something in it, or the service it names, was wrong and taken out."""
    if any(gone[: len(path)] == path for gone in wrong):
        return True
    match path:
        case ("routes", int(place), "service" | "version" as target):
            service = ("services", tree["routes"][place].get("service"))
            needed = ("versions",) if target == "version" else ("url", "instances", "versions")
            return any(gone[:2] == service and (len(gone) == 2 or gone[2] in needed) for gone in wrong)
    return False
