"""Ways around what guards a route: a default route, an encoded slash, a pattern."""

from __future__ import annotations

import string
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from portico.config.model import Config
from portico.config.problems import Finding
from portico.config.reachability import LONGEST, MOST_STATES, pattern_for
from portico.config.resolve import ResolvedRoute
from portico.core.patterns.pattern import Pattern
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import beginning_of, is_pattern, is_prefix

_GUARDS: Final = frozenset({"auth", "authorize", "ip_filter"})
"""The policies that say who may come: a way around them is worth a warning."""

_PLAIN: Final = string.ascii_lowercase + string.digits + "/-_.~" + string.ascii_uppercase + "!$&'()*+,;=:@"
"""The characters of paths that are shown, those before others that say more."""

_ANY, _WILD = "", "*"
"""What stands in the index for routes without hosts, and for those with a host that has a `*`."""


def unguarded_defaults(config: Config) -> Iterator[Finding]:
    """Routes whose own policies guard a service that the default routes leave open."""
    defaults: dict[str | None, list[tuple[int, ResolvedRoute]]] = defaultdict(list)
    for number, route in enumerate(config.all_routes):
        if route.is_default and any(each.serves(route.name) for each in config.gateway.listeners):
            defaults[route.service].append((number, route))
    for index, written in enumerate(config.routes):
        guards = _GUARDS & written.policies.model_fields_set
        services = {service for service, _ in written.targets} if guards else ()
        around = [each for name in services for each in defaults.get(name, ()) if guards - each[1].policies.keys()]
        if around:
            _, other = min(around, key=lambda each: each[0])
            message = (
                f"{other.path} leads to {other.service} without these policies; write them into the service, "
                "or default_routes: false"
            )
            yield Finding(("routes", index, "policies"), message, at_key=True)


def unguarded_slashes(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Routes whose encoded slashes reach, at a service that decodes them, what another route guards."""
    guarded: _Guarded | None = None
    for route in routes:
        if not route.encoded_slashes:
            continue
        guarded = guarded or _Guarded(routes)
        prefix = beginning_of(route.path).rstrip("/")
        for other, missing in guarded.below(route):
            path = beginning_of(other.path)
            rest = path[len(prefix) + 1 :].replace("/", "%2F")
            message = (
                f"{prefix}/{rest}%2Fx passes without {missing} of the route {other.name}: "
                f"a service that decodes it would serve {path}/x"
            )
            yield Finding((*route.source, "encoded_slashes"), message)


def unguarded_prefixes(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """A finding for each pattern that leads into a guarded prefix of the same service, and past its guard.

    One that is written for paths below that prefix is an exception from it, as a longer prefix would be.
    """
    guarded: _Guarded | None = None
    for route in routes:
        if not is_pattern(route.path):
            continue
        if guarded is None:
            guarded = _Guarded(each for each in routes if is_prefix(each.place) and len(each.path) <= LONGEST)
        for other, missing in guarded.below(route):
            path = _shared_path(pattern_for(route), pattern_for(other))
            if path is not None:
                message = f"{path} passes without {missing} of the route {other.name}: a pattern comes before a prefix"
                yield Finding((*route.source, "path"), message)


_Places: TypeAlias = "list[tuple[str, int, ResolvedRoute]]"
"""The beginnings of routes, each ending with a slash, in order; with the number of each route."""


class _Guarded:
    """The guarded ones of some routes, by service, host and guards: those below a path stand side by side."""

    def __init__(self, routes: Iterable[ResolvedRoute]) -> None:
        self._by_host: dict[tuple[str | None, str | None], dict[frozenset[str], _Places]] = {}
        """Those of all hosts are at None as well."""
        for number, route in enumerate(routes):
            guards = _GUARDS.intersection(route.policies)
            if guards:
                place = _below(route), number, route
                for host in (None, *_hosts(route)):
                    self._by_host.setdefault((route.service, host), defaultdict(list))[guards].append(place)
        for by_guards in self._by_host.values():
            for places in by_guards.values():
                places.sort(key=lambda place: place[:2])

    def below(self, route: ResolvedRoute) -> list[tuple[ResolvedRoute, str]]:
        """Those below the beginning of a route that may get the same requests; with the guards that it has not."""
        hosts, beginning = _hosts(route), _below(route)
        asked = (None,) if {_ANY, _WILD} & hosts else (*hosts, _ANY, _WILD)
        found = {}
        for host in asked:
            for guards, places in self._by_host.get((route.service, host), {}).items():
                missing = " and ".join(sorted(guards - route.policies.keys()))
                for _, number, other in _beginning(places, beginning) if missing else ():
                    found[number] = other, missing
        return [found[number] for number in sorted(found)]


def _below(route: ResolvedRoute) -> str:
    """What stands before all that is below it."""
    return f"{beginning_of(route.path).rstrip('/')}/"


def _hosts(route: ResolvedRoute) -> set[str]:
    """The hosts that it is for, as they stand in the index."""
    return {_WILD if "*" in host else host for host in route.hosts} or {_ANY}


def _beginning(places: _Places, beginning: str) -> _Places:
    """Those that go on behind `beginning`."""
    start = bisect_left(places, (f"{beginning}\0",))
    return places[start : bisect_left(places, (f"{beginning}\x7f",), start)]


def _shared_path(one: Pattern, other: Pattern) -> str | None:
    """The shortest path that both match; None for none, or where that is not known."""
    sets = PatternSet([one]), PatternSet([other])
    kinds = tuple(each.kinds() for each in sets)
    symbols = {(kinds[0][ord(each)], kinds[1][ord(each)]): each for each in reversed(_PLAIN)}.values()
    coming = deque([(sets[0].start, sets[1].start, "")])
    seen: set[tuple[int, int]] = set()
    while coming and len(seen) < MOST_STATES:
        first, second, text = coming.popleft()
        if sets[0].ending(first) and sets[1].ending(second):
            return text
        for symbol in symbols:
            pair = sets[0].step(first, symbol), sets[1].step(second, symbol)
            key = id(pair[0]), id(pair[1])
            if key not in seen and sets[0].is_alive(pair[0]) and sets[1].is_alive(pair[1]):
                seen.add(key)
                coming.append((*pair, text + symbol))
    return None
