"""Where HAProxy listens, and how it finds the route of a request: by maps, which take no longer for many routes.

A key of the maps is a site, which is empty for all other hosts, and a path. What stands for it is the section of a
route or, behind a question mark, the number of a choice between several.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.config.endpoints import PATHS
from portico.core.route_paths import literal_of
from portico.render.expressions import expression_of
from portico.render.haproxy.answers import always, field_lines, too_long
from portico.render.haproxy.conditions import methods_of, tests
from portico.render.haproxy.cors import asked, cors_fields, cors_lines
from portico.render.haproxy.fields import dropped, response_lines, told
from portico.render.haproxy.names import Names, of_policy
from portico.render.haproxy.parameters import reading
from portico.render.haproxy.servers import key_is_found
from portico.render.haproxy.splits import sides
from portico.render.haproxy.text import comment, equals, found_in, section, word
from portico.render.sites import Place, Site, is_open, sites_of

_USUAL_HTTPS: Final = 443
_NOWHERE: Final = "own:none"
_UNKNOWN: Final = "!{ var(txn.route) -m found }"
_SLASH: Final = r"(?:/|\\|%2f|%5c)"
_UNCLEAR: Final = rf"(?i){_SLASH}(?:\.|%2e){{1,2}}(?:;|%3b|{_SLASH}|$)|%00|%(?![0-9a-f]{{2}})|#"
"""Paths that services may read in several ways."""
_ODD: Final = r"%|//|;|\\"
_READING: Final = r"url_dec,url_dec,regsub(;[^/]*,,g),regsub([?#].*,),regsub([\\\\/]+,/,g)"
"""What services may make of a path that has one of these."""
_PAGE: Final = r"(?i)^\s*(?:text/html|application/xhtml\+xml)"
"""What browsers ask for first when they go to a page."""
_HOPS: Final = 4
"""Proxies in front, one behind the other."""


class Frontends:
    """The frontends of a configuration, and the sections that they send requests to."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.targets: dict[str, ResolvedRoute] = {}
        """The routes that are in use, by the names of their sections."""
        self.own: dict[str, list[str]] = {}
        """The lines of the gateway's own sections, by their names."""
        self._choices: dict[str, list[str]] = {}
        """The names of the routes of each choice."""
        self._variants: dict[str, list[ResolvedRoute]] = {}
        for route in names.config.all_routes:
            if route.is_variant and route.split is not None:
                self._variants.setdefault(route.name, []).append(route)

    def sections(self) -> Iterator[list[str]]:
        """All frontends, those of each listener together."""
        config = self._names.config
        groups: dict[object, list[ListenerSettings]] = {}
        for listener in config.gateway.listeners:
            same = (listener.kind, listener.tls.model_dump_json() if listener.tls else "", listener.proxy_protocol)
            groups.setdefault(same, []).append(listener)
        for listeners in groups.values():
            name = self._names.free(listeners[0].name or "gateway")
            yield section(f"frontend {name}", self._frontend(name, listeners))
            for listener in listeners:
                yield from _redirect(self._names, listener)

    def _frontend(self, name: str, listeners: Sequence[ListenerSettings]) -> Iterator[str]:
        config = self._names.config
        yield from (_bind(self._names, listener) for listener in listeners)
        yield "http-after-response set-header X-Request-ID %[unique-id]"
        yield from field_lines()
        yield "http-after-response add-header Vary Accept if { var(txn.bare) -m found }"
        if any("cors" in route.policies for route in config.all_routes) or "cors" in config.own_policies:
            yield from cors_fields()
        yield from _proxies(config)
        yield ""
        yield comment("Path and query as they were sent; to compare, no letter of the path is percent-encoded.")
        yield from _request(config)
        yield from asked()
        yield ""
        yield from self._routing(name, listeners[0])
        yield ""
        yield comment("What services are told, and what nobody else may tell them.")
        yield from dropped()
        yield from told()
        yield ""
        yield "use_backend %[var(txn.route)] if { var(txn.route) -m found }"
        yield f"default_backend {_NOWHERE}"
        if _NOWHERE not in self.own:
            self.own[_NOWHERE] = [*self._marks(), *always(404, "no_route")]

    # ---- which route

    def _routing(self, name: str, listener: ListenerSettings) -> Iterator[str]:
        sites = sites_of(self._names.config.served_by(listener))
        hosts, exact, prefixes = (f"{name}.{kind}.map" for kind in ("hosts", "exact", "prefixes"))
        has_hosts = any(site.hosts for site in sites)
        yield comment("The route: exact paths, then patterns, then the longest prefix.")
        if has_hosts:
            yield from self._hosts(hosts, sites)
        yield from reading(self._names)
        yield "http-request set-var-fmt(txn.place) " + ("%[var(txn.site)]" if has_hosts else "") + "%[var(txn.at)]"
        yield f"http-request set-var(txn.route) var(txn.place),map_str({exact})"
        chosen: list[str] = []
        self._names.files[exact] = self._map(sites, "exact", chosen, listener)
        patterns: list[str] = []
        for site in sites:
            patterns += self._patterns(site, has_hosts=has_hosts)
        self._names.files[prefixes] = self._map(sites, "prefixes", chosen)
        yield from patterns
        yield f"http-request set-var(txn.route) var(txn.place),concat(/),map_beg({prefixes}) if {_UNKNOWN}"
        if chosen:
            yield "http-request set-var(txn.found) var(txn.route)"
        yield from chosen
        yield from self._hidden(sites, name, has_hosts=has_hosts, has_choices=bool(chosen))
        for route in self._names.config.served_by(listener):
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

    def _map(
        self, sites: Sequence[Site], kind: str, chosen: list[str], listener: ListenerSettings | None = None
    ) -> str:
        """A map of paths; the lines that choose between several routes go to `chosen`."""
        entries: dict[str, str] = {}
        for site in sites:
            label = site.hosts[0] if site.hosts else ""
            if listener is not None:
                entries |= {label + path: target for path, target in self._own(listener).items()}
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
        if is_new:
            is_this = equals("var(txn.route)", f"?{choice}")
            chosen.append(comment(f"{place.path}: {labels}"))
            self._choices[f"?{choice}"] = [route.name for route in place.routes]
            for route in place.routes:
                target = f"str({self._section(route)})"
                chosen.append(
                    f"http-request set-var(txn.route) {target} if {is_this} {tests(self._names, route)}".rstrip()
                )
            if not any(map(is_open, place.routes)):
                target = f"str({self._otherwise(place.routes)})"
                chosen.append(f"http-request set-var(txn.route) {target} if {is_this}")
        return f"?{choice}"

    def _patterns(self, site: Site, *, has_hosts: bool) -> Iterator[str]:
        label = site.hosts[0] if site.hosts else ""
        here = ""
        if has_hosts:
            here = f" {equals('var(txn.site)', label)}" if label else " !{ var(txn.site) -m found }"
        for place in site.patterns:
            matches = found_in("var(txn.at)", expression_of(place.path))
            for route in place.routes:
                if_it_fits = f"{_UNKNOWN}{here} {matches} {tests(self._names, route)}".rstrip()
                yield f"http-request set-var(txn.route) str({self._section(route)}) if {if_it_fits}"
            if not place.may_fall and not any(map(is_open, place.routes)):
                target = self._otherwise(place.routes)
                yield f"http-request set-var(txn.route) str({target}) if {_UNKNOWN}{here} {matches}"

    def _hidden(self, sites: Sequence[Site], name: str, *, has_hosts: bool, has_choices: bool) -> Iterator[str]:
        """The lines that refuse a path that services may read as one of a route with a guard, and that has another."""
        places = [place for site in sites for place in site.places]
        guarded = {route.name for place in places for route in place.routes if _is_guarded(route)}
        if not guarded:
            return
        exact, prefixes, known = (f"{name}.{kind}.map" for kind in ("exact", "prefixes", "guarded"))
        lines = [*self._names.files[exact].splitlines(), *self._names.files[prefixes].splitlines()]
        values = {line.rpartition(" ")[2] for line in lines}
        choices = self._choices
        entries = {value: "1" for value in sorted(values) if not guarded.isdisjoint(choices.get(value, (value,)))}
        self._names.files[known] = _map_file(entries)
        odd = found_in("var(txn.at)", _ODD)
        own = "txn.found" if has_choices else "txn.route"
        yield comment("Paths that services may read as one of a route with a guard are no way around it.")
        yield f"http-request set-var(txn.read) {word(f'var(txn.at),{_READING}')} if {odd}"
        yield (
            "http-request set-var-fmt(txn.place) "
            + ("%[var(txn.site)]" if has_hosts else "")
            + f"%[var(txn.read)] if {odd}"
        )
        yield f"http-request set-var(txn.other) var(txn.place),map_str({exact}) if {odd}"
        missing = "!{ var(txn.other) -m found }"
        yield f"http-request set-var(txn.other) var(txn.place),concat(/),map_beg({prefixes}) if {odd} {missing}"
        is_another = f"!{{ var(txn.other),strcmp({own}) eq 0 }}"
        yield f"http-request deny deny_status 400 if {{ var(txn.other),map_str({known}) -m found }} {is_another}"
        for place in (place for site in sites for place in site.patterns):
            names = [route.name for route in place.routes]
            if not guarded.isdisjoint(names):
                reads = found_in("var(txn.read)", expression_of(place.path))
                yield f"http-request deny deny_status 400 if {reads} !{equals('var(txn.route)', *names)}"

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
        if not methods:
            return _NOWHERE
        name = "own:only_" + "_".join("".join(x if x.isalnum() else "-" for x in method) for method in methods)
        if name not in self.own:
            self.own[name] = [*self._marks(), *always(405, "method_not_allowed", allow=", ".join(methods))]
        return name

    # ---- the gateway's own

    def _marks(self) -> list[str]:
        """What is said of responses that are no route's."""
        policies = self._names.config.own_policies
        cors = of_policy(policies, "cors")
        lines = [*response_lines(self._names, policies, None)]
        return lines if cors is None else [*lines, *cors_lines(cors)]  # type: ignore[arg-type]

    def _own(self, listener: ListenerSettings) -> dict[str, str]:
        """The sections of the gateway's own endpoints, by their paths: there are no metrics and no documents."""
        config: Config = self._names.config
        found = {"/livez": "own:status", "/readyz": "own:status"}
        endpoints = config.gateway.endpoints_of(listener)
        for path in endpoints.served():
            if endpoints.access(path) == "internal":
                why = "HAProxy does not show this to some networks only"
                self._names.losses.add(("gateway", "endpoints", PATHS[path]), why)
            found[path] = {"/health": "own:status", "/": "own:root"}.get(path, _NOWHERE)
        texts = {"own:status": {"status": "ok"}, "own:root": {"message": config.gateway.title}}
        for name in found.values():
            if name in texts and name not in self.own:
                said = f"content-type application/json string {word(json.dumps(texts[name]))}"
                self.own[name] = [*self._marks(), f"http-request return status 200 {said}"]
        return found


