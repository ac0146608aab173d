"""`rewrite`, and locations that hand requests on to others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from portico.imports.nginx.answering import NO_GUARDS, Answering, Guards
from portico.imports.nginx.branches import State, captured
from portico.imports.nginx.locations import Location
from portico.imports.nginx.patterns import (
    encoded,
    escaped,
    group_names,
    is_taken,
    matches,
    pattern_path,
    why_not,
    wider,
)
from portico.imports.nginx.policies import ClosedError, guards_of
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.variables import Value, Var, joined, literal

_DEEPEST: Final = 8
"""Locations to which a request is handed on, one after the other."""
_REST: Final = (Var("@:rest"), Var("@:rest/"))


@dataclass(slots=True)
class Rewriting(Answering):
    """What becomes of requests whose path is another one."""

    def run(self, block: Sequence[Directive], state: State) -> None:
        """A location's statements, and then what answers there."""
        raise NotImplementedError

    def rewrite(self, directive: Directive, state: State) -> bool:
        """Whether it has ended all requests that come here."""
        if len(directive.args) < 2:
            return False
        expression, written, *flags = directive.args
        flag = flags[0] if flags else ""
        names = group_names(expression)
        value = captured(state.variables.expand(written, directive.where), names, self._own_names())
        is_redirect = flag in ("redirect", "permanent") or written.startswith(("http://", "https://", "$scheme"))
        covered = self._covered(expression, value, state)
        if covered is not None:
            self.ledger.taken(directive)
            if Var("@:rest/") in covered and flag != "break":  # the bare prefix, which has no slash, goes on
                self._apart(directive, replace(state.copy(), uri=covered), flag, is_redirect, covered)
                return False
            state.uri, state.path = covered, state.path
            return self._rewritten(directive, state, flag, is_redirect, covered)
        path = self._pattern(expression, value, directive, state)
        if path is None:
            return False
        self.ledger.taken(directive)
        copy = state.copy()
        copy.path, copy.uri = path, value
        self._apart(directive, copy, flag, is_redirect, value)
        return False

    def _apart(self, directive: Directive, copy: State, flag: str, is_redirect: bool, value: Value) -> None:
        """A rewrite of some of the requests that come here."""
        try:
            self._rewritten(directive, copy, flag, is_redirect, value)
        except ClosedError as closed:
            self.closed(copy, closed.directive, closed.why)

    def _rewritten(self, directive: Directive, state: State, flag: str, is_redirect: bool, value: Value) -> bool:
        if is_redirect:
            status = 301 if flag == "permanent" else 302
            self._redirect(directive, state, status, value, is_rewrite=True)
            return True
        state.uri, state.query = _without_query(value)
        state.is_handed_on = False
        if flag == "break":
            if state.path:
                self.content(state)
            return bool(state.path)
        self._hand_on(directive, state)
        return True

    def _hand_on(self, directive: Directive, state: State) -> None:
        """nginx looks for another location with the new path."""
        uri = state.uri or ()
        if (rest := next((each for each in uri if each in _REST), None)) is not None:
            slash = "/" if rest == Var("@:rest/") else ""
            state.path = f"~ ^{escaped(encoded(self.location.path))}{slash}(?P<rest>.*)$"
            state.uri = uri = tuple(Var("@rest") if each in _REST else each for each in uri)
        text = literal(uri)
        if text is not None:
            target = self.chooser.of(text)
        else:
            beginning = uri[0] if uri and isinstance(uri[0], str) else ""
            target = self.chooser.below(beginning)
            if target is None:
                target = self._beside_patterns(directive, state, beginning)
        if target is None:
            raise ClosedError(directive, "which location takes the new path depends on the request")
        self._other(target, directive, state)

    def _beside_patterns(self, directive: Directive, state: State, beginning: str) -> Location | None:
        """The location of all new paths but for those that patterns take, which get routes of their own.

        None where it cannot be said which these are: a pattern has to look at what follows a text that is replaced.
        """
        found = re.fullmatch(r"~ \^((?:[^\\\[\](){}*+?^$|.]|\\[^A-Za-z0-9])+)\(\?P<(\w+)>\.[*+]\)\$", state.path)
        patterns = self.chooser.patterns_below(beginning)
        if found is None or patterns is None or state.uri != (beginning, Var(f"@{found[2]}")):
            return None
        for each in patterns:
            ends = each.path.endswith("$") and not each.path.endswith("\\$")
            text = each.path[:-1] if ends else f"{each.path}.*"
            copy = state.copy()
            copy.path = f"{each.kind} ^{found[1]}(?P<{found[2]}>.*{text})$"
            self._other(each, directive, copy)
        return self.chooser.prefix_of(beginning)

    def _other(self, target: Location, directive: Directive, state: State, guards: Guards = NO_GUARDS) -> None:
        """What another location does with the request, which has passed these guards of its own before."""
        if self.depth >= _DEEPEST or (target is self.location and state.uri is None):
            raise ClosedError(directive, "locations hand requests on to one another without an end")
        if target is self.location:
            copy = replace(state, scope=target.scope, is_handed_on=True)
            self.content(copy)
            return
        self.ledger.taken(target.directive)
        used = [each.name[1:] for each in state.uri or () if isinstance(each, Var) and each.name.startswith("@")]
        path = state.path or self.location.route_path(used)
        inner = type(self)(
            target, self.ledger, self.services, self.chooser, self.scheme, self.server_name, self.root, self.depth + 1
        )
        copy = replace(
            state.copy(),
            scope=_with_guards(target.scope, guards, directive),
            path=path,
            is_handed_on=state.uri is not None,
        )
        if copy.uri is None:
            copy.uri = (Var("path"),)
        inner.run(target.block, copy)
        self.found += inner.found
        self.last = [*inner.last, *self.last]

    def _covered(self, expression: str, value: Value, state: State) -> Value | None:
        """The new path, if the expression matches all paths that come here: `@:rest` is what follows the location's."""
        if state.path or state.uri is not None:
            return None
        location = self.location
        if location.is_pattern and expression == location.path:
            return value
        whole = {
            "^": "",
            ".*": "",
            "^.*$": "",
            "^.*": "",
            "^(.*)$": "",
            "(.*)": "",
            "^(.*)": "",
            "^/(.*)$": "/",
            "^/(.*)": "/",
            "/(.*)": "/",
            "^/?(.*)$": "/",
        }
        cut: str | None = whole.get(expression)
        if cut is not None:
            pass
        elif location.is_prefix and (cut := self._cut(expression)) is None:
            return None
        elif not location.is_prefix:
            if (
                location.kind == "="
                and literal(value) is not None
                and matches(pattern_path(expression, ignores_case=False), location.path)
            ):
                return value
            return None
        if Var("@p1") not in value:
            return value
        if location.is_prefix:
            rest: Value = (
                (location.path[len(cut or "") :], Var("@:rest"))
                if len(cut or "") <= len(location.path)
                else (Var("@:rest/"),)
            )
        elif location.kind == "=":
            rest = (location.path[len(cut or "") :],)
        elif cut == "/":
            rest = (Var("@path/"),)
        else:
            rest = (Var("path"),)
        return joined(tuple(piece for each in value for piece in (rest if each == Var("@p1") else (each,))))

    def _cut(self, expression: str) -> str | None:
        """The text before the one group of an expression that matches all below the location's prefix."""
        found = re.fullmatch(r"\^?((?:[^\\\[\](){}*+?^$|.]|\\[^A-Za-z0-9])+)(/\?)?\(\.[*+]\)\$?", expression)
        if found is None:
            return None
        text = re.sub(r"\\(.)", r"\1", found[1])
        path = self.location.path
        if found[2]:
            return f"{text}/" if text.rstrip("/") == path.rstrip("/") else None
        if path.startswith(text) or (text == f"{path}/"):
            return text
        return None

    def _pattern(self, expression: str, value: Value, directive: Directive, state: State) -> str | None:
        """The path of a route for a `rewrite` that matches some paths only; None where it matches none here."""
        location = self.location
        used = {piece.name[1:] for piece in value if isinstance(piece, Var) and piece.name.startswith("@")}
        if state.path or state.uri is not None:
            raise ClosedError(directive, "it looks at a path that was rewritten before")
        if location.kind == "=":
            if matches(pattern_path(expression, ignores_case=False), location.path):
                raise ClosedError(directive, "what it captures of an exact path cannot be said")
            self.ledger.taken(directive, why="it matches no path that comes here")
            return None
        if location.is_prefix and location.path != "/":
            beginning = escaped(encoded(location.path))
            if not expression.startswith("^"):
                expression = f"^{beginning}.*{expression}"
            elif not re.sub(r"\\(.)", r"\1", expression[1:]).startswith(location.path.rstrip("/")):
                raise ClosedError(directive, "it matches paths of other locations, too")
        path = pattern_path(expression, ignores_case=False, used=used)
        if location.is_pattern:
            raise ClosedError(directive, "which paths its pattern and that of the location take cannot be said")
        if not is_taken(path) and wider(path) is None:
            raise ClosedError(directive, f"{why_not(path) or 'this pattern'}")
        return path


def _with_guards(scope: Scope, guards: Guards, directive: Directive) -> Scope:
    """A scope with the guards that another location has asked before. Raises ClosedError where it has others."""
    own = guards_of(scope)
    more = {kind: lines for kind, lines in guards.items() if own.get(kind) != lines}
    if not more:
        return scope
    if own.keys() & more.keys() or "satisfy" in (own | more):
        raise ClosedError(directive, "the location that goes on with the request has other guards than this one")
    return scope.inside([each for lines in more.values() for each in lines])


def _without_query(value: Value) -> tuple[Value, str | None]:
    for index, piece in enumerate(value):
        if isinstance(piece, str) and "?" in piece:
            before, _, after = piece.partition("?")
            rest = value[index + 1 :]
            shown = after + "".join(each if isinstance(each, str) else f"${each.name}" for each in rest)
            return joined((*value[:index], before)), shown if shown not in ("", "$args") else None
    return value, None
