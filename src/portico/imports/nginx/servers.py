"""Servers as routes, in the order in which Portico has to ask them for nginx's choice of host and location to hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from portico.config.instances import InstanceSettings
from portico.config.services import preserved
from portico.core.route_paths import is_exact, is_pattern
from portico.imports.draft import Draft, Part, free_name
from portico.imports.nginx.branches import State
from portico.imports.nginx.errors import error_pages
from portico.imports.nginx.fields import request_fields
from portico.imports.nginx.guards import forward_auth, mirror
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.listeners import Server
from portico.imports.nginx.locations import Branch, Chooser, Location, head_of, in_order, locations_of
from portico.imports.nginx.narrowing import Narrow
from portico.imports.nginx.patterns import encoded, exact_path, is_taken, why_not, wider
from portico.imports.nginx.policies import ClosedError, Policies, guards_of
from portico.imports.nginx.prefixes import Made, as_patterns, grow
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.turns import Turns
from portico.imports.nginx.upstreams import Services
from portico.imports.nginx.variables import Choice, Var, Variables, literal
from portico.imports.nginx.walk import Walk
from portico.policies.headers import OF_CONTENT

_BEFORE_GUARDS: Final = ("return", "rewrite", "deny", "limit_except")
"""Directives whose answers come before guards are looked at, or are what one of them says."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """For which hosts a server's routes are: names, patterns of the Host field, or any where there are neither."""

    names: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()

    def narrowings(self) -> Iterator[Narrow]:
        if self.names or not self.expressions:
            yield Narrow(hosts=self.names)
        for each in self.expressions:
            yield Narrow(headers={"Host": each})


@dataclass(frozen=True, slots=True)
class Site:
    """A server for some hosts; `scheme` is None for listeners with TLS and without, `tag` begins names of routes."""

    server: Server
    hosts: Hosts
    scheme: str | None
    tag: str
    chooser: Chooser

    @classmethod
    def of(cls, server: Server, hosts: Hosts, scheme: str | None, tag: str) -> Site:
        locations = [*locations_of(server.directive.block or (), server.scope)]
        return cls(server, hosts, scheme, tag, Chooser(locations))


