"""The same order of routes in a target that orders them by other rules.

Of two routes for one request, Portico takes the one whose path says more, whatever else they ask for. Others put the
one first that asks for more. Then a copy of the former that also asks for what the latter asks for comes before both,
and answers the requests that both would take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of

_ROUNDS: Final = 4
_MOST: Final = 2_000
"""Copies at least that may be made, however few routes there are."""
_MOST_PAIRS: Final = 20_000
"""Pairs of routes that may be out of order."""

Conditions: TypeAlias = tuple[tuple[str, str | bool], ...]
Key: TypeAlias = Callable[["Matcher"], Any]
"""What a target puts matchers in order by: the one with the greatest comes first."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a route takes: one of `hosts` and `methods`, where there are any, and all of `headers` and `query`."""

    route: ResolvedRoute
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    headers: Conditions
    query: Conditions
    is_copy: bool = False

    @property
    def path(self) -> str:
        """The path that requests for it have, as it is written."""
        return "/" if self.route.is_fallback else self.route.path

    @property
    def is_open(self) -> bool:
        """Whether it takes all that its path admits."""
        return not (self.hosts or self.methods or self.headers or self.query)

    @property
    def asked(self) -> tuple[Any, ...]:
        """All that it asks for beside the hosts, and whose it is."""
        return self.route.name, self.methods, self.headers, self.query


def matchers_of(route: ResolvedRoute) -> Iterator[Matcher]:
    """Those of a route: its hosts with a wildcard, which others put behind plain ones, have one of their own."""
    methods = tuple(sorted({*route.methods, *(["HEAD"] if "GET" in route.methods else [])}))
    headers, query = tuple(route.headers.items()), tuple(route.query.items())
    plain = tuple(host for host in route.hosts if "*" not in host)
    wild = tuple(host for host in route.hosts if "*" in host)
    for hosts in filter(None, (plain, wild)) if route.hosts else ((),):
        yield Matcher(route, hosts, methods, headers, query)


def in_order(matchers: Iterable[Matcher]) -> list[Matcher]:
    """As Portico's router asks them: by path, then by host, then by what else they ask for."""
    matchers = list(matchers)
    first: dict[str, int] = {}
    for matcher in matchers:
        first.setdefault(matcher.route.path, len(first))
    return sorted(matchers, key=lambda matcher: _rank(matcher, first))


def _rank(matcher: Matcher, first: dict[str, int]) -> tuple[Any, ...]:
    route, path = matcher.route, matcher.route.path
    if route.is_fallback:
        place = (3, 0)
    elif is_exact(path):
        place = (0, 0)
    elif is_pattern(path):
        place = (1, first[path])
    else:
        place = (2, -len(segments_of(path.encode())) if path != "/" else 0)
    wild = [len(host.split(".")) for host in matcher.hosts if "*" in host]
    host = (2, 0) if not matcher.hosts else (1, -max(wild)) if wild else (0, 0)
    return *place, *host, -len(matcher.headers) - len(matcher.query), not matcher.methods


@dataclass(slots=True)
class Settled:
    """The matchers with the copies that are needed, in Portico's order, and the pairs that no copy could settle."""

    matchers: list[Matcher]
    unsettled: list[tuple[Matcher, Matcher]]
    is_whole: bool = True
    """Whether all pairs were looked at: there may be too many."""


