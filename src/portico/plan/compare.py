"""The changes between two configurations, as they are resolved: how they are written does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from portico.config import Config, ResolvedRoute
from portico.config.problems import Finding, KeyPath
from portico.config.services import ServiceSettings, VersionSettings
from portico.plan.changes import Change, Effect, Kind
from portico.plan.effects import effect_of
from portico.plan.takers import opened
from portico.plan.values import differences
from portico.policies import ON_BY_DEFAULT

AnyService = TypeVar("AnyService", ServiceSettings, VersionSettings)

_OTHERWISE: Final = frozenset(("name", "source", "policies", "side", "is_variant", "is_default"))
"""What of a route is no change by itself, or is compared apart."""
_OF_ALL: Final = frozenset(("split", "choice", "mirrors"))
"""What all variants of a route have, and is said of the first."""
_TARGET: Final = frozenset(("service", "version", "rewrite", "answer"))
_COMPARED: Final = tuple(field.name for field in fields(ResolvedRoute) if field.name not in _OTHERWISE)
_values: Final = attrgetter(*_COMPARED)
_matched: Final = attrgetter("path", "is_fallback", "hosts", "methods", "headers", "query")
"""What says which requests a route matches, as it is written."""
_WRITTEN: Final = {"timeouts": "timeout", "retry": "retries", "answer": "response", "mirrors": "mirror"}
"""What fields of a route are called in the file, where it is otherwise."""
_SEVERAL: Final = 8
"""Names of routes that are listed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes: of the gateway, then services, consumers, routes and policies, each in the order of the files."""

    changes: tuple[Change, ...]

    @property
    def warnings(self) -> tuple[Change, ...]:
        """Those that should make an operator look twice."""
        return tuple(change for change in self.changes if change.warning)


def plan(old: Config, new: Config) -> Plan:
    """What `new` would change in a gateway that has `old`."""
    return Plan(tuple(_Comparison(old, new).changes()))


class _Comparison:
    def __init__(self, old: Config, new: Config) -> None:
        self.old, self.new = old, new
        self._known: dict[tuple[int, int], list[str]] = {}
        """The differences of settings that many routes share, by their identities."""
        self._same: dict[tuple[int, int], bool] = {}
        self._of_service: dict[str, set[str]] = {}
        """Lines that are said of a service, and need not be said of each of its routes."""

    def changes(self) -> Iterator[Change]:
        yield from self._section("gateway", ("gateway",), self.old.gateway, self.new.gateway)
        yield from self._section("discover", ("discover",), self.old.discover, self.new.discover)
        yield from self._services()
        yield from self._consumers()
        yield from self._routes()

    def _section(self, what: str, path: KeyPath, old: Any, new: Any) -> Iterator[Change]:
        if details := differences(old, new):
            yield Change(Kind.CHANGED, what, tuple(details), where=_place(self.new, path))

    def _services(self) -> Iterator[Change]:
        old, new = self.old.services, self.new.services
        for name in {**new, **old}:
            path: KeyPath = ("services", name)
            if name not in old:
                yield Change(Kind.ADDED, f"service {name}", where=_place(self.new, path))
            elif name not in new:
                yield Change(Kind.REMOVED, f"service {name}", where=_place(self.old, path))
            else:
                details = differences(_plain(old[name]), _plain(new[name]), ("policies", "default_routes", "rewrite"))
                details = [
                    line for line in details if ".policies." not in line
                ]  # those of versions are of their routes
                if details:
                    self._of_service[name] = set(details)
                    yield Change(Kind.CHANGED, f"service {name}", tuple(details), where=_place(self.new, path))

    def _consumers(self) -> Iterator[Change]:
        old = {consumer.name: consumer for consumer in self.old.consumers}
        new = {consumer.name: consumer for consumer in self.new.consumers}
        order = {consumer.name: index for index, consumer in enumerate(self.new.consumers)}
        for name in {**new, **old}:
            where = _place(self.new, ("consumers", order[name])) if name in new else ""
            if name not in old:
                yield Change(Kind.ADDED, f"consumer {name}", where=where)
            elif name not in new:
                yield Change(Kind.REMOVED, f"consumer {name}", effect=Effect.TIGHTENED)
            elif details := differences(old[name], new[name]):
                yield Change(Kind.CHANGED, f"consumer {name}", tuple(details), where=where)

    def _routes(self) -> Iterator[Change]:
        old, new = _by_key(self.old.all_routes), _by_key(self.new.all_routes)
        pairs = _pairs(old, new)
        kept = {id(one) for one, _ in pairs.values()}
        policies: dict[tuple[str, str, tuple[str, ...]], list[tuple[ResolvedRoute, Any, Any]]] = {}
        for key, route in new.items():
            if key not in pairs:
                yield self._added(route)
                continue
            before, after = pairs[key]
            yield from self._changed(before, after)
            self._gather(before, after, policies)
        for route in old.values():
            if id(route) not in kept:
                yield Change(
                    Kind.REMOVED, f"route {_named(route)}", (_said(route),), where=_place(self.old, route.source)
                )
        yield from self._policies(policies)
        same = {(id(before), id(after)) for before, after in pairs.values()}
        for first, second in opened(self.old.all_routes, self.new.all_routes):
            if (id(first), id(second)) in same:
                continue  # that it lost its guard is said already
            yield Change(
                Kind.CHANGED,
                f"route {second.name}",
                effect=Effect.LOOSENED,
                where=_place(self.new, second.source),
                warning=f"it takes requests that route {first.name} took, which asked who they are, and asks nobody",
            )

    def _added(self, route: ResolvedRoute) -> Change:
        return Change(Kind.ADDED, f"route {_named(route)}", (_said(route),), where=_place(self.new, route.source))

    def _changed(self, old: ResolvedRoute, new: ResolvedRoute) -> Iterator[Change]:
        details: list[str] = []
        names: set[str] = set()
        inherited = self._of_service.get(new.service or "", set()) if new.service == old.service else set()
        if old.name != new.name and _is_written(self.old, old) and _is_written(self.new, new):
            details.append(f"name: {_named(old)} → {_named(new)}")
        for name, one, other in zip(_COMPARED, _values(old), _values(new), strict=True):
            if one is other or self._equal(one, other) or (new.is_variant and name in _OF_ALL):
                continue
            lines = [_under(_WRITTEN.get(name, name), line) for line in self._differences(one, other)]
            if not inherited.issuperset(lines):
                names.add(name)
                details += lines
        if details:
            effect = Effect.RETARGETED if names & _TARGET else None
            yield Change(Kind.CHANGED, f"route {_named(new)}", tuple(details), effect, _place(self.new, new.source))

    def _equal(self, one: Any, other: Any) -> bool:
        """Whether they are; what many routes share is compared once."""
        if not isinstance(one, BaseModel):
            return bool(one == other)
        key = id(one), id(other)
        if key not in self._same:
            self._same[key] = one == other
        return self._same[key]

    def _differences(self, old: Any, new: Any) -> list[str]:
        key = id(old), id(new)
        if key not in self._known:
            self._known[key] = differences(old, new)
        return self._known[key]

    def _gather(
        self,
        old: ResolvedRoute,
        new: ResolvedRoute,
        into: dict[tuple[str, str, tuple[str, ...]], list[tuple[ResolvedRoute, Any, Any]]],
    ) -> None:
        """Routes whose policies change in the same way come together."""
        for key in {**new.policies, **old.policies}:
            before, after = _settings(old, key), _settings(new, key)
            lines = self._differences(before, after)
            if lines:
                kind = Kind.CHANGED
                if not (before and after):
                    kind = Kind.REMOVED if before else Kind.ADDED
                    lines = []
                into.setdefault((key, kind, tuple(lines)), []).append((new, before, after))

    def _policies(
        self, gathered: Mapping[tuple[str, str, tuple[str, ...]], list[tuple[ResolvedRoute, Any, Any]]]
    ) -> Iterator[Change]:
        for (key, kind, lines), routes in gathered.items():
            route, before, after = routes[0]
            names = [each.name for each, _, _ in routes]
            effect = effect_of(key, before or None, after or None)
            yield Change(
                Kind(kind),
                f"policy {key} of {_listed(names)}",
                lines,
                effect,
                _place(self.new, route.source),
                _warning(key, effect, before, after),
            )


def _plain(service: ServiceSettings) -> ServiceSettings:
    """With instances in place of a single URL, which is short for them."""
    versions = {name: _with_instances(each) for name, each in service.versions.items()}
    return _with_instances(service).model_copy(update={"versions": versions})


def _with_instances(settings: AnyService) -> AnyService:
    return settings.model_copy(update={"url": None, "instances": settings.all_instances})


def _by_key(routes: Iterable[ResolvedRoute]) -> dict[tuple[str, str], ResolvedRoute]:
    """Each by its name and, where it is there for several, its side or version."""
    return {(route.name, _variant(route)): route for route in routes}


def _variant(route: ResolvedRoute) -> str:
    if route.side is not None:
        return route.side.label
    return str(route.version) if route.choice is not None else ""


def _pairs(
    old: Mapping[tuple[str, str], ResolvedRoute], new: Mapping[tuple[str, str], ResolvedRoute]
) -> dict[tuple[str, str], tuple[ResolvedRoute, ResolvedRoute]]:
    """The route before and after, by the new one's key: one that matches the same, else one of the same name.

    Names come second: those that nobody wrote depend on what else there is. Routes of two listeners may match the same.
    """
    pairs: dict[tuple[str, str], tuple[ResolvedRoute, ResolvedRoute]] = {}
    left = dict(old)
    for key, route in new.items():
        same = old.get(key)
        if same is not None and (_matched(same) == _matched(route) or same.match == route.match):
            pairs[key] = left.pop(key), route
    for said in (_match, _name):
        known: dict[Any, tuple[str, str]] = {}
        for key, route in left.items():
            known.setdefault((said(route), key[1]), key)
        for key, route in new.items():
            found = known.pop((said(route), key[1]), None) if key not in pairs else None
            if found is not None:
                pairs[key] = left.pop(found), route
    return pairs


def _match(route: ResolvedRoute) -> Any:
    return route.match


def _name(route: ResolvedRoute) -> Any:
    return route.name


def _settings(route: ResolvedRoute, key: str) -> Any:
    """Those of a policy: None where it is off, True where it is on as it is by default."""
    if key not in route.policies:
        return True if key in ON_BY_DEFAULT else None
    return route.policies[key][0]


def _warning(key: str, effect: Effect | None, before: Any, after: Any) -> str:
    if effect is not Effect.LOOSENED or key not in ("auth", "authorize"):
        return ""
    if key == "authorize":
        return "" if after else "callers need no right any more"
    if not after:
        return "callers are not asked who they are any more"
    return "callers without credentials get through" if after.optional and not before.optional else ""


def _is_written(config: Config, route: ResolvedRoute) -> bool:
    """Whether its name is."""
    return route.source[:1] == ("routes",) and bool(config.routes[int(route.source[1])].name)


def _named(route: ResolvedRoute) -> str:
    variant = _variant(route)
    return f"{route.name} ({variant})" if variant else route.name


def _said(route: ResolvedRoute) -> str:
    """What it takes, and where that goes."""
    parts = [*route.methods, *route.hosts, route.place]
    target = f"service {route.service}" if route.service else "an answer of its own"
    guard = "" if "auth" in route.policies or not route.service else ", asks nobody who they are"
    return f"{' '.join(parts)} → {target}{guard}"


def _under(name: str, line: str) -> str:
    return f"{name}: {line.removeprefix('value: ')}" if line.startswith("value: ") else f"{name}.{line}"


def _listed(names: list[str]) -> str:
    few = ", ".join(dict.fromkeys(names[:_SEVERAL]))
    more = len(set(names)) - len(set(names[:_SEVERAL]))
    kind = "route" if len(set(names)) == 1 else "routes"
    return f"{kind} {few}{f' and {more} more' if more > 0 else ''}"


def _place(config: Config, path: KeyPath) -> str:
    """The file and line at which that is written."""
    problem = config.problem(Finding(path, "", at_key=True))
    return ":".join(str(part) for part in (problem.file, problem.line) if part is not None)
