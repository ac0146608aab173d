"""Locations: which requests nginx takes there, and what it does with them, as branches of which each is a route."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portico.imports.nginx.narrowing import Narrow
from portico.imports.nginx.patterns import encoded, escaped, exact_path, matches, pattern_path, prefix_path
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.variables import Variables
from portico.imports.remarks import Where

_KINDS: Final = ("=", "^~", "~", "~*")


@dataclass(slots=True, eq=False)
class Location:
    """A `location`: its `kind` is `=`, `^~`, `~`, `~*`, `@` for a named one, or nothing for a plain prefix."""

    directive: Directive
    kind: str
    path: str
    scope: Scope
    outer: Location | None = None
    """The location that it stands in."""
    as_pattern: bool = False
    """Whether its prefix is written as a pattern, since it is one by letters, or has to come before other patterns."""
    unsaid: str = ""
    """Why it cannot be said which requests it takes, but that it takes no others than those of its pattern."""

    @property
    def where(self) -> Where:
        return self.directive.where

    @property
    def block(self) -> Sequence[Directive]:
        return self.directive.block or ()

    @property
    def is_prefix(self) -> bool:
        return self.kind in ("", "^~")

    @property
    def is_pattern(self) -> bool:
        return self.kind in ("~", "~*")

    def route_path(self, used: Sequence[str] = ()) -> str:
        """The path of routes for all that it takes."""
        if self.kind == "=":
            return exact_path(self.path)
        if self.is_pattern:
            return pattern_path(self.path, ignores_case=self.kind == "~*", used=used)
        if self.as_pattern:
            return f"~ ^{escaped(encoded(self.path))}"
        return prefix_path(self.path)


@dataclass(slots=True, eq=False)
class Branch:
    """What becomes of some requests: a route's path, its conditions, and its keys but for policies."""

    path: str
    narrow: Narrow
    keys: dict[str, Any]
    scope: Scope
    variables: Variables
    where: Where
    directive: Directive
    is_proxied: bool = False
    cors: list[Directive] = field(default_factory=list)
    closed: tuple[Directive, str] | None = None
    label: str = ""
    remarks: list[tuple[Directive, str]] = field(default_factory=list)
    """What means something else here."""


def locations_of(block: Sequence[Directive], scope: Scope, outer: Location | None = None) -> Iterator[Location]:
    """All of a server, those inside others too: patterns inside one come before those around it."""
    for each in block:
        if each.name != "location" or each.block is None or not each.args:
            continue
        kind, path = head_of(each)
        unsaid = ""
        if outer is not None and kind in ("~", "~*"):
            path, unsaid = _inside(outer, path)
        location = Location(each, kind, path, scope.inside(each.block), outer, unsaid=unsaid)
        yield from locations_of(each.block, location.scope, location)
        yield location


def _inside(outer: Location, path: str) -> tuple[str, str]:
    """A pattern that takes what another takes below a location, and why there is none but a wider one."""
    if outer.is_prefix:
        return (path if path.startswith("^") else below(outer.path, path)), ""
    if path.startswith("^") and "|" not in path and outer.path.startswith("^"):
        return path, ""
    begins = re.fullmatch(r"\^((?:[\w/-]|\\[^A-Za-z0-9])*)/", outer.path)
    if begins and re.match(r"\\[^A-Za-z0-9/]|[\w/-]", path):
        return below(begins[1].replace("\\", "") + "/", path), ""
    return path, "a pattern inside another one"


def below(prefix: str, pattern: str) -> str:
    """A pattern for the paths of a prefix in which another pattern finds something."""
    if "|" in pattern:
        pattern = f"(?:{pattern})"
    if prefix.endswith("/") and re.match(r"(?:\(\?:|\(|\[|\\)*/", pattern):  # the slash may be that of the prefix
        return f"^{escaped(prefix[:-1])}(?:/.*)?{pattern}"
    return f"^{escaped(prefix)}.*{pattern}"


def in_order(locations: Sequence[Location]) -> list[Location]:
    """The patterns, and the prefixes that have to be asked before some of them, in the order in which nginx asks.

    A prefix has the patterns inside it asked first, then those beside it, but for `^~`; and what is inside a location
    or beside it counts only where no longer prefix takes the path. So patterns come a second time, for a longer prefix
    alone, where that has to come before others.
    """
    inside: dict[Location | None, list[Location]] = {}
    for each in locations:
        inside.setdefault(each.outer, []).append(each)
    return _level(inside, None, [])[0]