@dataclass(slots=True)
class Reader:
    """Makes routes of one server for some listeners, which are alike in their scheme."""

    draft: Draft
    ledger: Ledger
    services: Services
    policies: Policies
    choices: Mapping[str, Choice]
    root: Path
    gateway_body: int
    names: set[str] = field(default_factory=set)
    turns: Turns = field(default_factory=Turns)
    _known_hosts: dict[tuple[str, ...], tuple[set[bool], set[str]]] = field(default_factory=dict)

    def routes(self, site: Site, *, in_patterns: bool, others_exact: Sequence[str]) -> None:
        """Add the routes of a server, those that are asked first in front."""
        self.turns.begin()
        server = site.server
        whole = Location(server.directive, "", "/", server.scope)
        first = Walk(whole, self.ledger, self.services, site.chooser, site.scheme, server.name, self.root)
        state = State(Variables(self.choices), server.scope)
        ended = True
        try:
            ended = first.statements(server.directive.block or (), state)
        except ClosedError as closed:
            first.closed(state, closed.directive, closed.why)
        if ended:
            for branch in (*first.found, *first.last):
                self._add(site, branch)
            return
        as_patterns(site.chooser, in_patterns=in_patterns)
        made = self._made(site, state.variables)
        while grow(site.chooser, made):
            made = self._made(site, state.variables)
        if not any(each.is_prefix and each.path == "/" for each in site.chooser.locations):
            nothing = Location(server.directive, "", "/", server.scope, as_pattern=in_patterns)
            if server.scope.one("root") is not None:
                made[nothing] = self._walk(nothing, site, state.variables)
            elif site.hosts != Hosts() or site.tag:
                made[nothing] = [_nothing(nothing, state)]
        for branch in first.found:
            self._before(site, branch)
        self._located(site, made, state.narrow, first.last)
        self._beside(site, made, others_exact)

    def _located(self, site: Site, made: Made, narrow: Narrow, otherwise: Sequence[Branch]) -> None:
        """The routes of all locations; `otherwise` is for requests that `narrow` leaves, wherever they go."""
        slashes: list[Branch] = []
        for location, branches in made.items():
            for branch in branches:
                both = branch.narrow.and_(narrow)
                if both is not None:
                    self._add(site, replace(branch, narrow=both))
            for path in dict.fromkeys(branch.path for branch in branches) if otherwise else ():
                for branch in otherwise:
                    self._add(site, replace(branch, path=path), suffix="-else")
            if (slash := _slash(location, branches, site.chooser)) is not None:
                slashes.append(slash)
        for branch in slashes:
            self._add(site, branch, suffix="-slash")

    def _beside(self, site: Site, made: Made, others_exact: Sequence[str]) -> None:
        """Exact paths of servers for more hosts, which would take requests of this one before its patterns."""
        for path in others_exact:
            location = site.chooser.of(path)
            if path in site.chooser.exact or location is None:
                continue
            for branch in made.get(location, ()):
                copy = replace(branch, path=exact_path(path), remarks=[])
                if "{" in str(branch.keys.get("rewrite", "")):
                    copy.keys = {"respond": 503}
                    copy.closed = location.directive, f"{path} is a path of another server, too"
                self._add(site, copy, suffix="-exact")

    def _made(self, site: Site, variables: Variables) -> Made:
        return {each: self._walk(each, site, variables) for each in self._ordered(site.chooser)}

    def _walk(self, location: Location, site: Site, variables: Variables) -> list[Branch]:
        self.ledger.taken(location.directive)
        walk = Walk(location, self.ledger, self.services, site.chooser, site.scheme, site.server.name, self.root)
        return walk.branches(variables)

    def _before(self, site: Site, branch: Branch) -> None:
        """What a server does before it looks at locations: the first patterns, and beside exact paths once more."""
        if is_pattern(branch.path) or is_exact(branch.path):
            self._add(site, branch)
            return
        for path in sorted(site.chooser.exact):
            if branch.narrow != Narrow():
                self._add(site, _at(branch, path), suffix="-exact")
        self._add(site, replace(branch, path="~ ^/"))

    @staticmethod
    def _ordered(chooser: Chooser) -> list[Location]:
        """Exact ones, those that come before patterns, patterns, and prefixes."""
        exact = [*chooser.exact.values()]
        first = in_order(chooser.locations) if chooser.patterns else []
        for each in first:
            each.as_pattern = each.is_prefix
        known = {*first}
        last = [each for each in chooser.prefixes if each.as_pattern and each not in known]
        plain = [each for each in chooser.locations if each.is_prefix and not each.as_pattern]
        return [*exact, *first, *last, *plain]

    # ---- routes

    def _add(self, site: Site, branch: Branch, suffix: str = "") -> None:
        branch = replace(branch, remarks=[*branch.remarks])
        data = self.data(branch, site.chooser)
        path = self._path(branch, data)
        if path is None:
            return
        for narrow in site.hosts.narrowings():
            both = branch.narrow if branch.narrow.hosts and narrow.hosts else branch.narrow.and_(narrow)
            if both is None or (both := self.turns.left(path, both)) is None:
                continue  # routes before it take all of its requests
            label = f"{_label(branch)}{suffix}"
            name = free_name(f"{site.tag}-{label}" if site.tag else label, self.names)
            self.names.add(name)
            route: dict[str, Any] = {"name": name, "path": self.turns.path(path, both)}
            conditions = {
                "hosts": [*both.hosts],
                "methods": [*both.methods],
                "headers": both.headers,
                "query": both.query,
            }
            route |= {key: value for key, value in conditions.items() if value}
            part = Part(branch.where, {**route, **data})
            self._remarks(branch, part)
            self.draft.routes.append(part)

    def _remarks(self, branch: Branch, part: Part) -> None:
        for directive, why in branch.remarks:
            self.ledger.changed(directive, why, part)
        if branch.closed is not None:
            directive, why = branch.closed
            self.ledger.left(directive, f"{why}; the route answers 503", part)

    def _path(self, branch: Branch, data: dict[str, Any]) -> str | None:
        """The path that the route has; a wider one, and closed, for a pattern that Portico does not take."""
        if is_taken(branch.path):
            return branch.path
        why = why_not(branch.path) or ""
        other = wider(branch.path) if branch.path.startswith("~") else None
        if other is None:
            refuses = branch.closed is not None or "respond" in data or bool(guards_of(branch.scope))
            if not refuses:
                self.ledger.left(branch.directive, f"no route has this path: {why}")
                return None
            other = "~ ^/"
        data.clear()
        data["respond"] = 503
        branch.closed = branch.directive, f"{branch.path} is no path of a route ({why}): this is wider"
        branch.narrow = replace(branch.narrow)
        return other

    def data(self, branch: Branch, chooser: Chooser) -> dict[str, Any]:
        """The keys of a route below its conditions; it answers 503 where `branch` is closed afterwards."""
        if branch.closed is not None and self.policies.denies_all(branch.scope):
            self.policies.networks(branch.scope)
            branch.closed, branch.keys = None, {"respond": 403}
            branch.directive = branch.scope.all("allow", "deny")[0]
        if branch.closed is not None:
            return dict(branch.keys)
        try:
            return self._open(branch, chooser)
        except ClosedError as closed:
            branch.closed = closed.directive, closed.why
            branch.keys = {"respond": 503}
            return {"respond": 503}

    def _open(self, branch: Branch, chooser: Chooser) -> dict[str, Any]:
        scope, data = branch.scope, dict(branch.keys)
        if branch.directive.name not in _BEFORE_GUARDS and "redirect" not in data:
            self.policies.guard(scope)
        if not branch.is_proxied:
            self._of_answer(branch, data, chooser)
            if branch.directive.name == "location":  # a file, which guards are asked for as for a service
                asks = forward_auth(self.ledger, self.services, scope, chooser, branch.variables)
                if asks is not None:
                    data["policies"] = {"auth": {"forward": asks}, **data.get("policies", {})}
            return data
        if self.policies.denies_all(scope):
            self.policies.networks(scope)
            return {"respond": 403}
        data |= self.policies.keys(scope, self.gateway_body)
        policies = self.policies.of(scope, branch.variables, proxied=True, cors=branch.cors)
        auth = forward_auth(self.ledger, self.services, scope, chooser, branch.variables)
        if auth is not None:
            policies = {"auth": {"forward": auth}, **policies}
        if (copies := mirror(self.ledger, self.services, scope, chooser)) is not None:
            data["mirror"] = copies
        if errors := error_pages(self.ledger, scope, chooser, self.root):
            policies["errors"] = errors
        self._host(branch, data, policies)
        if policies:
            data["policies"] = policies
        return data

    def _of_answer(self, branch: Branch, data: dict[str, Any], chooser: Chooser) -> None:
        """Policies of a route that answers itself: `return` comes before networks and limits are looked at."""
        if isinstance(status := data.get("respond"), int) and status >= 400:
            self._page(branch, data, status, chooser)
        policies = self.policies.of(branch.scope, branch.variables, proxied=False, cors=branch.cors)
        for key in ("rate_limit", "ip_filter"):
            if branch.directive.name in _BEFORE_GUARDS or "redirect" in data:
                policies.pop(key, None)
        headers = policies.get("headers", {}).get("response", {})
        for verb in ("add", "set"):
            for name in [*headers.get(verb, ())]:
                if name.lower() in OF_CONTENT:  # what is said of a response's content stands beside that
                    _said(data, name, headers[verb].pop(name))
            if verb in headers and not headers[verb]:
                del headers[verb]
        if "headers" in policies and not headers:
            del policies["headers"]
        if policies:
            data["policies"] = policies

    def _hosts_of(self, services: tuple[str, ...]) -> tuple[set[bool], set[str]]:
        """Whether services get the client's Host where nothing is said, and their instances' own."""
        if services not in self._known_hosts:
            urls = [url for name in services for url in self.services.instances(name)]
            instances = [InstanceSettings(url=url) for url in urls]
            by_itself = {preserved("auto", each) for each in instances}
            self._known_hosts[services] = by_itself, {each.authority for each in instances}
        return self._known_hosts[services]

    def _page(self, branch: Branch, data: dict[str, Any], status: int, chooser: Chooser) -> None:
        """What `error_page` says of the status of a `return`."""
        page = error_pages(self.ledger, branch.scope, chooser, self.root).get(str(status), {})
        for kind, media in (("json", "application/json"), ("html", "text/html"), ("text", "text/plain")):
            if kind in page:
                said = page[kind]
                body = (
                    {"file": said}
                    if isinstance(said, str)
                    else {"body": said["body"] if kind != "json" else json.dumps(said, separators=(",", ":"))}
                )
                data["respond"] = {"status": status, **body, "headers": {"Content-Type": media}}

    def _host(self, branch: Branch, data: dict[str, Any], policies: dict[str, Any]) -> None:
        """Which Host services get."""
        services = [data["service"]] if "service" in data else [side["service"] for side in data["split"]]
        _, host = request_fields(self.ledger, branch.scope, branch.variables)
        by_itself, authorities = self._hosts_of(tuple(services))
        text = literal(host) if host is not None else None
        if host is None or host == (Var("proxy_host"),) or text in authorities:
            wanted = False
            if host is None and any(name in self.services.blocks for name in services):
                branch.remarks.append((branch.directive, "Host is the instance's own, not the name of the upstream"))
        elif text is not None:
            policies.setdefault("headers", {}).setdefault("request", {}).setdefault("set", {})["Host"] = text
            return
        elif all(
            isinstance(piece, str) or piece.name in ("host", "http_host", "server_port", "server_name", "service_host")
            for piece in host
        ):
            wanted = True
        else:
            raise ClosedError(branch.directive, "which Host the service gets depends on the request")
        if by_itself != {wanted}:
            data["preserve_host"] = wanted


