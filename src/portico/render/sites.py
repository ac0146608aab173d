"""What hosts and paths are there, and which routes a request for each may take, the first that fits.

That is how Portico's router asks them, worked out beforehand: targets choose by host first, then by path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from portico.config import ResolvedRoute
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.render.losses import Losses


def is_open(route: ResolvedRoute) -> bool:
    """Whether it takes all that its host and path admit."""
    return not (route.methods or route.headers or route.query)


@dataclass(frozen=True, slots=True)
class Place:
    """A path as routes write it, and the routes for it in the order in which they are asked.

    They are its own, then those of the prefixes above it, down to the first that takes whatever comes. `may_fall` says
    that others may follow that depend on the path of the request.
    """

    path: str
    routes: tuple[ResolvedRoute, ...]
    may_fall: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """Hosts whose requests may take the same routes; without hosts it is for all that are in no other site."""

    hosts: tuple[str, ...]
    exact: list[Place] = field(default_factory=list)
    patterns: list[Place] = field(default_factory=list)
    prefixes: list[Place] = field(default_factory=list)

    @property
    def places(self) -> list[Place]:
        return [*self.exact, *self.patterns, *self.prefixes]


def sites_of(routes: Iterable[ResolvedRoute]) -> list[Site]:
    """The sites, that for any other host last."""
    routes = [route for route in routes if not route.is_variant]
    everywhere = [route for route in routes if not route.hosts]
    of_host: dict[str, list[ResolvedRoute]] = {}
    for route in routes:
        for host in dict.fromkeys(route.hosts):
            of_host.setdefault(host, []).append(route)
    groups: dict[tuple[int, ...], tuple[list[str], list[Sequence[ResolvedRoute]]]] = {}
    for host in of_host:
        levels = [of_host[each] for each in (host, *_wildcards(host)) if each in of_host]
        key = tuple(id(route) for level in levels for route in (*level, None))
        groups.setdefault(key, ([], [*levels]))[0].append(host)
    found = [_site(tuple(hosts), [*levels, everywhere]) for hosts, levels in groups.values()]
    return [*found, _site((), [everywhere])]


def own_paths(site: Site, served: Iterable[str], losses: Losses) -> list[str]:
    """Those of the gateway's own endpoints that no route of the site has taken over.

    That is one for just this path, one for `/`, and one with `hosts` for the prefix that an endpoint has as its path.
    Where such a route asks for more, Portico answers what it does not take, which is listed.
    """
    takers = {literal_of(place.path): _written_for(place) for place in site.exact}
    for place in site.prefixes:
        own = _written_for(place)
        if any(route.hosts for route in own) or (own and place.path == "/"):
            takers.setdefault(place.path, own)
    found = []
    for path in served:
        own = takers.get(path, ())
        if not own:
            found.append(path)
        elif not any(map(is_open, own)):
            why = f"what this route does not take of {path} gets no answer of the gateway's own there"
            losses.add(own[0].source if own[0].is_default else (*own[0].source, "path"), why)
    return found


def _written_for(place: Place) -> Sequence[ResolvedRoute]:
    """The routes for just its path, which those above it follow."""
    return [route for route in place.routes if route.path == place.path and not route.is_fallback]


def _wildcards(host: str) -> list[str]:
    """The wildcards above a host, the longest first."""
    labels = host.removeprefix("*.").split(".")
    first = 1
    return ["*." + ".".join(labels[at:]) for at in range(first, len(labels))]


def _site(hosts: tuple[str, ...], levels: Sequence[Sequence[ResolvedRoute]]) -> Site:
    own, fallbacks = _by_path(levels)
    site = Site(hosts)
    patterns = [path for path in own if is_pattern(path)]
    patterns.sort(key=lambda path: min(_turn(route) for route in own[path]))
    for path, several in own.items():
        if is_exact(path):
            matching = (own[each] for each in patterns if _matches(each, literal_of(path)))
            site.exact.append(_place(path, several, own, fallbacks, matching))
        elif not is_pattern(path):
            site.prefixes.append(_place(path, several, own, fallbacks))
    for path in patterns:
        may_fall = not any(map(is_open, own[path])) and bool(len(own) > 1 or fallbacks)
        site.patterns.append(Place(path, _until_open(own[path]), may_fall))
    return site


_ByPath = dict[str, list[ResolvedRoute]]


def _by_path(levels: Sequence[Sequence[ResolvedRoute]]) -> tuple[_ByPath, list[ResolvedRoute]]:
    """The routes by their paths, in the order in which they are asked, and those of no path."""
    own: _ByPath = {}
    fallbacks: list[ResolvedRoute] = []
    for level in levels:
        for route in sorted(level, key=_rank):
            (fallbacks if route.is_fallback else own.setdefault(route.path, [])).append(route)
    if fallbacks:
        own.setdefault("/", [])
    return own, fallbacks


def _place(
    path: str,
    several: Sequence[ResolvedRoute],
    own: _ByPath,
    fallbacks: Sequence[ResolvedRoute],
    matching: Iterable[Sequence[ResolvedRoute]] = (),
) -> Place:
    """The place of an exact path, or of a prefix; `matching` are the routes of the patterns for it."""
    candidates = [*several]
    if not any(map(is_open, several)):
        for others in matching:
            candidates += others
        for prefix in _above(literal_of(path), is_exact(path)):
            candidates += own.get(prefix, ())
        candidates += fallbacks
    return Place(path, _until_open(candidates))


def _matches(pattern: str, path: str) -> bool:
    return bool(PatternSet([pattern_of(pattern)]).matches(path_text(segments_of(path.encode()))))


def _above(path: str, itself: bool) -> list[str]:
    """The prefixes above a path, the longest first."""
    found = [path] if itself else []
    while path not in ("/", ""):
        path = path.rpartition("/")[0] or "/"
        found.append(path)
    return found


def _turn(route: ResolvedRoute) -> int:
    return int(route.source[1]) if route.source[:1] == ("routes",) else 0


def _rank(route: ResolvedRoute) -> tuple[int, bool]:
    return -len(route.headers) - len(route.query), not route.methods


def _until_open(routes: Sequence[ResolvedRoute]) -> tuple[ResolvedRoute, ...]:
    taken: list[ResolvedRoute] = []
    for route in routes:
        if not any(route is other for other in taken):
            taken.append(route)
        if is_open(route):
            break
    return tuple(taken)
