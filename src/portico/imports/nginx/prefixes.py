"""Prefixes that have to be written as patterns: nginx's go by letters, those of routes by whole segments."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Final

from portico.imports.nginx.locations import Branch, Chooser, Location
from portico.imports.nginx.policies import guards_of
from portico.imports.nginx.syntax import Directive

_REFUSING: Final = (
    "allow",
    "deny",
    "auth_basic",
    "auth_request",
    "internal",
    "satisfy",
    "access_by_lua_block",
    "access_by_lua_file",
    "auth_jwt",
)

Made = dict[Location, list[Branch]]
"""The branches of locations, in the order in which they are asked."""


def as_patterns(chooser: Chooser, *, in_patterns: bool) -> None:
    """Which prefixes are written as patterns: those that refuse requests by letters, and all that are longer."""
    for each in chooser.prefixes:
        each.as_pattern = in_patterns or (not each.path.endswith("/") and _is_guarded(each))
    _spread(chooser)


def _spread(chooser: Chooser) -> None:
    """What is longer than a prefix that is written as a pattern is written as one, too."""
    patterns = {each.path for each in chooser.prefixes if each.as_pattern}
    for each in chooser.prefixes if patterns else ():
        if _above(each.path, patterns) is not None:
            each.as_pattern = True


def _above(path: str, known: Container[str]) -> str | None:
    """The longest of the known beginnings of a path that are shorter than it."""
    return next((path[:end] for end in range(len(path) - 1, 0, -1) if path[:end] in known), None)


def _is_guarded(location: Location) -> bool:
    for each in location.block:
        if each.name in _REFUSING and each.value != "off" and not (each.name == "allow" and each.value == "all"):
            return True
        if each.name == "return" and re.fullmatch(r"[45]\d\d", each.value):
            return True
    return False


def _guarded_by(branches: Sequence[Branch]) -> set[Directive]:
    """What may refuse requests of a location: directives, and the location itself where some of its routes do."""
    found = {each for branch in branches for lines in guards_of(branch.scope).values() for each in lines}
    for branch in branches:
        status = branch.keys.get("respond")
        status = status.get("status", 200) if isinstance(status, dict) else status or 200
        if branch.closed is not None or status >= 400:
            found.add(branch.directive)
    return found


def grow(chooser: Chooser, made: Mapping[Location, list[Branch]]) -> bool:
    """Whether prefixes have become patterns, before which those have to be asked that are longer."""
    before = {each for each in chooser.prefixes if each.as_pattern}
    by_path = {each.path: each for each in chooser.prefixes}
    for each in chooser.prefixes:
        guards = _guarded_by(made.get(each, ())) if not each.path.endswith("/") else None
        if guards and not each.as_pattern and (shorter := _above(each.path, by_path)) is not None:
            each.as_pattern = not guards <= _guarded_by(made.get(by_path[shorter], ()))
    paths = sorted(each.path for each in chooser.prefixes)
    continued = {path for path, following in pairwise(paths) if following.startswith(path)}
    for each in chooser.prefixes:
        if each.path in continued and any(branch.path.startswith("~") for branch in made.get(each, ())):
            each.as_pattern = True
    _spread(chooser)
    return before != {each for each in chooser.prefixes if each.as_pattern}
