"""Services, routes, upstreams and consumers of Kong, made of Portico's routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from portico.config import Config, ResolvedRoute
from portico.config.endpoints import PATHS
from portico.config.problems import KeyPath
from portico.core.route_paths import literal_of
from portico.render.expressions import literal
from portico.render.kong.answers import answering, closed, own_answer
from portico.render.kong.auth import Credentials, closing
from portico.render.kong.conditions import can_be_asked, field_values, ignores_case
from portico.render.kong.names import Names
from portico.render.kong.paths import CLOSED, EXACT, Paths, closed_paths, order, paths_of, priorities_of
from portico.render.kong.plugins import Plugins, plugins_of, size_limit
from portico.render.kong.services import ServiceKey, Services
from portico.render.losses import Losses
from portico.render.policies import is_guarded
from portico.render.precedence import Matcher, behind, in_order, matchers_of, settled
from portico.render.sites import is_open, own_paths, sites_of
from portico.render.yaml_text import Noted


@dataclass(slots=True)
class _Written:
    """A route of Kong's before it is known which plugins its service has."""

    body: dict[str, Any]
    note: str
    plugins: Plugins
    is_own: bool = False


@dataclass(slots=True)
class Entities:
    """Collects them; `tree` is the file."""

    config: Config
    losses: Losses
    https_only: bool = False
    names: Names = field(default_factory=Names)
    _services: Services = field(init=False)
    _credentials: Credentials = field(init=False)
    _routes: dict[ServiceKey | None, list[_Written]] = field(default_factory=dict)
    _plugins: dict[str, Plugins] = field(default_factory=dict)
    _closed: dict[str, str] = field(default_factory=dict)
    """Why routes are closed, by their names."""
    _said: list[Plugins] = field(default_factory=list)
    """The plugins of all parts of the file."""

    def __post_init__(self) -> None:
        self._services = Services(self.config, self.losses, self.names)
        self._credentials = Credentials(self.config, self.losses)

    # ---- routes

    def add_own(self) -> None:
        """The gateway's own endpoints; Kong has no metrics and no documents here."""
        first = self.config.gateway.listeners[0]
        endpoints = self.config.gateway.endpoints_of(first)
        own = ("/livez", "/readyz", *endpoints.served())
        # Routes with hosts, or that ask for more, come before these in Kong: only others can take their place.
        others = [route for route in self.config.served_by(first) if not route.hosts and is_open(route)]
        site = sites_of(route for route in others if literal_of(route.path) in own)[-1]
        left = own_paths(site, own, self.losses)
        served = [path for path in left if path in ("/health", "/")]
        for path in served:
            if endpoints.access(path) == "internal":
                self.losses.add(("gateway", "endpoints", PATHS[path]), "Kong does not show this to some networks only")
        alive = [path for path in left if path in ("/livez", "/readyz", "/health")]
        for name, paths, said in (
            ("portico-health", alive, {"status": "ok"}),
            ("portico-root", ["/"] if "/" in served else [], {"message": self.config.gateway.title}),
        ):
            if paths:
                body = {
                    "name": self.names.free("route", name),
                    "paths": [f"~{literal(path)}$" for path in paths],
                    "regex_priority": 2 * EXACT,
                    "strip_path": False,
                    **self._protocols(),
                }
                plugins = Plugins()
                plugins.set("request-termination", own_answer(said))
                self._routes.setdefault(None, []).append(_Written(body, "the gateway's own", plugins, is_own=True))

    def close(self, reasons: Mapping[str, str]) -> None:
        """Routes are closed, by their names, for these reasons."""
        self._closed.update(reasons)

    def add_all(self, routes: Sequence[ResolvedRoute]) -> None:
        """All routes, in the order in which they are written."""
        variants: dict[str, list[ResolvedRoute]] = {}
        for route in routes:
            if route.is_variant and route.split is not None:
                variants.setdefault(route.name, []).append(route)
        said = [route for route in routes if not route.is_variant and self._can_be_asked(route)]
        matchers = in_order(matcher for route in said for matcher in matchers_of(route))
        priorities = priorities_of(matchers)
        matchers = [self._wide(matcher, priorities) for matcher in matchers]
        found = settled(matchers, lambda matcher: order(matcher, priorities))
        for first, second in found.unsettled:
            why = f"for a request that is of the route {second.route.name} as well, Kong may take that one"
            self.losses.add((*first.route.source, "path") if not first.route.is_default else first.route.source, why)
        if not found.is_whole:
            self.losses.add(
                ("routes",), "so many routes ask for different things that Kong may ask some in another order"
            )
        self._list_without_case(matchers)
        of_route: dict[str, list[Matcher]] = {}
        for matcher in found.matchers:
            of_route.setdefault(matcher.route.name, []).append(matcher)
        for route in said:
            own = sorted(of_route.get(route.name, ()), key=lambda matcher: matcher.is_copy)
            self._add(route, own, priorities.get(route.name, 0), variants.get(route.name, []))

    def _wide(self, matcher: Matcher, priorities: dict[str, int]) -> Matcher:
        """The matcher, or one that is closed whatever the fields: no other route gets what a guarded one refuses."""
        route = matcher.route
        if can_be_asked(matcher.headers) or not is_guarded(route):
            return matcher
        why = "Kong cannot ask for these fields: this route is guarded, and closed with all of its path"
        self.losses.add((*route.source, "headers"), why)
        self._closed[route.name] = "Kong cannot ask for its fields"
        priorities.setdefault(route.name, CLOSED)
        return replace(matcher, headers=())

    def _list_without_case(self, matchers: Sequence[Matcher]) -> None:
        """Routes of whose requests another one takes those that differ in case alone."""
        for first in matchers:
            if any(ignores_case(value) for _, value in first.headers):
                for second in behind(first, matchers):
                    why = f"Kong gives those to the route {first.route.name} whose fields differ from its in case alone"
                    self.losses.add(
                        (*second.route.source, "path") if not second.route.is_default else second.route.source, why
                    )

    def _can_be_asked(self, route: ResolvedRoute) -> bool:
        """Whether Kong can tell its requests from others: else it is left out, and listed."""
        if not route.query:
            return True
        at = (*route.source, "query")
        if is_guarded(route):
            self.losses.add(at, "Kong asks for no parameters of the query: this route is closed, with all of its path")
            self._closed[route.name] = "Kong asks for no parameters of the query"
            return True
        self.losses.add(
            at, "Kong asks for no parameters of the query: this route is left out, its requests go to others"
        )
        return False

    def _add(
        self, route: ResolvedRoute, matchers: Sequence[Matcher], priority: int, others: Sequence[ResolvedRoute]
    ) -> None:
        try:
            paths = paths_of(route, priority)
        except ValueError as error:
            if not is_guarded(route):
                self.losses.add((*route.source, "path"), f"{error}: the route is left out")
                return
            self.losses.add((*route.source, "path"), f"{error}: the route is guarded, and closed")
            self._closed[route.name] = str(error)
            paths = closed_paths(route, priority)
        for matcher in matchers:
            headers = field_values(self.losses, matcher)
            if headers is not None:
                self._add_with(route, matcher, headers, paths, others)

    def _add_with(
        self,
        route: ResolvedRoute,
        matcher: Matcher,
        headers: dict[str, list[str]],
        paths: Paths,
        others: Sequence[ResolvedRoute],
    ) -> None:
        sides = [route, *others]
        why = self._closing(sides)
        service = None if why or route.answer is not None else self._services.of(sides, paths)
        if service is None and not why and route.answer is None:
            why = "Kong reaches none of its instances"
        for side in sides if service is not None and route.split is not None else ():
            self._add_side(side, matcher, headers, paths)
        plugins = self._plugins_of(route, why)
        self._put(route, service, matcher, headers, paths, plugins, why)

    def _add_side(self, side: ResolvedRoute, matcher: Matcher, headers: dict[str, list[str]], paths: Paths) -> None:
        """The routes for requests that say which side of a split they take."""
        assert side.side is not None
        if side.side.cookies:
            self.losses.add((*side.source, "split"), "Kong asks for no cookies: such requests take any side")
        for name, value in side.side.headers.items():
            more = field_values(self.losses, matcher, ((name, value),), (*side.source, "split"))
            service = self._services.of([side], paths)
            if more is not None and service is not None:
                plugins = self._plugins_of(side, None)
                self._put(
                    side, service, matcher, {**headers, **more}, paths, plugins, None, f", side {side.side.label}"
                )

    def _closing(self, sides: Sequence[ResolvedRoute]) -> str | None:
        """Why a route is closed; None for one that is open."""
        name = sides[0].name
        if name not in self._closed:
            reasons = [why for side in sides for why in closing(self._credentials, side)]
            if not reasons and len(sides) > 1 and not self._are_alike(sides):
                self.losses.add(
                    (*sides[0].source, "split"),
                    "Kong has one set of plugins for all sides, and these have several: the route is closed",
                )
                reasons = ["its sides have policies of their own"]
            self._closed[name] = ", ".join(dict.fromkeys(reasons))
        return self._closed[name] or None

    def _are_alike(self, sides: Sequence[ResolvedRoute]) -> bool:
        first, *others = ({key: settings for key, (settings, _) in side.policies.items() if settings} for side in sides)
        return all(other == first for other in others)

    def _plugins_of(self, route: ResolvedRoute, why: str | None) -> Plugins:
        key = f"{route.name}:{route.side.label if route.side else ''}"
        if key not in self._plugins:
            if why:
                plugins = closed(why, None)
            elif route.maintenance is not None:
                plugins = closed(route.maintenance.detail, route.maintenance.retry_after)
            else:
                plugins = plugins_of(self.config, self.losses, route, self._credentials)
                if route.answer is not None:
                    answering(self.config, self.losses, route, plugins)
            self._plugins[key] = plugins
        return self._plugins[key]

    def _put(
        self,
        route: ResolvedRoute,
        service: ServiceKey | None,
        matcher: Matcher,
        headers: dict[str, list[str]],
        paths: Paths,
        plugins: Plugins,
        why: str | None,
        side: str = "",
    ) -> None:
        written = [(paths.paths, paths.uri, "")]
        if paths.bare is not None and not why:
            written.append(((paths.bare[0],), paths.bare[1], ", the prefix alone"))
        for own, uri, what in written:
            body: dict[str, Any] = {"name": self.names.free("route", route.name), "paths": [*own]}
            if matcher.hosts:
                body["hosts"] = [*matcher.hosts]
            if matcher.methods:
                asked = (*matcher.methods, *(["OPTIONS"] if route.policies.get("cors", (None, ""))[0] else []))
                body["methods"] = sorted(set(asked))
            if headers:
                body["headers"] = headers
            if paths.priority:
                body["regex_priority"] = paths.priority
            body["strip_path"] = paths.strip and uri is None
            if service is not None:
                body["preserve_host"] = self._services.preserves_host(route)
                body |= {"request_buffering": False, "response_buffering": False}
            body |= self._protocols()
            kept = plugins.copy()
            if uri is not None and not why:
                kept.rewrite(uri)
            self._routes.setdefault(service, []).append(
                _Written(body, self._note(route, matcher, why, side + what), kept)
            )

    def _protocols(self) -> dict[str, Any]:
        return {"protocols": ["https"], "https_redirect_status_code": 308} if self.https_only else {}

    def _note(self, route: ResolvedRoute, matcher: Matcher, why: str | None, more: str) -> str:
        kind = "default route" if route.is_default else "route"
        again = ", once more: for requests that Kong would give to another route" if matcher.is_copy else ""
        return f"{kind} {route.name}{more}{again}" + (f", closed: {why}" if why else "")

    # ---- the file

    def tree(self) -> dict[str, Any]:
        """All of it."""
        own = Plugins()
        own.set("correlation-id", {"header_name": "X-Request-ID", "generator": "uuid", "echo_downstream": True})
        own.set("request-size-limiting", size_limit(self.config.gateway.limits.body_size))
        everything = [written for routes in self._routes.values() for written in routes]
        own.update(common([written.plugins for written in everything if not written.is_own], shared=True))
        for written in everything:
            written.plugins.drop(own)
        self._said.append(own)
        services = [self._service(key, routes) for key, routes in self._routes.items() if key is not None]
        alone = [self._route(written) for written in self._routes.get(None, ())]
        self._list_limits_apart()
        parts = {
            "plugins": own.written(),
            "upstreams": [*self._services.upstreams.values()],
            "services": services,
            "routes": alone,
            "consumers": self._credentials.consumers(),
        }
        return {"_format_version": "3.0", **{key: part for key, part in parts.items() if part}}

    def _list_limits_apart(self) -> None:
        """Kong counts a limit where its plugin is: one of several routes is another one there for each of them."""
        places: dict[KeyPath, int] = {}
        for plugins in self._said:
            for entry in plugins.entries.values():
                for at in entry.counts_at:
                    places[at] = places.get(at, 0) + 1
        for at, number in places.items():
            if number > 1:
                self.losses.add(at, f"Kong counts this in {number} places apart: of routes and services that have it")

    def _service(self, key: ServiceKey, routes: list[_Written]) -> Noted:
        body = dict(self._services.bodies[key])
        shared = common([written.plugins for written in routes], shared=False) if len(routes) > 1 else Plugins()
        for written in routes:
            written.plugins.drop(shared)
        if shared.entries:
            body["plugins"] = shared.written()
            self._said.append(shared)
        body["routes"] = [self._route(written) for written in routes]
        return Noted(self._services.notes[key], body)

    def _route(self, written: _Written) -> Noted:
        body = dict(written.body)
        if written.plugins.entries:
            body["plugins"] = written.plugins.written()
            self._said.append(written.plugins)
        return Noted(written.note, body)


def common(several: Sequence[Plugins], *, shared: bool) -> Plugins:
    """The plugins that all of them have; with `shared`, those alone that Portico has for its own endpoints, too."""
    found = Plugins()
    if not several:
        return found
    first, *others = several
    for name, entry in first.entries.items():
        if all(other.entries.get(name) == entry for other in others) and (not shared or entry.is_everywhere):
            found.entries[name] = entry
    return found
