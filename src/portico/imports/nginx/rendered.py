"""What `portico render nginx` has written, read back: its own idioms, by the names that it gives to routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from portico.imports.draft import Draft, Part
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.listeners import Server
from portico.imports.nginx.locations import Branch, Chooser, Location, locations_of
from portico.imports.nginx.narrowing import Conditions, Narrow
from portico.imports.nginx.patterns import encoded
from portico.imports.nginx.scope import Level, Scope
from portico.imports.nginx.servers import Hosts, Reader, Site
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.upstreams import Address
from portico.imports.nginx.variables import Choice, Value, Var, Variables, literal, parse

HEAD: Final = "# Written by portico render nginx"
"""How such a file begins."""

_TITLE: Final = re.compile(
    r"(?:default )?route (?P<name>[\w.-]+)(?P<split>, split)?(?:, service (?P<service>[\w.-]+))?"
)
_PATH: Final = re.compile(r"\^(?P<prefix>.*)\(\?:/\(\?<rest>\.\*\)\)\?\$")
_EXACT: Final = re.compile(r"\^((?:[^\\\[\](){}*+?^$|.]|\\.)*)\$")
_TESTS: Final = re.compile(r"~\^(?P<before>\.*)(?P<ones>1+)")
_OWN: Final = "the gateway's own"
_BY_ITSELF: Final = {
    "add_header": ("x-request-id", "retry-after", "cache-status", "set-cookie", "vary"),
    "proxy_hide_header": ("x-request-id",),
    "proxy_set_header": ("x-consumer-username", "x-consumer-scopes"),
}
"""Fields that Portico writes by itself, by the directives that write them in nginx."""
_BETWEEN: Final = ("proxy_no_cache", "proxy_cache_bypass", "proxy_cache_key", "proxy_redirect", "proxy_cookie_path")
_ENDPOINTS: Final = {"/": "root", "/health": "health", "/metrics": "metrics", "/docs": "docs"}


@dataclass(slots=True, eq=False)
class Seen:
    """A route, from all the places where it stands: paths, conditions, and the hosts of the servers."""

    name: str
    body: Location
    site: Site
    exact: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    narrow: Narrow = field(default_factory=Narrow)
    hosts: dict[str, None] = field(default_factory=dict)
    is_anywhere: bool = False
    servers: set[Server] = field(default_factory=set)
    split: Choice | None = None

    @property
    def path(self) -> str:
        if self.patterns:
            return self.patterns[0]
        return min(self.prefixes, key=len) if self.prefixes else self.exact[0]


@dataclass(slots=True)
class Rendered:
    """Reads such a file; `reader` makes the rest of its routes."""

    draft: Draft
    ledger: Ledger
    reader: Reader
    comments: Mapping[int, str]
    base: Sequence[Directive]
    """What stands in the http block."""
    routes: dict[str, Seen] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    """The gateway's own paths that are there."""
    _around: dict[Server, Scope] = field(default_factory=dict)
    _dropped: set[tuple[str, ...]] = field(default_factory=set)

    def servers(self, servers: Sequence[tuple[Server, Hosts, str | None]]) -> None:
        """All routes of all servers."""
        for server, hosts, scheme in servers:
            site = Site.of(server, hosts, scheme, "")
            self._first(site)
            for location in site.chooser.locations:
                self._location(site, location)
        self._taken(self.base)
        missing = [key for path, key in _ENDPOINTS.items() if path not in self.own]
        self.draft.gateway.data["endpoints"] = dict.fromkeys(missing, False)
        for seen in [*self.routes.values()]:
            self._add(seen)

    def _taken(self, block: Sequence[Directive]) -> None:
        """Portico has written all of it, and so knows what it means."""
        for each in block:
            self.ledger.taken(each)
            self._taken(each.block or ())

    def names_on(self, servers: Sequence[Server]) -> list[str] | None:
        """The names of the routes of some servers, those that begin alike together; None where they are all."""
        here = [seen for seen in self.routes.values() if seen.servers & {*servers}]
        if len(here) == len(self.routes):
            return None
        outside = {seen.name.partition("-")[0] for seen in self.routes.values() if not seen.servers & {*servers}}
        names: dict[str, None] = {}
        for seen in here:
            first, dash, _ = seen.name.partition("-")
            names[f"{first}-*" if dash and first not in outside else seen.name] = None
        return [*names]

    # ---- where routes stand

    def _location(self, site: Site, location: Location) -> None:
        self.ledger.taken(location.directive, *location.block)
        title = self.comments.get(location.where.line or 0, "")
        if title == _OWN:
            self.own.add(location.path)
        elif title.startswith("routes "):
            self._several(site, location)
        elif (found := _TITLE.match(title)) is not None and location.kind != "@":
            body = self._body(site, location)
            seen = self._seen(site, found["name"], body)
            if found["split"]:
                seen.split = self._choice(location)
            self._at(seen, location)

    def _body(self, site: Site, location: Location) -> Location:
        """The location to which one hands its requests on, by the page of a status."""
        for each in location.block:
            if each.name == "error_page" and each.args[:1] == ("418",) and each.args[-1].startswith("@"):
                return site.chooser.named.get(each.args[-1], location)
        return location

    def _choice(self, location: Location) -> Choice | None:
        for each in location.block:
            if each.name == "error_page" and each.args[:1] == ("418",) and each.args[-1].startswith("$"):
                return self.reader.choices.get(each.args[-1].removeprefix("$"))
        return None

    def _several(self, site: Site, location: Location) -> None:
        """A place with several routes, of which a map chooses by what they ask for."""
        choice = self._choice(location)
        for narrow, target in self._chosen(choice) if choice is not None else ():
            if (seen := self._named(site, target)) is not None:
                seen.narrow = seen.narrow.and_(narrow) or seen.narrow
                self._at(seen, location)

    def _first(self, site: Site) -> None:
        """The patterns that are looked at before a location is chosen."""
        for each in site.server.directive.block or ():
            if each.name not in ("set", "error_page") or not each.args:
                continue
            name = each.args[-1].removeprefix("$")
            choice = self.reader.choices.get(name)
            for narrow, target in self._chosen(choice) if choice is not None else ():
                seen = self._named(site, target)
                if seen is not None and narrow.pattern:
                    seen.patterns.append(narrow.pattern)
                    seen.narrow = Narrow(narrow.methods, narrow.headers, narrow.query)

    def _named(self, site: Site, target: str) -> Seen | None:
        body = site.chooser.named.get(target)
        if body is None:
            return None
        found = _TITLE.match(self.comments.get(body.where.line or 0, ""))
        if found is None:
            return None
        seen = self._seen(site, found["name"], self._body(site, body))
        if found["split"]:
            seen.split = self._choice(body)
        return seen

    def _seen(self, site: Site, name: str, body: Location) -> Seen:
        seen = self.routes.setdefault(name, Seen(name, body, site))
        seen.is_anywhere = seen.is_anywhere or site.hosts == Hosts()
        seen.servers.add(site.server)
        seen.hosts |= dict.fromkeys(site.hosts.names)
        return seen

    def _at(self, seen: Seen, location: Location) -> None:
        if location.is_pattern:
            seen.patterns.append(f"{location.kind} {_with_names(location.path, 'at_')}")
        elif location.kind == "=":
            seen.exact.append(f"= {encoded(location.path)}")
        else:
            seen.prefixes.append(encoded(location.path.rstrip("/") or "/"))

    def _chosen(self, choice: Choice) -> Iterator[tuple[Narrow, str]]:
        """The lines of a map over tests: what each asks for, and the location."""
        names = [piece.name for piece in choice.source if isinstance(piece, Var)]
        for key, value, _ in choice.entries:
            found = _TESTS.fullmatch(key)
            target = literal(value)
            if found is None or not target:
                continue
            start = len(found["before"])
            narrow: Narrow | None = Narrow()
            for name in names[start : start + len(found["ones"])]:
                test = self._test(name)
                narrow = narrow.and_(test) if narrow is not None and test is not None else None
            if narrow is not None:
                yield narrow, target
        if (target := literal(choice.default)) is not None and target.startswith("@"):
            yield Narrow(), target

    def _test(self, name: str) -> Narrow | None:
        """What a variable asks for that is 1 where it is met."""
        choice = self.reader.choices.get(name)
        if choice is None or len(choice.entries) != 1:
            return None
        key = choice.entries[0][0]
        source = choice.source
        if source == (Var("args"),) and (found := re.fullmatch(r"~\(\^\|&\)(.*)\(=\|&\|\$\)", key)):
            return Narrow(query={_unescaped(found[1]): True})
        if source == (Var("path"),):
            mark = "~*" if key.startswith("~*") else "~"
            return Narrow(pattern=f"{mark} {_with_names(key.removeprefix(mark), 'at_')}")
        if len(source) == 1 and isinstance(source[0], Var) and source[0].name in self.reader.choices:
            source = self.reader.choices[source[0].name].default
        conditions = Conditions(Variables({}), None)
        return conditions.of_entry(Choice(choice.directive, source, []), key)

    # ---- what they say

    def _add(self, seen: Seen) -> None:
        route: dict[str, Any] = {"name": seen.name}
        body = seen.body
        path = self._own_path(body) or seen.path
        route["path"] = path
        hosts = [] if seen.is_anywhere else _without_covered([*seen.hosts])
        narrow = seen.narrow
        conditions = {"hosts": hosts, "methods": [*narrow.methods], "headers": narrow.headers, "query": narrow.query}
        route |= {key: value for key, value in conditions.items() if value}
        part = Part(body.where, route)
        self.draft.routes.append(part)
        if seen.split is not None:
            self._split(seen, part, path)
            return
        branch = self._branch(body, path, seen.site)
        part.data |= self.reader.data(branch, seen.site.chooser)
        if branch.closed is not None:
            directive, why = branch.closed
            self.ledger.left(directive, f"{why}; the route answers 503", part)

    def _own_path(self, body: Location) -> str | None:
        """The path that a body has cut out of what came."""
        for each in body.block:
            if each.name == "if" and each.args[:1] == ("($path",) and len(each.args) == 3:
                expression = each.args[2].removesuffix(")")
                mark = each.args[1].removeprefix("!")
                if (found := _PATH.fullmatch(expression)) is not None:
                    return _unescaped(found["prefix"]) or "/"
                if mark == "~" and (found := _EXACT.fullmatch(expression)) is not None and body.kind == "=":
                    return f"= {_unescaped(found[1])}"
                return f"{mark} {_with_names(expression, 'in_')}"
        return None

    def _branch(self, body: Location, path: str, site: Site) -> Branch:
        """What a body does with its requests."""
        scope = self._scope(body, site)
        variables = Variables(self.reader.choices)
        for each in body.block:
            if each.name in ("set", "auth_request_set") and len(each.args) == 2:
                variables.set(each.value.removeprefix("$"), each.args[1], each.where)
        branch = Branch(path, Narrow(), {"respond": 503}, scope, variables, body.where, body.directive)
        proxy = next((each for each in body.block if each.name == "proxy_pass"), None)
        answer = next((each for each in body.block if each.name == "return"), None)
        if proxy is not None:
            self._passed(branch, proxy, path)
        elif answer is not None:
            self._answered(branch, answer)
        elif (tried := next((each for each in body.block if each.name == "try_files"), None)) is not None:
            other = site.chooser.named.get(tried.args[-1] if tried.args else "")
            for each in other.block if other is not None else ():
                if each.name == "return" and other is not None:
                    branch.scope = scope.inside(self._without_own(other.block))
                    self._answered(branch, each)
        branch.directive = answer if answer is not None and proxy is None else body.directive
        return branch

    def _scope(self, body: Location, site: Site) -> Scope:
        if site.server not in self._around:
            self._around[site.server] = Scope(
                tuple(Level(self._without_own(level)) for level in site.server.scope.levels)
            )
        return self._around[site.server].inside(self._without_own(body.block))

    def _without_own(self, level: Iterable[Directive]) -> list[Directive]:
        """The same without what every file says that is rendered."""
        if not self._dropped:
            self._dropped |= {
                each.args for each in self.base if each.name == "proxy_set_header" and each.args[1:] == ("",)
            }

        def is_own(each: Directive) -> bool:
            is_dropped = each.name == "proxy_set_header" and each.args in self._dropped
            return is_dropped or each.name in _BETWEEN or each.value.lower() in _BY_ITSELF.get(each.name, ())

        return [each for each in level if not is_own(each)]

    def _passed(self, branch: Branch, proxy: Directive, path: str) -> None:
        found = re.match(r"(https?)://([^/$]+)(.*)", proxy.value)
        if found is None:
            return
        name = self.reader.services.name(Address(found[1], found[2]), branch.scope, proxy.where)
        if name is None:
            return
        branch.keys = {"service": name}
        branch.is_proxied = True
        uri = _text(parse(found[3].removesuffix("$query")))
        whole = path[2:] if path.startswith("= ") else "/{path}"
        if found[3] == "$path$query":
            if path.startswith("/") and path != "/":
                branch.keys["rewrite"] = "keep"
        elif uri != whole or path.startswith("~"):
            branch.keys["rewrite"] = uri

    def _answered(self, branch: Branch, answer: Directive) -> None:
        status, *rest = answer.args or ("",)
        if not re.fullmatch(r"[2-5]\d\d", status):
            return
        if status in ("301", "302", "303", "307", "308") and rest:
            to = _text(parse(rest[0]))
            if not rest[0].endswith("$query") and "{query}" not in to and "?" not in to and "#" not in to:
                to += "?"
            branch.keys = {"redirect": {"to": to, "status": int(status)}}
            return
        body = literal(branch.variables.expand(rest[0], answer.where)) if rest else ""
        kind = branch.scope.value("default_type")
        respond: dict[str, Any] = {"status": int(status)}
        if body:
            respond |= {"body": body, "headers": {"Content-Type": kind}}
            if kind == "text/plain; charset=utf-8":
                del respond["headers"]
        branch.keys = {"respond": respond if len(respond) > 1 else int(status)}

    def _split(self, seen: Seen, part: Part, path: str) -> None:
        """The sides of a split, each with a location of its own."""
        assert seen.split is not None
        choice = seen.split
        self.ledger.taken(choice.directive)
        if choice.kind == "map":
            self.ledger.left(choice.directive, "fields and cookies that choose a side are left", part)
            name = next((piece.name for piece in choice.default if isinstance(piece, Var)), "")
            choice = self.reader.choices.get(name, choice)
        sides: list[dict[str, Any]] = []
        data: dict[str, Any] = {}
        left = 100.0
        for share, target, _ in [*choice.entries, ("*", choice.default, choice.directive)]:
            number = left if share == "*" else float(share[:-1]) if re.fullmatch(r"\d+(\.\d+)?%", share) else 0
            left -= number
            body = seen.site.chooser.named.get(literal(target) or "")
            if body is None:
                continue
            own = self._own_path(body) or path
            part.data["path"] = own
            data = self.reader.data(self._branch(body, own, seen.site), seen.site.chooser)
            sides.append({"service": data.pop("service", ""), "weight": round(number, 2)})
        part.data |= {"split": sides, **data}
        source = next((piece.name for piece in choice.source if isinstance(piece, Var)), "")
        if source == "remote_addr":
            part.data["sticky"] = "client_ip"
        elif source.startswith("http_"):
            from portico.imports.nginx.values import field_name

            part.data["sticky"] = {"header": field_name(source[5:])}


