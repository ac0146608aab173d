"""What several routes have in common, once each and with a name: maps, zones and upstreams."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from operator import itemgetter

from portico.config import ResolvedRoute
from portico.core.route_paths import is_pattern
from portico.render.nginx.lua import Lua
from portico.render.nginx.marks import Marks
from portico.render.nginx.text import above, block, pattern
from portico.render.once import Once
from portico.render.policies import OPEN


def _guards_of(route: ResolvedRoute) -> frozenset[tuple[str, int]]:
    """What not everybody passes before what is behind a route."""
    return frozenset(
        (key, id(settings)) for key, (settings, _) in route.policies.items() if key not in OPEN - {"ip_filter"}
    )


@dataclass(slots=True)
class Names(Once):
    """What is written beside the servers, in the order in which it was first asked for."""

    lua: Lua | None = None
    """What a program in Lua is told; None where nginx has none."""
    blocks: dict[str, list[str]] = field(default_factory=dict)
    """Maps and the like, by their names."""
    zones: dict[str, str] = field(default_factory=dict)
    """The lines of zones, by their names."""
    upstreams: dict[str, list[str]] = field(default_factory=dict)
    inner: dict[str, list[str]] = field(default_factory=dict)
    """The lines of locations for subrequests, by their paths; each server has those that its locations name."""
    base: list[str] = field(default_factory=list)
    """What is said of responses everywhere: a location that says just this says nothing."""
    marks: dict[int, Marks] = field(default_factory=dict)
    """What each `cors` says of responses, by its identity: the configuration holds it."""
    requests: dict[object, list[str]] = field(default_factory=dict)
    """What is changed of requests, by the identity of what says so."""
    bodies: dict[tuple[str, bool | None], list[str]] = field(default_factory=dict)
    """The lines of routes: one without hosts stands in every server."""
    forwarding: dict[object, list[str]] = field(default_factory=dict)
    """What is said of services, and of guards, in locations; by what is said there."""
    _authorities: dict[tuple[str, str | None], list[str]] = field(default_factory=dict)
    _guarded: list[tuple[str, frozenset[tuple[str, int]]]] | None = None
    _patterns: list[tuple[str, frozenset[tuple[str, int]]]] = field(default_factory=list)

    def authorities(self, name: str, version: str | None) -> list[str]:
        """Those of the instances of a service, or of a version of it."""
        key = (name, version)
        if key not in self._authorities:
            self._authorities[key] = [each.authority for each in self.service(name, version).instances]
        return self._authorities[key]

    def hides_guards(self, route: ResolvedRoute) -> bool:
        """Whether a route below a prefix, or a pattern, has a guard that the one for the prefix has not."""
        if self._guarded is None:
            guarded = ((each.path.removeprefix("= "), _guards_of(each)) for each in self.config.all_routes)
            self._guarded = sorted((each for each in guarded if each[1]), key=itemgetter(0))
            self._patterns = [each for each in self._guarded if is_pattern(each[0])]
        own = _guards_of(route)
        if is_pattern(route.path):
            return any(not guards <= own for _, guards in self._guarded)
        below = route.path.removeprefix("= ").rstrip("/") + "/"
        first = bisect_left(self._guarded, below, key=itemgetter(0))
        those = takewhile(lambda each: each[0].startswith(below), islice(self._guarded, first, None))
        return any(not guards <= own for _, guards in chain(self._patterns, those))

    def map(self, name: str, source: str, lines: Sequence[str]) -> str:
        """A variable that a map makes; those that are made alike are one. Gives its name, with the dollar."""
        return self._variable("map", name, source, lines)

    def split(self, name: str, source: str, lines: Sequence[str]) -> str:
        """The same for a variable that shares requests out."""
        return self._variable("split_clients", name, source, lines)

    def _variable(self, directive: str, name: str, source: str, lines: Sequence[str]) -> str:
        own, is_new = self.once((directive, source, *lines), name)
        if is_new:
            self.blocks[own] = block(f"{directive} {source} ${own}", lines)
        return "$" + own

    def is_longer(self, size: int) -> str:
        """The variable that is something for requests whose body is said to be longer."""
        lines = [f"{pattern(f'~^0*(?:{above(size)})$')} 1;", 'default "";']
        return self.map("is_too_long", "$content_length", lines)