def settled(matchers: Sequence[Matcher], key: Key) -> Settled:
    """`matchers` are in Portico's order; of two for one request the target takes that with the greater `key`."""
    found = Settled([*matchers], [])
    most = max(_MOST, len(matchers))
    of_route: dict[int, list[Matcher]] = {}
    for matcher in matchers:
        of_route.setdefault(id(matcher.route), []).append(matcher)
    for _ in range(_ROUNDS):
        turn = {id(matcher): at for at, matcher in enumerate(found.matchers)}
        wanted: dict[tuple[int, tuple[Any, ...], bool], tuple[Matcher, dict[str, None]]] = {}
        found.unsettled = []
        for number, (first, second) in enumerate(_conflicts(found.matchers, key)):
            if number > _MOST_PAIRS:
                found.is_whole = False
                break
            both = _both(first, second)
            if both is None or _is_settled(of_route[id(first.route)], both, second, key):
                continue
            if both is first or not key(both) > key(second) or len(found.matchers) + len(wanted) > len(matchers) + most:
                found.unsettled.append((first, second))
                continue
            place = (turn[id(first)], both.asked, any("*" in host for host in both.hosts))
            wanted.setdefault(place, (both, {}))[1].update(dict.fromkeys(both.hosts))
        copies = {place: replace(both, hosts=tuple(hosts)) for place, (both, hosts) in wanted.items()}
        if not copies:
            break
        for matcher in copies.values():
            of_route[id(matcher.route)].append(matcher)
        found.matchers = _with(found.matchers, copies)
    return found


def _is_settled(own: Sequence[Matcher], both: Matcher, second: Matcher, key: Key) -> bool:
    """Whether something of the route that should be first is so for all that both take."""
    return any(_takes_all(matcher, both) and key(matcher) > key(second) for matcher in own)


def _takes_all(matcher: Matcher, other: Matcher) -> bool:
    """Whether it takes all that another one of its route takes."""
    return (
        (not matcher.hosts or all(any(covers(own, host) for own in matcher.hosts) for host in other.hosts or ("",)))
        and (not matcher.methods or (bool(other.methods) and {*other.methods} <= {*matcher.methods}))
        and {*matcher.headers} <= {*other.headers}
        and {*matcher.query} <= {*other.query}
    )


def _with(matchers: list[Matcher], copies: dict[tuple[int, tuple[Any, ...], bool], Matcher]) -> list[Matcher]:
    """Each copy stands before the one that it is of."""
    before: dict[int, list[Matcher]] = {}
    for (at, _, _), matcher in copies.items():
        before.setdefault(at, []).append(matcher)
    return [each for at, matcher in enumerate(matchers) for each in (*before.get(at, ()), matcher)]


def _both(first: Matcher, second: Matcher) -> Matcher | None:
    """What takes the requests that both take; `first` itself where that cannot be said, None where there are none."""
    hosts = _common_hosts(first.hosts, second.hosts)
    methods = tuple(method for method in first.methods if method in second.methods or not second.methods)
    if hosts is None or (first.methods and not methods):
        return None
    headers, query = _merged(first.headers, second.headers), _merged(first.query, second.query)
    if headers is None or query is None:
        return None
    if headers is _UNSAYABLE or query is _UNSAYABLE:
        return first
    return replace(first, hosts=hosts, methods=methods or second.methods, headers=headers, query=query, is_copy=True)


_UNSAYABLE: Final[Conditions] = (("", ""),)
"""Two conditions for one field, of which a target takes one."""


def _merged(own: Conditions, others: Conditions) -> Conditions | None:
    """What asks for both; None where no request has both."""
    written = {name.lower(): value for name, value in own}
    added = []
    for name, value in others:
        known = written.get(name.lower())
        if known is None:
            added.append((name, value))
        elif known != value:
            is_open = any(each is True or is_value_pattern(str(each)) for each in (known, value))
            return _UNSAYABLE if is_open else None
    return (*own, *added)