def _with_names(expression: str, prefix: str) -> str:
    """An expression with the names that its groups have in Portico's file, where a dot stands for a line end, too."""
    return expression.removeprefix("(?s)").replace(f"(?<{prefix}", "(?P<")


def _unescaped(expression: str) -> str:
    """The text that an expression is for."""
    text = re.sub(r"\[([A-Fa-f])[A-Fa-f]\]", lambda found: found[1].upper(), expression)
    return re.sub(r"\\(.)", r"\1", text)


def _text(value: Value) -> str:
    """A path or URL with `{names}`, of one with nginx's variables."""
    stands = {"host": "{host}", "rest": "{path}", "path": "/{path}", "dollar": "$", "query": "", "args": "{query}"}
    stands |= {"and_query": "&{query}", "query_and": "{query}&"}
    parts = []
    for piece in value:
        if isinstance(piece, str):
            parts.append(piece)
        elif piece.name.startswith("in_"):
            parts.append(f"{{{piece.name[3:]}}}")
        else:
            parts.append(stands.get(piece.name, ""))
    return "".join(parts)


def _without_covered(hosts: Sequence[str]) -> list[str]:
    """Hosts without those that a wildcard among them takes."""
    wildcards = [host[1:] for host in hosts if host.startswith("*.")]
    return [host for host in hosts if not any(host.endswith(end) and host != f"*{end}" for end in wildcards)]


def comments_of(file: Path) -> dict[int, str]:
    """The comments of a file that is rendered, by the lines before them."""
    lines = file.read_text().splitlines()
    return {number: line.strip()[2:] for number, line in enumerate(lines) if line.lstrip().startswith("# ")}


def is_rendered(file: Path) -> bool:
    """Whether `portico render nginx` has written a file."""
    with file.open("rb") as opened:
        return opened.read(len(HEAD)) == HEAD.encode()


__all__ = ["Chooser", "Rendered", "comments_of", "is_rendered", "locations_of"]
