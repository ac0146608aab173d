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
    as_pattern: bool = False
    """Whether its prefix is written as a pattern, since it is one by letters, or has to come before other patterns."""

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
        if outer is not None and kind in ("~", "~*") and outer.is_prefix and not path.startswith("^"):
            path = f"^{escaped(outer.path)}.*{path}"
        location = Location(each, kind, path, scope.inside(each.block))
        yield from locations_of(each.block, location.scope, location)
        yield location


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
    found = re.match(r"\^((?:[A-Za-z0-9/_-]|\\\.)+)", location.path)
    if found is None or "|" in location.path:
        return False
    literal = found[1].replace("\\.", ".")
    if location.path[found.end() : found.end() + 1] in ("?", "*", "{"):
        literal = literal[:-1]
    return not (literal.startswith(beginning) or beginning.startswith(literal))
