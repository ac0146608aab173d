"""`proxy_pass`: which service a location leads to, and with which path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from portico.imports.nginx.branches import Making, State, captured
from portico.imports.nginx.locations import Branch
from portico.imports.nginx.narrowing import Conditions
from portico.imports.nginx.policies import ClosedError
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.targets import Targets
from portico.imports.nginx.upstreams import Address
from portico.imports.nginx.variables import Choice, Value, Var, Variables, joined, literal


@dataclass(slots=True)
class Passing(Making):
    """What is passed on to services."""

    def _proxy(self, directive: Directive, state: State) -> None:
        value = captured(state.variables.expand(directive.value, directive.where), self._own_names(), ())
        self._passed(directive, state, value, 0)

    def _passed(self, directive: Directive, state: State, value: Value, depth: int) -> None:
        for index, piece in enumerate(state.uri or ()):
            if isinstance(piece, Var) and piece.name in state.variables.choices:
                assert state.uri is not None
                for copy, uri in self._each(directive, state, state.uri, index, piece.name, depth):
                    copy.uri = uri
                    self._passed(directive, copy, value, depth + 1)
                return
        at = choice_at(value, state.variables)
        if at is None:
            self._to_service(directive, state, value)
            return
        variable = value[at]
        assert isinstance(variable, Var)
        choice = state.variables.choices[variable.name]
        if choice.kind == "split_clients":
            self._split(directive, state, value, at, choice)
            return
        for copy, chosen in self._each(directive, state, value, at, variable.name, depth):
            self._passed(directive, copy, chosen, depth + 1)

    def _each(
        self, directive: Directive, state: State, value: Value, at: int, name: str, depth: int
    ) -> Iterator[tuple[State, Value]]:
        """The values that a map makes of one, each with the requests that get it, the default last."""
        choice = state.variables.choices[name]
        if depth > 3:
            raise ClosedError(directive, "what is chosen depends on too many variables")
        if choice.kind != "map":
            raise ClosedError(directive, f"${name} is not chosen by what a route can ask for")
        self.ledger.taken(choice.directive)
        conditions = Conditions(state.variables, self.scheme)
        for key, chosen, _ in choice.entries:
            narrow = conditions.of_entry(choice, key)
            if narrow is None:
                raise ClosedError(directive, f"which requests ${name} means by {key!r} cannot be asked for by a route")
            both = state.narrow.and_(narrow)
            if both is not None:
                copy = state.copy()
                copy.narrow = both
                yield copy, _filled(value, at, state.variables.expand(chosen, directive.where))
        yield state, _filled(value, at, state.variables.expand(choice.default, directive.where))

    def _split(self, directive: Directive, state: State, value: Value, at: int, choice: Choice) -> None:
        sides: list[dict[str, Any]] = []
        left = 100.0
        keys: dict[str, Any] = {}
        for share, chosen, line in [*choice.entries, ("*", choice.default, choice.directive)]:
            number = (
                left if share == "*" else float(share[:-1]) if re.fullmatch(r"\d{1,3}(\.\d{1,2})?%", share) else None
            )
            if number is None:
                raise ClosedError(line, "this is no share")
            left -= number
            if not chosen:
                continue
            branch = self._target(directive, state, _filled(value, at, state.variables.expand(chosen, line.where)))
            keys = branch.keys
            sides.append({"service": keys.pop("service"), "weight": round(number, 2)})
        self.ledger.taken(choice.directive, directive)
        branch.keys = {"split": sides, **keys}
        source = [piece.name for piece in choice.source if isinstance(piece, Var)]
        sticky = next(
            (name for name in source if name not in ("request_id", "msec", "time_iso8601", "pid", "connection")), None
        )
        if sticky in ("remote_addr", "http_x_forwarded_for"):
            branch.keys["sticky"] = "client_ip"
        elif sticky is not None and sticky.startswith("http_"):
            from portico.imports.nginx.values import field_name

            branch.keys["sticky"] = {"header": field_name(sticky[5:])}
        elif sticky is not None:
            branch.keys["sticky"] = {"cookie": "auto"}
            branch.remarks.append(
                (choice.directive, f"a cookie of Portico's keeps clients at their side, in place of ${sticky}")
            )
        if len(source) > 1:
            branch.remarks.append((choice.directive, "a side is chosen by one of these alone"))
        self._append(branch)

    def _to_service(self, directive: Directive, state: State, value: Value) -> None:
        self._append(self._target(directive, state, value))
        self.ledger.taken(directive)

    def _target(self, directive: Directive, state: State, value: Value) -> Branch:
        """The branch for a request that is passed on to one service."""
        split = address_of(value)
        if split is None:
            raise ClosedError(directive, "where requests go depends on them: a service has a name or an address")
        address, uri = split
        name = self.services.name(address, state.scope, directive.where)
        if name is None:
            raise ClosedError(directive, f"there is no instance at {address.authority!r}")
        targets = Targets(self.location, self.scheme, self.server_name)
        rewritten = state.uri
        if state.is_handed_on and uri and rewritten and (text := literal(uri)) is not None:
            rewritten = self._replaced(rewritten, text)
            if rewritten is None:
                raise ClosedError(directive, "what becomes of the path cannot be said here")
        found = targets.service(uri, rewritten, state.path, has_variables="$" in directive.value)
        if found is None:
            raise ClosedError(directive, "what becomes of the path cannot be said here")
        path, rewrite, remark = found
        if state.query:
            raise ClosedError(directive, "a rewrite puts nothing into the query here: policies.transform does")
        keys: dict[str, Any] = {"service": name}
        if rewrite is not None:
            keys["rewrite"] = rewrite
        branch = self._made(state, directive, keys, path)
        branch.is_proxied = True
        if remark:
            branch.remarks.append((directive, remark))
        return branch

    def _replaced(self, rewritten: Value, by: str) -> Value | None:
        """A path that another location has made, with `by` in place of what this location begins with."""
        first = rewritten[0]
        if not isinstance(first, str) or not first.startswith(self.location.path):
            return None
        return joined((by, first[len(self.location.path) :], *rewritten[1:]))


def choice_at(value: Value, variables: Variables) -> int | None:
    """Where in an address a variable is chosen by a map or a split."""
    for index, piece in enumerate(value):
        if isinstance(piece, Var):
            if piece.name in variables.choices:
                return index
            if index:
                return None
        elif (index and piece.startswith("/")) or "/" in re.sub(r"^https?://", "", piece):
            return None
    return None


def _filled(value: Value, at: int, chosen: Value) -> Value:
    return joined((*value[:at], *chosen, *value[at + 1 :]))


def address_of(value: Value) -> tuple[Address, Value] | None:
    """The address in what is passed to, and the path behind it."""
    if not value or not isinstance(value[0], str):
        return None
    found = re.match(r"(https?)://(unix:[^:]+|[^/?$]+)", value[0], re.IGNORECASE)
    if found is None:
        return None
    rest = value[0][found.end() :]
    if found[2].startswith("unix:"):
        rest = rest.removeprefix(":")
    following = value[1:]
    if not rest and following:
        first = following[0]
        if not (isinstance(first, Var) and first.name in ("request_uri", "uri", "path", "args", "is_args", "query")):
            return None
    return Address(found[1].lower(), found[2]), joined((rest, *following))