def _said(data: dict[str, Any], name: str, value: Any) -> None:
    """A field of a response that is written in the file."""
    if "respond" not in data or name.lower() == "content-type" or "{" in str(value):
        return
    if isinstance(data["respond"], int):
        data["respond"] = {"status": data["respond"]}
    fields = data["respond"].setdefault("headers", {})
    fields[name] = ", ".join(value) if isinstance(value, list) else value


def _label(branch: Branch) -> str:
    text = re.sub(r"\(\?P?<\w+>|\(\?:|\[[^\]]*\]", "", branch.path)
    text = re.sub(r"\\.", "-", text)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    return "-".join(words)[:60] or "root"


def _nothing(location: Location, state: State) -> Branch:
    """What a server without files does with requests for which it has no location."""
    path, where = location.route_path(), location.where
    return Branch(path, Narrow(), {"respond": 404}, location.scope, state.variables, where, location.directive)


def _at(branch: Branch, path: str) -> Branch:
    """The same for an exact path."""
    keys = dict(branch.keys)
    if "redirect" in keys:
        keys["redirect"] = {**keys["redirect"], "to": keys["redirect"]["to"].replace("/{path}", encoded(path))}
    return replace(branch, path=exact_path(path), keys=keys)


def _slash(location: Location, branches: Sequence[Branch], chooser: Chooser) -> Branch | None:
    """The redirect that nginx makes of a prefix without its slash, where requests below it are passed on."""
    path = location.path
    if not location.is_prefix or not path.endswith("/") or path == "/" or path[:-1] in chooser.exact:
        return None
    last = branches[-1] if branches else None
    is_passed_on = any(each.name == "proxy_pass" for each in location.block)  # by itself, nginx asks, and not elsewhere
    if (
        last is None
        or not is_passed_on
        or not last.is_proxied
        or not (last.path.startswith("/") or location.as_pattern)
    ):
        return None
    keys = {"redirect": {"to": encoded(path), "status": 301}}
    return Branch(
        exact_path(path[:-1]), Narrow(), keys, location.scope, last.variables, location.where, location.directive
    )


def leaks(others: Sequence[Server]) -> tuple[bool, list[str]]:
    """Whether paths of servers for more hosts would take requests of this one, and which of those are exact."""
    paths = [_path_of(each) for other in others for each in (other.directive.block or ()) if each.name == "location"]
    exact = [path for kind, path in paths if kind == "="]
    deeper = any(kind != "=" and kind != "@" and path != "/" for kind, path in paths)
    rewrites = any(each.name in ("rewrite", "if") for other in others for each in (other.directive.block or ()))
    return deeper or rewrites, exact


def _path_of(directive: Directive) -> tuple[str, str]:
    return head_of(directive) if directive.args else ("@", "")
