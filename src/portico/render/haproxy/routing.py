"""How HAProxy finds the route of a request: by maps, which take no longer for many routes.

A key of the maps is a site, which is empty for all other hosts, and a path. What stands for it is the section of a
route or, behind a question mark, the number of a choice between several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from portico.config import ResolvedRoute
from portico.core.route_paths import is_exact, literal_of
from portico.render.expressions import expression_of
from portico.render.haproxy.conditions import methods_of, tests, unclear
from portico.render.haproxy.names import Names
from portico.render.haproxy.parameters import reading
from portico.render.haproxy.splits import sides
from portico.render.haproxy.text import comment, equals, found_in, word
from portico.render.sites import Place, Site, is_open, own_paths, sites_of

NOWHERE: Final = "own:none"
"""The section of requests that have no route."""
_UNKNOWN: Final = "!{ var(txn.route) -m found }"
_READS: Final = ("GET", "HEAD")
_LEAST: Final = 2
"""Places of which one may hide another."""
_ODD: Final = r"%|//|;|\\"
_READING: Final = (
    "url_dec,url_dec,regsub(;[^/]*,,g),regsub([?#].*,),regsub([[:cntrl:]],,g),"
    r"regsub([\\\\/]+,/,g),regsub([[:space:]]+/,/,g),regsub([[:space:]]+$,)"
)
"""What services may make of a path that has one of these."""


class Routing:
    """Finds routes; `refusing` gives the name of the section of requests whose method is none of these."""

    def __init__(self, names: Names, refusing: Callable[[Sequence[str]], str]) -> None:
        self._names, self._refusing = names, refusing
        self.targets: dict[str, ResolvedRoute] = {}
        """The routes that are in use, by the names of their sections."""
        self._methods: dict[str, str] = {}
        """The sections for methods, where a choice asks for nothing else; those of one frontend."""
        self._variants: dict[str, list[ResolvedRoute]] = {}
        for route in names.config.all_routes:
            if route.is_variant and route.split is not None:
                self._variants.setdefault(route.name, []).append(route)

    def lines(self, name: str, routes: Sequence[ResolvedRoute], own: Mapping[str, str]) -> Iterator[str]:
        """The lines of a frontend; `own` are the sections of the gateway's own endpoints, by their paths."""
        sites = sites_of(routes)
        hosts, exact, prefixes = (f"{name}.{kind}.map" for kind in ("hosts", "exact", "prefixes"))
        has_hosts = any(site.hosts for site in sites)
        yield comment("The route: exact paths, then patterns, then the longest prefix.")
        if has_hosts:
            yield from self._hosts(hosts, sites)
        yield from reading(self._names)
        yield "http-request set-var-fmt(txn.place) " + ("%[var(txn.site)]" if has_hosts else "") + "%[var(txn.at)]"
        yield f"http-request set-var(txn.route) var(txn.place),map_str({exact})"
        yield from self._own(f"{name}.own.map", sites, own)
        chosen: list[str] = []
        self._methods = {}
        self._names.files[exact] = self._map(sites, "exact", chosen)
        patterns: list[str] = []
        for site in sites:
            patterns += self._patterns(site, has_hosts=has_hosts)
        self._names.files[prefixes] = self._map(sites, "prefixes", chosen)
        yield from patterns
        yield f"http-request set-var(txn.route) var(txn.place),concat(/),map_beg({prefixes}) if {_UNKNOWN}"
        only = self._refusing(_READS)
        is_own = f"{{ var(txn.place),map_str({name}.own.map) -m found }}"
        yield f"http-request set-var(txn.route) str({only}) if {_UNKNOWN} {is_own}"
        has_choices = bool(chosen or self._methods)
        if has_choices:
            yield "http-request set-var(txn.found) var(txn.route)"
        if self._methods:
            yield from self._choosing(f"{name}.methods.map")
        yield from chosen
        yield from self._hidden(sites, name, has_hosts=has_hosts, has_choices=has_choices)
        for route in routes:
            if route.split is not None and not route.is_variant:
                yield comment(f"the sides of {route.name}")
                yield from sides(self._names, route, self._sides(route))

    def _hosts(self, file: str, sites: Sequence[Site]) -> Iterator[str]:
        known = {host: site.hosts[0] for site in sites for host in site.hosts}
        plain_hosts = {host: site for host, site in known.items() if not host.startswith("*")}
        self._names.files[file] = _map_file(plain_hosts)
        yield f"http-request set-var(txn.site) var(txn.host),map_str({file})"
        wild = sorted((host for host in known if host.startswith("*")), key=lambda host: -len(host))
        if wild:
            wildcards = file.replace(".hosts.", ".wildcards.")
            self._names.files[wildcards] = _map_file({host[1:]: known[host] for host in wild})
            missing = "!{ var(txn.site) -m found }"
            yield f"http-request set-var(txn.site) var(txn.host),map_end({wildcards}) if {missing}"

    def _own(self, file: str, sites: Sequence[Site], own: Mapping[str, str]) -> Iterator[str]:
        """The lines for the gateway's own endpoints, which are there for requests that read alone."""
        entries: dict[str, str] = {}
        for site in sites:
            label = site.hosts[0] if site.hosts else ""
            entries |= {label + path: own[path] for path in own_paths(site, own, self._names.losses)}
        self._names.files[file] = _map_file(entries)
        reads = f"{{ method {' '.join(_READS)} }}"
        asks = f"{{ var(txn.preflight) -m found }} {{ var(txn.asked) -m str {' '.join(_READS)} }}"
        for condition in (reads, asks) if "cors" in self._names.config.own_policies else (reads,):
            yield f"http-request set-var(txn.route) var(txn.place),map_str({file}) if {_UNKNOWN} {condition}"

    def _map(self, sites: Sequence[Site], kind: str, chosen: list[str]) -> str:
        """A map of paths; the lines that choose between several routes go to `chosen`."""
        entries: dict[str, str] = {}
        for site in sites:
            label = site.hosts[0] if site.hosts else ""
            for place in site.exact if kind == "exact" else site.prefixes:
                path = literal_of(place.path)
                key = label + (path if kind == "exact" else path.rstrip("/") + "/")
                if key not in entries:
                    entries[key] = self._target(place, chosen)
        return _map_file(entries)

    def _target(self, place: Place, chosen: list[str]) -> str:
        """What stands for a place in a map."""
        if len(place.routes) == 1 and is_open(place.routes[0]):
            return self._section(place.routes[0])
        labels = ", ".join(route.name for route in place.routes)
        choice, is_new = self._names.once(("choice", id(chosen), labels), "choice")
        if is_new and not any(route.headers or route.query for route in place.routes):
            self._by_method(f"?{choice}", place.routes)
        elif is_new:
            is_this = equals("var(txn.route)", f"?{choice}")
            chosen.append(comment(f"{place.path}: {labels}"))
            for route in place.routes:
                chosen += [f"http-request deny deny_status 400 if {is_this} {each}" for each in unclear(route)]
                target = f"str({self._section(route)})"
                chosen.append(
                    f"http-request set-var(txn.route) {target} if {is_this} {tests(self._names, route)}".rstrip()
                )
            if not any(map(is_open, place.routes)):
                target = f"str({self._otherwise(place.routes)})"
                chosen.append(f"http-request set-var(txn.route) {target} if {is_this}")
        return f"?{choice}"

    def _by_method(self, choice: str, routes: Sequence[ResolvedRoute]) -> None:
        """A choice by the method alone: lines of a map, with a tilde for what preflights ask about."""
        for route in routes:
            section = self._section(route)
            for method in methods_of(route) or ["*"]:
                self._methods.setdefault(f"{choice}/{method}", section)
                if "cors" in route.policies and method != "*":
                    self._methods.setdefault(f"{choice}/~{method}", section)
        if f"{choice}/*" not in self._methods:
            self._methods[f"{choice}/*"] = self._otherwise(routes)

    def _choosing(self, file: str) -> Iterator[str]:
        """The lines that choose by that map: it has what was found, a slash, and the method."""
        self._names.files[file] = _map_file(self._methods)
        is_choice = "{ var(txn.route) -m beg ? }"
        missing = "!{ var(txn.chosen) -m found }"
        for asks, condition in (
            ("~%[var(txn.asked)]", f"{is_choice} {{ var(txn.preflight) -m found }}"),
            ("%[method]", f"{is_choice} {missing}"),
            ("*", f"{is_choice} {missing}"),
        ):
            yield f"http-request set-var-fmt(txn.choice) %[var(txn.route)]/{asks} if {condition}"
            yield f"http-request set-var(txn.chosen) var(txn.choice),map_str({file}) if {condition}"
        yield "http-request set-var(txn.route) var(txn.chosen) if { var(txn.chosen) -m found }"

    def _patterns(self, site: Site, *, has_hosts: bool) -> Iterator[str]:
        here = _at(site, has_hosts=has_hosts)
        for place in site.patterns:
            matches = found_in("var(txn.at)", expression_of(place.path))
            for route in place.routes:
                for each in unclear(route):
                    yield f"http-request deny deny_status 400 if {_UNKNOWN}{here} {matches} {each}"
                if_it_fits = f"{_UNKNOWN}{here} {matches} {tests(self._names, route)}".rstrip()
                yield f"http-request set-var(txn.route) str({self._section(route)}) if {if_it_fits}"
            if not place.may_fall and not any(map(is_open, place.routes)):
                target = self._otherwise(place.routes)
                yield f"http-request set-var(txn.route) str({target}) if {_UNKNOWN}{here} {matches}"

    def _hidden(self, sites: Sequence[Site], name: str, *, has_hosts: bool, has_choices: bool) -> Iterator[str]:
        """The lines that refuse a path that services may read as one of another route."""
        if sum(len(site.places) for site in sites) < _LEAST:
            return
        odd = found_in("var(txn.at)", _ODD)
        own = "txn.found" if has_choices else "txn.route"
        yield comment("Paths that services may read as one of another route are no way around it.")
        yield f"http-request set-var(txn.read) {word(f'var(txn.at),{_READING}')} if {odd}"
        place = ("%[var(txn.site)]" if has_hosts else "") + "%[var(txn.read)]"
        yield f"http-request set-var-fmt(txn.place) {place} if {odd}"
        missing = "!{ var(txn.other) -m found }"
        for kind in ("exact", "own"):
            yield f"http-request set-var(txn.other) var(txn.place),map_str({name}.{kind}.map) if {odd} {missing}"
        for site in sites:
            here = _at(site, has_hosts=has_hosts)
            for each in site.patterns:
                reads = found_in("var(txn.read)", expression_of(each.path))
                for route in each.routes:
                    if_it_fits = f"{missing}{here} {reads} {tests(self._names, route)}".rstrip()
                    yield f"http-request set-var(txn.other) str({self._section(route)}) if {if_it_fits}"
        look = f"var(txn.place),concat(/),map_beg({name}.prefixes.map)"
        yield f"http-request set-var(txn.other) {look} if {odd} {missing}"
        yield from self._exceptions(sites, name, own)
        is_another = f"!{{ var(txn.other),strcmp({own}) eq 0 }}"
        yield f"http-request deny deny_status 400 if {{ var(txn.other) -m found }} {is_another}"

    def _exceptions(self, sites: Sequence[Site], name: str, own: str) -> Iterator[str]:
        """The lines for routes whose path can itself be read otherwise: they were written beside those above them."""
        known = dict(
            line.rsplit(" ", 1)
            for kind in ("exact", "prefixes")
            for line in self._names.files[f"{name}.{kind}.map"].splitlines()
        )
        for site in sites:
            label = site.hosts[0] if site.hosts else ""
            for place in (each for each in (*site.exact, *site.prefixes) if re.search(_ODD, literal_of(each.path))):
                path = literal_of(place.path)
                above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
                others = dict.fromkeys(known[f"{label}{each}/"] for each in above if f"{label}{each}/" in known)
                found = known[label + path if is_exact(place.path) else f"{label}{path.rstrip('/')}/"]
                if others:
                    condition = f"{equals(f'var({own})', found)} {equals('var(txn.other)', *others)}"
                    yield f"http-request set-var(txn.other) var({own}) if {condition}"

    def _section(self, route: ResolvedRoute) -> str:
        """The name of a route's section; one with a split is there for each side."""
        if route.split is not None:
            self._sides(route)
        else:
            self.targets[route.name] = route
        return route.name

    def _sides(self, route: ResolvedRoute) -> dict[str, str]:
        found = {}
        for each in (route, *self._variants.get(route.name, ())):
            assert each.side is not None
            found[each.side.label] = name = f"{route.name}:{each.side.label.replace('@', ':')}"
            self.targets[name] = each
        return found

    def _otherwise(self, routes: Sequence[ResolvedRoute]) -> str:
        """The section of requests that none of the routes takes."""
        methods = sorted({method for route in routes for method in methods_of(route)})
        return self._refusing(methods) if methods else NOWHERE


def _at(site: Site, *, has_hosts: bool) -> str:
    """The condition that a request is for the hosts of a site, with a space before it."""
    if not has_hosts:
        return ""
    return f" {equals('var(txn.site)', site.hosts[0])}" if site.hosts else " !{ var(txn.site) -m found }"


def _map_file(entries: dict[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in entries.items())