def _level(
    inside: dict[Location | None, list[Location]], outer: Location | None, around: Sequence[Location]
) -> tuple[list[Location], list[Location]]:
    """What is asked first of the locations in one, and the prefixes that come after all patterns."""
    patterns = [each for each in inside.get(outer, ()) if each.is_pattern]
    prefixes = sorted((each for each in inside.get(outer, ()) if each.is_prefix), key=lambda each: -len(each.path))
    before = {each: _level(inside, each, around if each.kind == "^~" else [*patterns, *around]) for each in prefixes}
    leading = {each.path for each in prefixes if before[each][0] or (each.kind == "^~" and patterns)}
    first: list[Location] = []
    last: list[Location] = []
    for each in prefixes:
        inner_first, inner_last = before[each]
        first += inner_first
        if each.kind == "^~" and patterns:
            first += [*_copies(each, around), *inner_last, each]
        elif leading and any(each.path[:length] in leading for length in range(len(each.path))):
            first += [*_copies(each, [*patterns, *around]), *inner_last, each]
        else:
            last += [*inner_last, each]
    for each in patterns:
        inner_first, inner_last = _level(inside, each, [])
        first += [*inner_first, *inner_last, each]
    return first, last


def _copies(location: Location, patterns: Sequence[Location]) -> Iterator[Location]:
    """The patterns for the paths of a prefix alone."""
    for each in patterns:
        if not each.path.startswith("^"):
            yield Location(each.directive, each.kind, below(location.path, each.path), each.scope, each.outer)
        elif not _is_elsewhere(each, location.path):
            yield Location(
                *(each.directive, each.kind, each.path, each.scope, each.outer),
                unsaid=f"this pattern comes before location {location.path}, and after one that is shorter",
            )


def head_of(directive: Directive) -> tuple[str, str]:
    """Kind and path of a `location`."""
    first, *rest = directive.args
    if rest and first in _KINDS:
        return first, rest[0]
    for kind in ("^~", "~*", "~", "="):
        if not rest and first.startswith(kind) and len(first) > len(kind):
            return kind, first[len(kind) :]
    return ("@", first) if first.startswith("@") else ("", first)


@dataclass(slots=True)
class Chooser:
    """Which location of a server takes a path, as nginx chooses."""

    locations: Sequence[Location]
    named: dict[str, Location] = field(init=False)
    exact: dict[str, Location] = field(init=False)
    prefixes: list[Location] = field(init=False)
    patterns: list[Location] = field(init=False)

    def __post_init__(self) -> None:
        self.named = {each.path: each for each in self.locations if each.kind == "@"}
        self.exact = {each.path: each for each in self.locations if each.kind == "="}
        prefixes = [each for each in self.locations if each.is_prefix]
        self.prefixes = sorted(prefixes, key=lambda each: -len(each.path))
        self.patterns = [each for each in self.locations if each.is_pattern]

    def of(self, path: str) -> Location | None:
        """The location of a whole path."""
        if path in self.exact:
            return self.exact[path]
        longest = next((each for each in self.prefixes if path.startswith(each.path)), None)
        if longest is None or longest.kind != "^~":
            for each in self.patterns:
                if matches(each.route_path(), path):
                    return each
        return longest

    def below(self, beginning: str) -> Location | None:
        """The one location of all paths that begin so; None where there are several, or patterns that may be one."""
        longest = next((each for each in self.prefixes if beginning.startswith(each.path)), None)
        others = [each for each in self.prefixes if each.path.startswith(beginning) and each is not longest]
        exact = [path for path in self.exact if path.startswith(beginning)]
        may_match = [each for each in self.patterns if not _is_elsewhere(each, beginning)]
        if others or exact or (may_match and (longest is None or longest.kind != "^~")):
            return None
        return longest

    def prefix_of(self, beginning: str) -> Location | None:
        """The longest prefix of all paths that begin so; None where longer ones may be that."""
        if any(each.path.startswith(beginning) and each.path != beginning for each in self.prefixes):
            return None
        if any(path.startswith(beginning) for path in self.exact):
            return None
        return next((each for each in self.prefixes if beginning.startswith(each.path)), None)

    def patterns_below(self, beginning: str) -> list[Location] | None:
        """The patterns that may match paths that begin so; None where one of them looks at their beginning."""
        found = [each for each in self.patterns if not _is_elsewhere(each, beginning)]
        return None if any(each.path.startswith("^") or "|^" in each.path for each in found) else found


def _is_elsewhere(location: Location, beginning: str) -> bool:
    """Whether a pattern matches no path with that beginning."""
    several = re.match(r"\^/\((?:\?:|\?P?<\w+>)?([\w|-]+)\)", location.path)
    if several and "|" not in location.path[several.end() :]:
        texts = [f"/{text}" for text in several[1].split("|")]
        return not any(text.startswith(beginning) or beginning.startswith(text) for text in texts)
    found = re.match(r"\^((?:[A-Za-z0-9/_-]|\\\.)+)", location.path)
    if found is None or "|" in location.path:
        return False
    literal = found[1].replace("\\.", ".")
    if location.path[found.end() : found.end() + 1] in ("?", "*", "{"):
        literal = literal[:-1]
    return not (literal.startswith(beginning) or beginning.startswith(literal))