def _is_guarded(route: ResolvedRoute) -> bool:
    return not {*route.policies}.isdisjoint(("auth", "authorize", "deny", "ip_filter", "plugins", "validate"))


def _map_file(entries: dict[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in entries.items())


# ---- listeners


def _bind(names: Names, listener: ListenerSettings) -> str:
    options = ["accept-proxy"] if listener.proxy_protocol else []
    tls = listener.tls
    if tls is not None:
        options += ["ssl", *_certificate(names, listener), "alpn http/1.1"]
        options.append(f"ssl-min-ver TLSv{'1.3' if tls.min_version == '1.3' else '1.2'}")
        if tls.client_certificates is not None:
            wanted = "required" if tls.client_certificates.required else "optional"
            options.append(f"ca-file {word(str(tls.client_certificates.ca))} verify {wanted}")
    return " ".join([f"bind {_address(listener.host, listener.port)}", *options])


def _certificate(names: Names, listener: ListenerSettings) -> Iterator[str]:
    pair = listener.tls.pair if listener.tls is not None else None
    if pair is None:
        yield "crt certificate.pem"
        return
    yield f"crt {word(str(pair.certificate))}"
    at = ("gateway", "listen") if names.config.gateway.listen else ("gateway", "tls", "key")
    key_is_found(names, pair, at)


def _address(host: str, port: int) -> str:
    if host in ("0.0.0.0", ""):  # noqa: S104
        return f"*:{port}"
    if host == "::":
        return f"[::]:{port} v4v6"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _redirect(names: Names, listener: ListenerSettings) -> Iterator[list[str]]:
    """The port that sends clients to HTTPS."""
    tls = listener.tls
    if tls is None or tls.redirect_from is None:
        return
    port = tls.redirect_to or listener.port
    target = "https://%[req.hdr(host),regsub(:[0-9]*$,)]" + (f":{port}" if port != _USUAL_HTTPS else "") + "%[pathq]"
    lines = [f"bind {_address(listener.host, tls.redirect_from)}", f"http-request redirect code 308 location {target}"]
    yield [comment("to HTTPS"), *section(f"frontend {names.free('to-https')}", lines)]


# ---- requests


def _request(config: Config) -> Iterator[str]:
    limits = config.gateway.limits
    yield too_long(f"{{ pathq,length gt {limits.url_length} }}")
    yield f"http-request deny deny_status 400 if {found_in('path', _UNCLEAR)}"
    yield "http-request set-var(txn.path) path"
    yield "http-request set-var(txn.query) pathq,regsub(^[^?]*,)"
    yield "http-request normalize-uri percent-to-uppercase strict"
    yield "http-request normalize-uri percent-decode-unreserved strict"
    yield "http-request set-var(txn.at) path"
    yield "http-request set-pathq %[var(txn.path)]%[var(txn.query)]"
    yield "http-request set-var(txn.host_field) req.fhdr(host)"
    yield r"http-request set-var(txn.host) req.fhdr(host),host_only,lower,regsub(\.$,)"
    yield f"http-request set-var(txn.page) bool(true) if {found_in('req.fhdr(Accept)', _PAGE)}"
    yield "http-request set-var(txn.unavailable) str(no_healthy_upstream)"
    yield "http-request set-var(txn.scheme) str(http)"
    yield "http-request set-var(txn.scheme) str(https) if { ssl_fc }"


def _proxies(config: Config) -> Iterator[str]:
    networks = " ".join(map(str, config.gateway.trusted_proxies))
    if not networks:
        return
    yield ""
    yield comment("Proxies in front, which say whose requests they bring.")
    for hop in range(1, _HOPS + 1):
        field = f"req.hdr_ip(x-forwarded-for,-{hop})"
        yield f"http-request set-src {field} if {{ src {networks} }} {{ {field} -m found }}"
