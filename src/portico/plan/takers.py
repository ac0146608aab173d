"""Who takes the requests for a path: what was guarded before, and is not any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from portico.config import ResolvedRoute
from portico.core.route_paths import is_exact, is_pattern, literal_of

_Key = tuple[str, str]


class Takers:
    """The routes of a configuration by host and path; patterns are left out."""

    def __init__(self, routes: Iterable[ResolvedRoute]) -> None:
        self._prefixes: dict[_Key, list[ResolvedRoute]] = {}
        self._exact: dict[_Key, list[ResolvedRoute]] = {}
        self._fallbacks: dict[str, list[ResolvedRoute]] = {}
        for route in routes:
            if route.is_variant or is_pattern(route.path):
                continue
            for host in route.hosts or ("",):
                if route.is_fallback:
                    self._fallbacks.setdefault(host, []).append(route)
                    continue
                where = self._exact if is_exact(route.path) else self._prefixes
                where.setdefault((host, literal_of(route.path)), []).append(route)

    def of(self, host: str, path: str, *, exact: bool) -> Iterator[ResolvedRoute]:
        """Those that may take a request for it, down to the first that takes whatever comes."""
        for route in self._candidates(host, path, exact):
            yield route
            if not (route.methods or route.headers or route.query):
                return

    def _candidates(self, host: str, path: str, exact: bool) -> Iterator[ResolvedRoute]:
        for name in dict.fromkeys((host, "")):
            if exact:
                yield from self._exact.get((name, path), ())
            for prefix in _prefixes_of(path):
                yield from self._prefixes.get((name, prefix), ())
        for name in dict.fromkeys((host, "")):
            yield from self._fallbacks.get(name, ())


def opened(old: Iterable[ResolvedRoute], new: Iterable[ResolvedRoute]) -> Iterator[tuple[ResolvedRoute, ResolvedRoute]]:
    """Pairs of routes: the first asked who callers are, and the second, which takes requests of its, does not.

    The second may be the first as it is now.
    """
    old, new = tuple(old), tuple(new)
    if not any(map(_asks, old)) or not any(map(_is_open, new)):
        return
    before, after = Takers(old), Takers(new)
    told: set[_Key] = set()
    for host, path in _asked_for((*new, *old)):
        for first, second in _pair(before, after, host, path):
            if (first.name, second.name) not in told:
                told.add((first.name, second.name))
                yield first, second


def _asks(route: ResolvedRoute) -> bool:
    return "auth" in route.policies


def _is_open(route: ResolvedRoute) -> bool:
    return "auth" not in route.policies and route.answer is None


def _asked_for(routes: Iterable[ResolvedRoute]) -> dict[_Key, None]:
    """The hosts and paths that routes are for, each once."""
    return {
        (host, route.path): None
        for route in routes
        if not (route.is_variant or route.is_fallback or is_pattern(route.path))
        for host in route.hosts or ("",)
    }


def _pair(before: Takers, after: Takers, host: str, path: str) -> Iterator[tuple[ResolvedRoute, ResolvedRoute]]:
    literal, exact = literal_of(path), is_exact(path)
    first = next(before.of(host, literal, exact=exact), None)
    if first is None or not _asks(first):
        return
    for second in after.of(host, literal, exact=exact):
        if _is_open(second):
            yield first, second


def _prefixes_of(path: str) -> Iterator[str]:
    """A path and what is above it, the longest first."""
    yield path
    while path not in ("/", ""):
        path = path.rpartition("/")[0] or "/"
        yield path
