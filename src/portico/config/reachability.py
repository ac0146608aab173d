"""What patterns and exact paths take from other routes: all that they have."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from portico.config.problems import Finding
from portico.config.resolve import ResolvedRoute
from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.patterns.pattern import Pattern, path_pattern, path_text
from portico.core.patterns.pattern_set import PatternSet, State
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of

MOST_STATES: Final = 1000
"""States that are looked at for one route: where they do not suffice, nothing is said."""
_MOST_ROUTES: Final = 5000
LONGEST: Final = 500
"""Of a path that is looked at."""


def unreachable(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """A finding for each route that others hide."""
    order = sorted((route for route in routes if len(route.path) <= LONGEST), key=_place)
    hiding = [route for route in order if _may_hide(route)]
    if not hiding or len(hiding) > _MOST_ROUTES:
        return
    search = _Search(hiding)
    for route in order:
        if hidden_by := search.hidden_by(route):
            names = " and ".join(other.name for other in hidden_by[:3]) + (" and others" if len(hidden_by) > 3 else "")
            takes = "takes" if len(hidden_by) == 1 else "take"
            message = f"no request gets to {route.place}: {names} {takes} them all, since {_why(hidden_by[0], route)}"
            yield Finding(route.source if route.is_default else (*route.source, "path"), message, at_key=True)


def _why(other: ResolvedRoute, route: ResolvedRoute) -> str:
    """The rule by which the other one comes before."""
    if is_exact(other.path):
        return "exact paths come first"
    if is_pattern(other.path):
        return "patterns go by the order of the file" if is_pattern(route.path) else "a pattern comes before a prefix"
    return "a route for / leaves nothing to a fallback"


def _place(route: ResolvedRoute) -> int:
    """When it is asked; patterns go by the order of the file, which sorting keeps."""
    kinds = (is_exact(route.path), is_pattern(route.path), not route.is_fallback, True)
    return kinds.index(True)


def _may_hide(route: ResolvedRoute) -> bool:
    return not route.is_fallback and (is_exact(route.path) or is_pattern(route.path) or route.path == "/")


def _comes_first(one: ResolvedRoute, other: ResolvedRoute) -> bool:
    """Whether `one` is asked before `other`, whatever else they ask for, if it stands before it."""
    return _place(one) < _place(other) or (is_pattern(one.path) and is_pattern(other.path) and one.path != other.path)


def _covers(one: ResolvedRoute, other: ResolvedRoute) -> bool:
    """Whether `one` takes whatever `other` would take of the paths that both match."""
    return (
        _includes(one.hosts, other.hosts)
        and (not one.methods or (bool(other.methods) and {*other.methods} <= {*one.methods}))
        and _lower(one.headers).items() <= _lower(other.headers).items()
        and one.query.items() <= other.query.items()
    )


def _includes(hosts: Sequence[str], others: Sequence[str]) -> bool:
    def has(name: str) -> bool:
        return name in hosts or any(each.startswith("*.") and name.endswith(each[1:]) for each in hosts)

    return not hosts or (bool(others) and all(map(has, others)))


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def pattern_for(route: ResolvedRoute) -> Pattern:
    """The paths that it takes."""
    if is_pattern(route.path):
        return pattern_of(route.path)
    literal = re.sub(r"([^A-Za-z0-9/%_~-])", r"\\\1", literal_of(route.path))
    return path_pattern(f"^{literal}$" if is_exact(route.path) else f"^{literal.rstrip('/')}(/|$)")


class _Search:
    """Looks for a path that a route matches and no other before it."""

    def __init__(self, hiding: Sequence[ResolvedRoute]) -> None:
        self.hiding = hiding
        self.indexes = {id(route): index for index, route in enumerate(hiding)}
        self.together = PatternSet(map(pattern_for, hiding))
        self.kinds = self.together.kinds()

    def hidden_by(self, route: ResolvedRoute) -> list[ResolvedRoute]:
        """The routes that take all its requests; none where it gets some, or where that is not known."""
        literal = literal_of(route.path)
        if not is_pattern(route.path) and self._hiding(route, self.together.matches(_text(literal))) is None:
            return []
        found: dict[str, ResolvedRoute] = {}
        try:
            for matching in self._reached(PatternSet([pattern_for(route)])):
                other = self._hiding(route, matching)
                if other is None:
                    return []
                found[other.name] = other
        except MessageError:
            return []
        return list(found.values())

    def _hiding(self, route: ResolvedRoute, matching: Sequence[int]) -> ResolvedRoute | None:
        """The first of the routes that match which takes all that `route` would take, before it."""
        own = self.indexes.get(id(route), len(self.hiding))
        others = (self.hiding[index] for index in matching if index < own)
        return next((other for other in others if _comes_first(other, route) and _covers(other, route)), None)

    def _reached(self, own: PatternSet) -> Iterator[tuple[int, ...]]:
        """Which of the others match, for each kind of path that a route matches. Raises MessageError for too many."""
        kinds = own.kinds()
        symbols = {(kinds[symbol], self.kinds[symbol]): chr(symbol) for symbol in range(len(kinds))}.values()
        coming: deque[tuple[State, State]] = deque([(own.start, self.together.start)])
        seen: set[tuple[int, int]] = set()
        while coming:
            state, others = coming.popleft()
            if own.ending(state):
                yield self.together.ending(others)
            for symbol in symbols:
                following = own.step(state, symbol)
                if not own.is_alive(following):
                    continue
                pair = following, self.together.step(others, symbol)
                if (key := (id(pair[0]), id(pair[1]))) not in seen:
                    seen.add(key)
                    coming.append(pair)
            if len(seen) > MOST_STATES:
                raise MessageError("malformed_request", "too many states")


def _text(path: str) -> str:
    return path_text(segments_of(path.encode()))
