"""The routes that a location becomes: one for each kind of request that it treats in a way of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.locations import Branch, Chooser, Location
from portico.imports.nginx.narrowing import Narrow
from portico.imports.nginx.patterns import (
    group_names,
)
from portico.imports.nginx.policies import ClosedError
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.upstreams import Services
from portico.imports.nginx.variables import Value, Var, Variables, joined

_MOST: Final = 200
"""Branches of one location."""


@dataclass(slots=True)
class State:
    """What is known at one point of a location."""

    variables: Variables
    scope: Scope
    narrow: Narrow = field(default_factory=Narrow)
    uri: Value | None = None
    """The path that `rewrite` has made."""
    is_handed_on: bool = False
    """Whether another location has made it, so that `proxy_pass` puts its path in place of this location's."""
    path: str = ""
    """The path of the route, where a pattern of a `rewrite` decides."""
    query: str | None = None
    """What a `rewrite` has put into the query."""
    cors: list[Directive] = field(default_factory=list)
    remarks: list[tuple[Directive, str]] = field(default_factory=list)

    def copy(self) -> State:
        return replace(self, variables=self.variables.copy(), cors=[*self.cors], remarks=[*self.remarks])


@dataclass(slots=True)
class Making:
    """Makes the branches of one location of a server."""

    location: Location
    ledger: Ledger
    services: Services
    chooser: Chooser
    scheme: str | None
    server_name: str
    root: Path
    depth: int = 0
    found: list[Branch] = field(default_factory=list)
    last: list[Branch] = field(default_factory=list)
    """Those for what the conditions of `found` leave."""

    def _made(self, state: State, directive: Directive, keys: dict[str, Any], path: str) -> Branch:
        narrow = state.narrow
        if narrow.pattern:
            path = self._both(path, narrow, directive, keys)
        return Branch(
            path,
            replace(narrow, pattern=""),
            keys,
            state.scope,
            state.variables,
            self.location.where,
            directive,
            cors=[*state.cors],
            remarks=[*state.remarks],
        )

    def _both(self, path: str, narrow: Narrow, directive: Directive, keys: dict[str, Any]) -> str:
        """A path for what a location takes and an `if` asks for."""
        if self.location.is_prefix and self.location.path == "/" and path in ("/", "~ ^/"):
            if "rewrite" in keys and keys["rewrite"] != "keep":
                raise ClosedError(directive, "a condition on the path and a new path cannot be said together")
            keys.pop("rewrite", None)
            return narrow.pattern
        raise ClosedError(directive, "a condition on the path beside a location's own cannot be said")

    def _add(self, state: State, directive: Directive, keys: dict[str, Any], path: str | None = None) -> None:
        self._append(self._made(state, directive, keys, path or state.path or self.location.route_path()))

    def _append(self, branch: Branch) -> None:
        if len(self.found) >= _MOST:
            raise ClosedError(branch.directive, f"it makes more than {_MOST} routes")
        self.found.append(branch)

    def closed(self, state: State, directive: Directive, why: str) -> None:
        """Those requests get 503, as a guard or a target cannot be said."""
        narrow = replace(state.narrow, pattern="")
        path = state.path or self.location.route_path()
        branch = Branch(path, narrow, {"respond": 503}, state.scope, state.variables, self.location.where, directive)
        branch.closed = directive, why
        self.found.append(branch)

    def _own_names(self) -> list[str]:
        return group_names(self.location.path) if self.location.is_pattern else []


def captured(value: Value, names: Sequence[str], own: Sequence[str]) -> Value:
    """The same with `@name` for what a group captured: `$1` is the first."""
    found: list[str | Var] = []
    for piece in value:
        if isinstance(piece, Var):
            if piece.name.isdecimal():
                index = int(piece.name) - 1
                piece = Var(f"@{names[index]}") if 0 <= index < len(names) else piece
            elif piece.name in names or piece.name in own:
                piece = Var(f"@{piece.name}")
        found.append(piece)
    return joined(tuple(found))