def _common_hosts(own: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where they have none in common."""
    if not own or not others:
        return own or others
    found = []
    for host in own:
        for other in others:
            if covers(other, host):
                found.append(host)
            elif covers(host, other):
                found.append(other)
    return tuple(dict.fromkeys(found)) or None


def covers(pattern: str, host: str) -> bool:
    """Whether a host, with a wildcard or without, is one of another one's."""
    return host == pattern or (pattern.startswith("*") and host.removeprefix("*").endswith(pattern[1:]))


def behind(first: Matcher, matchers: Sequence[Matcher]) -> Iterator[Matcher]:
    """Those that take requests for the path of `first` where that does not, in order, down to one that takes all."""
    paths = {matcher.path for matcher in matchers}
    patterns = [path for path in paths if is_pattern(path)]
    prefixes = [path for path in paths if path.startswith("/")]
    others = {path for path in _overlapping(first.path, patterns, prefixes) if path in paths}
    for matcher in matchers[matchers.index(first) + 1 :]:
        if matcher.path in others and not matcher.is_copy and _both(first, matcher) is not None:
            yield matcher
            if matcher.is_open and not is_pattern(matcher.path):
                return


# ---- which paths some request may have in common


@dataclass(slots=True)
class _At:
    """What stands at one path, by hosts: few of many have a host in common."""

    of_host: dict[str, list[tuple[int, Matcher]]] = field(default_factory=dict)
    others: list[tuple[int, Matcher]] = field(default_factory=list)
    everything: list[tuple[int, Matcher]] = field(default_factory=list)

    def add(self, turn: int, matcher: Matcher) -> None:
        self.everything.append((turn, matcher))
        if matcher.hosts and not any("*" in host for host in matcher.hosts):
            for host in matcher.hosts:
                self.of_host.setdefault(host, []).append((turn, matcher))
        else:
            self.others.append((turn, matcher))

    def meeting(self, matcher: Matcher) -> Iterable[tuple[int, Matcher]]:
        if not matcher.hosts or any("*" in host for host in matcher.hosts):
            return self.everything
        return [*self.others, *(each for host in matcher.hosts for each in self.of_host.get(host, ()))]


def _conflicts(matchers: Sequence[Matcher], key: Key) -> Iterator[tuple[Matcher, Matcher]]:
    """Pairs of which Portico takes the first, and the target the second, or either."""
    keys = [key(matcher) for matcher in matchers]
    at: dict[str, _At] = {}
    for turn, matcher in enumerate(matchers):
        if not matcher.is_open:
            at.setdefault(matcher.path, _At()).add(turn, matcher)
    patterns = [path for path in at if is_pattern(path)]
    prefixes = [path for path in at if path.startswith("/")]
    below: dict[str, list[str]] = {}
    for turn, matcher in enumerate(matchers):
        if matcher.is_copy:
            continue  # what it takes, the one that it is of takes as well
        path = matcher.path
        if path not in below:
            below[path] = [other for other in _overlapping(path, patterns, prefixes) if other in at]
        for other in below[path]:
            for later, second in at[other].meeting(matcher):
                if later > turn and not keys[turn] > keys[later] and matcher.route is not second.route:
                    yield matcher, second


def _overlapping(path: str, patterns: Sequence[str], prefixes: Sequence[str]) -> Iterator[str]:
    """The paths behind which requests for `path` may be asked for, itself included."""
    if is_exact(path):
        own = literal_of(path)
        yield path
        yield from (pattern for pattern in patterns if _matches(pattern, own))
        yield from _above(own)
    elif is_pattern(path):
        beginning = _beginning(path)
        yield from (pattern for pattern in patterns if _may_meet(beginning, _beginning(pattern)))
        yield from (prefix for prefix in prefixes if _may_meet(beginning, prefix.lower()))
    else:
        yield from _above(path)


def _matches(pattern: str, path: str) -> bool:
    return bool(PatternSet([pattern_of(pattern)]).matches(path_text(segments_of(path.encode()))))


def _above(path: str) -> Iterator[str]:
    yield path
    while path not in ("/", ""):
        path = path.rpartition("/")[0] or "/"
        yield path


def _beginning(pattern: str) -> str:
    """The whole segments with which what matches a pattern begins, whatever their case."""
    return pattern_of(pattern.replace("~*", "~", 1)).prefix.lower()


def _may_meet(one: str, other: str) -> bool:
    shorter, longer = sorted((one.rstrip("/"), other.rstrip("/")), key=len)
    return longer == shorter or longer.startswith(shorter + "/") or not shorter
