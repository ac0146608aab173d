"""Kong's routes, in an order in which the same one wins, with the policies that their plugins come to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from portico.imports.draft import Draft, Part, numbered
from portico.imports.kong.conditions import SOME_HOSTS, conditions, transport
from portico.imports.kong.entities import Entities, Plugin, called, names_of
from portico.imports.kong.joined import join_routes
from portico.imports.kong.paths import LOOKS_LIKE_PATTERN, Path, read_path, whole_segments, written
from portico.imports.kong.pieces import AUTH, Piece, Reading
from portico.imports.kong.plugins import piece_of
from portico.imports.kong.services import Services
from portico.imports.located import Value
from portico.imports.order import Matching, beginning_of, in_file_order, literal, settle
from portico.imports.policies import GUARDS, hoist, merged
from portico.imports.remarks import SourceError

_OWN: Final = "portico-health"
"""The route by which `portico render kong` answers for the gateway itself."""
_HTTP: Final = frozenset({"http", "https"})
_WEBSOCKETS: Final = frozenset({"ws", "wss"})


@dataclass(slots=True, eq=False)
class _Candidate:
    """One path of a route, until all of them are known."""

    route: Value
    path: Path
    rank: tuple[Any, ...]
    name: str
    data: dict[str, Any]
    base: str
    strips: bool
    service: str
    closed: str
    uri: str
    comments: list[str] = field(default_factory=list)
    origins: frozenset[str] = frozenset()

    @property
    def matching(self) -> Matching:
        return self.path.matching


class Routes:
    """Reads all routes, and writes them."""

    def __init__(self, entities: Entities, services: Services, reading: Reading, draft: Draft) -> None:
        self.entities, self.services, self.reading, self.draft = entities, services, reading, draft
        self._pieces: dict[tuple[Plugin, frozenset[str]], Piece] = {}
        self._by_route: dict[str, dict[str, Plugin]] = {}
        self._by_service: dict[str, dict[str, Plugin]] = {}
        self._global: dict[str, Plugin] = {}
        self._names: dict[str, int] = {}
        self._prefixes: list[Value] = []
        self._below: list[Value] = []
        """Prefixes with a slash at their end, of which Kong does not take the bare form."""
        known = {name for route, _ in entities.routes for name in (*names_of(route, "name"), called(route))}
        for plugin in entities.plugins:
            if plugin.group:
                draft.left(plugin.where, f"{plugin.name} of the group {plugin.group}", "policies are of routes")
            elif not plugin.consumer:
                self._place(plugin, known)

    def _place(self, plugin: Plugin, routes: set[str]) -> None:
        """Keep a plugin with what it is limited to."""
        place = self._global
        if plugin.route:
            if plugin.route not in routes:
                raise SourceError(plugin.where, f"{plugin.name}: there is no route {plugin.route}")
            place = self._by_route.setdefault(plugin.route, {})
        elif plugin.service:
            service = self.services.names.get(plugin.service)
            if service is None and plugin.service not in self.services.off:
                raise SourceError(plugin.where, f"{plugin.name}: there is no service {plugin.service}")
            place = self._by_service.setdefault(service or plugin.service, {})
        else:
            self.draft.policies.where = plugin.where
        if plugin.name in place:
            raise SourceError(
                plugin.where, f"{plugin.name}: it is there already, in line {place[plugin.name].where.line}"
            )
        place[plugin.name] = plugin

    def write(self) -> None:
        """All of them, into the draft."""
        candidates = [each for route, service in self.entities.routes for each in self._read(route, service)]
        ranked = sorted(candidates, key=lambda each: each.rank)
        for each in ranked:
            each.matching.form = None if each.closed else (each.strips, each.uri)
        settle([each.matching for each in ranked])
        for candidate in in_file_order(candidates, ranked):
            self._write(candidate)
        join_routes(self.draft)
        self._say(self._prefixes, "prefixes are of whole segments here: /foobar is no longer taken by /foo")
        exact = {part.data["path"] for part in self.draft.routes}
        below = [each for each in self._below if f"= {each.text().rstrip('/')}" not in exact]
        self._say(below, "a prefix takes its bare form, too: /foo is taken by /foo/")
        hoist(self.draft, frozenset(self._plugin_keys(self._global)))

    def _say(self, prefixes: list[Value], why: str) -> None:
        """What changes with all these, once."""
        if prefixes:
            count = f" and {len(prefixes) - 1} more" if prefixes[1:] else ""
            self.draft.changed(prefixes[0].where, f"paths: {prefixes[0].text()}{count}", why)

    def _plugin_keys(self, plugins: dict[str, Plugin]) -> set[str]:
        return {key for plugin in plugins.values() for key in self._piece(plugin).policies}

    def _piece(self, plugin: Plugin) -> Piece:
        key = (plugin, self.reading.auth)
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = piece_of(plugin, self.reading)
        return found

    def _plugins(self, route: Value, service: str) -> dict[str, Plugin]:
        """The plugins of a route, of which that of the route comes before that of the service and of all."""
        found = {**self._global, **self._by_service.get(service, {})}
        for name in {*names_of(route, "name"), called(route)}:
            found.update(self._by_route.get(name, {}))
        return found

    def _read(self, route: Value, named: str) -> list[_Candidate]:
        """The paths of a route."""
        service = self.services.names.get(named, "")
        where = f"route {route.text_at('name') or route.name}"
        if route.text_at("name") == _OWN:
            self.draft.taken(route.where, where, "the gateway has these paths of its own")
            return []
        if named and named in self.services.off:
            self.draft.left(route.where, where, "its service is not enabled")
            return []
        if named and not service:
            raise SourceError(route.where, f"{route.name}: there is no service {named}")
        protocols = route.get("protocols").texts() or ["http", "https"]
        if _WEBSOCKETS & set(protocols) and not _HTTP & set(protocols):
            self.draft.changed(
                route.get("protocols").where, where, "it takes plain requests, too, not WebSockets alone"
            )
        elif not _HTTP & set(protocols):
            self.draft.left(route.where, where, f"{', '.join(protocols)} is not proxied")
            return []
        comments: list[str] = []
        data, unsaid = conditions(route, self.draft)
        closed, piece, origins = self._treated(route, service)
        is_guarded = bool(closed or GUARDS & piece.policies.keys() or "respond" in piece.route)
        if unsaid and not is_guarded and unsaid != SOME_HOSTS:
            self.draft.left(route.where, where, f"it is left out: {unsaid}")
            return []
        if unsaid and is_guarded:  # no other route may get its requests without its guard
            closed = f"it is guarded, and {unsaid}"
            if unsaid == SOME_HOSTS:
                data.pop("hosts")
        transport(route, protocols, any(self.services.base.values()), comments, self.draft)
        data.update(piece.route)
        if not service and not {"respond", "redirect"} & data.keys():
            closed = closed or "it has no service"
        closed = closed or self.services.closed.get(service, "")
        if piece.policies:
            data["policies"] = piece.policies
        if "cors" in piece.policies and len(data.get("methods", ())) > 1:  # which answers preflights itself
            data["methods"] = [each for each in data["methods"] if each != "OPTIONS"]
        name = route.text_at("name") or service or "route"
        paths = [(item, item.text()) for item in route.get("paths").items()] or [
            (route.get("expression"), beginning_asked(route))
        ]
        halves = whole_segments([text for _, text in paths])
        paths = [(item, halves.get(text, text)) for item, text in paths]
        paths = list({text: (item, text) for item, text in reversed(paths)}.values())[::-1]
        return [
            self._candidate(route, item, text, data, name, service, closed, piece.uri, comments, origins)
            for item, text in paths
        ]

    def _is_proxied(self, route: Value, where: str, protocols: set[str]) -> bool:
        """Whether it is for HTTP, or for WebSockets, which begin with it."""
        if _HTTP & protocols:
            return True
        if _WEBSOCKETS & protocols:
            self.draft.changed(
                route.get("protocols").where, where, "it takes plain requests, too, not WebSockets alone"
            )
            return True
        self.draft.left(route.where, where, f"{', '.join(sorted(protocols))} is not proxied")
        return False

    def _candidate(
        self,
        route: Value,
        item: Value,
        text: str,
        data: dict[str, Any],
        name: str,
        service: str,
        closed: str,
        uri: str,
        comments: list[str],
        origins: frozenset[str],
    ) -> _Candidate:
        version = self.entities.version
        try:
            path = read_path(text, version)
        except ValueError as error:
            raise SourceError(item.where, f"{item.name}: {text}: {error}") from None
        if version == "3.0" and not path.is_pattern and LOOKS_LIKE_PATTERN.search(text):
            why = "it looks like a pattern, which begins with ~ in Kong 3: this is a prefix, to the letter"
            self.draft.changed(item.where, f"paths: {text}", why)
            comments = [*comments, f"{item.where}: paths: {text}: {why}"]
        matching = path.matching
        matching.hosts = tuple(data.get("hosts", ()))
        matching.conditions = len(data.get("headers", ()))
        matching.has_methods = "methods" in data
        matching.guard = frozenset(GUARDS & data.get("policies", {}).keys())
        if closed or "respond" in data:
            matching.guard |= {"closed"}
        matching.target = self.services.instances.get(service)
        if matching.kind == "prefix" and matching.prefix != "/" and item.text() == text:
            (self._below if text.endswith("/") else self._prefixes).append(item)
        return _Candidate(
            route,
            path,
            self._rank(route, path, text),
            name,
            data,
            self.services.base.get(service, ""),
            route.flag_at("strip_path", default=True),
            service,
            path.why or closed,
            uri,
            comments,
            origins,
        )

    @staticmethod
    def _rank(route: Value, path: Path, text: str) -> tuple[Any, ...]:
        """Kong's order: what more is asked of comes first, then patterns, then what is longer."""
        if route.has("expression"):  # what is closed for want of words for it comes first
            return (-9,)
        asked = sum(bool(route.get(key).raw) for key in ("methods", "hosts", "headers", "snis", "paths"))
        hosts = route.get("hosts").texts()
        plain = bool(hosts) and not any("*" in host for host in hosts)
        priority = route.get("regex_priority").number() if path.is_pattern and route.has("regex_priority") else 0
        length = 0 if path.is_pattern and route.has("paths") else len(text)
        return -asked, not plain, -len(route.get("headers").entries()), not path.is_pattern, -priority, -length

    def _treated(self, route: Value, service: str) -> tuple[str, Piece, frozenset[str]]:
        """Why a route is closed, what its plugins come to, and which policies are of more than it."""
        plugins = self._plugins(route, service)
        self.reading.auth = AUTH.intersection(plugins)
        whole, closed = Piece(), ""
        shared: set[str] = set()
        for name, plugin in plugins.items():
            piece = self._piece(plugin)
            if piece.closed:
                closed = f"{name}: {piece.closed}"
                self.draft.left(plugin.where, name, f"routes answer 503: {piece.closed}")
            whole.policies = merged(whole.policies, piece.policies)
            whole.route.update(piece.route)
            whole.uri = piece.uri or whole.uri
            if not plugin.route:
                shared |= piece.policies.keys()
        if "authorize" in whole.policies and "auth" not in whole.policies:
            closed = closed or "acl: it asks for groups, and no plugin says who asks"
        if "respond" in whole.route and service:
            whole.route.pop("body_size", None)
        return closed, whole, frozenset(shared)

    def _write(self, candidate: _Candidate) -> None:
        if candidate.path.why and not guarded_beginning(candidate.matching):
            why = f"it is left out: {candidate.path.why}"
            self.draft.left(candidate.route.where, f"route {candidate.name}", why)
            return
        name = numbered(candidate.name, self._names)
        part = Part(candidate.route.where, {"name": name})
        for text in dict.fromkeys(candidate.comments):
            part.comment(text)
        self.draft.routes.append(part)
        where, closed = candidate.route.where, candidate.closed
        if candidate.path.why and (beginning := guarded_beginning(candidate.matching)):
            part.data.update(path=beginning, **conditions_of(candidate.data), respond=503)
            self.draft.left(where, f"route {name}", f"{beginning} answers 503: {candidate.path.why}", part)
            return
        answers = {"respond", "redirect"} & candidate.data.keys()
        strips = candidate.strips and not answers
        try:
            path = written(candidate.path, strips=strips, base=candidate.base, uri="" if answers else candidate.uri)
        except ValueError as error:
            closed = closed or str(error)
            path = written(candidate.path, strips=False, base="")
        part.data["path"] = path.path
        part.data.update(conditions_of(candidate.data))
        if closed:
            part.data["respond"] = 503
            self.draft.left(where, f"route {name}", f"it answers 503: {closed}", part)
            return
        if path.changed:
            self.draft.changed(where, f"route {name}: {path.path}", path.changed, part)
        rest = {key: value for key, value in candidate.data.items() if key not in ("hosts", "methods", "headers")}
        if not answers:
            part.data["service"] = self.services.same.get(candidate.service, candidate.service)
            if path.rewrite:
                part.data["rewrite"] = path.rewrite
            part.data["preserve_host"] = candidate.route.flag_at("preserve_host")
        part.data.update(rest)
        self.draft.taken(where, f"route {name}", path.note)
        if path.changed and candidate.matching.guard:
            self._beside(candidate, name)

    def _beside(self, candidate: _Candidate, name: str) -> None:
        """What a pattern takes in Kong that goes on after it: closed, so that no route without its guard gets that."""
        beside = written(candidate.path, strips=False, base="")
        part = Part(candidate.route.where, {"name": numbered(candidate.name, self._names), "path": beside.path})
        part.data.update(conditions_of(candidate.data), respond=503)
        part.comment(f"{candidate.route.where}: what {name} took beyond a whole segment")
        self.draft.routes.append(part)


_PATH_ASKED: Final = re.compile(r'http\.path\s*(?:\^=|==)\s*"(/[\w/.~-]*)"')


def beginning_asked(route: Value) -> str:
    """What the paths of a route without any begin with: that of its expression, where that asks for one."""
    expression = route.text_at("expression")
    found = _PATH_ASKED.search(expression)
    return found[1] if found and "||" not in expression and "!" not in expression else "/"


def conditions_of(data: dict[str, Any]) -> dict[str, Any]:
    """What a route asks for beside its path."""
    return {key: data[key] for key in ("hosts", "methods", "headers") if key in data}


def guarded_beginning(matching: Matching) -> str:
    """What paths of a pattern that there is not here begin with, where something guards them: all that is closed."""
    return f"~ ^{literal(beginning_of(matching))}" if matching.guard else ""
