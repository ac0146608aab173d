"""Servers: where nginx listens, and the locations of each host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from portico.config import Config, ListenerSettings, ResolvedRoute, ordered_file
from portico.config.endpoints import PATHS
from portico.config.tls import TlsSettings
from portico.core.route_paths import literal_of
from portico.net.tls.certificates import CertificateError, Pair, names_of, read_certificate
from portico.render.nginx.conditions import UNCLEAR, before_locations, choice, may_be_unclear
from portico.render.nginx.fields import marks_of
from portico.render.nginx.names import Names
from portico.render.nginx.pages import errors_of_server
from portico.render.nginx.paths import pattern_text
from portico.render.nginx.routes import JUMP, Routes, jump
from portico.render.nginx.text import block, comment, mixed, name, pattern, word
from portico.render.sites import Place, Site, is_open, own_paths, sites_of

_INNER = re.compile(r" *(?:auth_request|mirror|error_page) ")
_USUAL_HTTPS = 443
_READS = ("GET", "HEAD")
_LONG = 24
"""Lines of a route beyond which they are written once, for the bare prefix and what is below it."""


def server_blocks(names: Names) -> Iterator[list[str]]:
    """All servers, those of each listener together."""
    config = names.config
    variants: dict[str, list[ResolvedRoute]] = {}
    for route in config.all_routes:
        if route.is_variant and route.split is not None:
            variants.setdefault(route.name, []).append(route)
    groups: dict[object, list[ListenerSettings]] = {}
    for listener in config.gateway.listeners:
        same = (listener.kind, listener.tls.model_dump_json() if listener.tls else "", listener.proxy_protocol)
        groups.setdefault(same, []).append(listener)
    for listeners in groups.values():
        for site in sites_of(config.served_by(listeners[0])):
            yield _server(names, listeners, site, variants)
        for listener in listeners:
            yield from _redirect(listener)


def _server(
    names: Names, listeners: Sequence[ListenerSettings], site: Site, variants: Mapping[str, Sequence[ResolvedRoute]]
) -> list[str]:
    named = [f"listen {_address(each)}{_options(each, not site.hosts)};" for each in listeners]
    hosts = " ".join(map(word, site.hosts)) or "_"
    lines = [*named, f"server_name {hosts};", *_tls(names, listeners[0]), ""]
    lines += [*errors_of_server(names, names.config.own_policies), "if ($unclear) { return 400; }"]
    routes = Routes(names, variants)
    lines += _before(names, listeners[0], site, routes)
    taken: set[str] = set()
    for location in _locations(names, listeners[0], site, routes, taken):
        lines += ["", *location]
    for label, own in routes.named.items():
        lines += ["", *block(f"location {label}", own)]
    for label, own in _inner(names, lines).items():
        lines += ["", *block(f"location {'' if label.startswith('@') else '= '}{label}", own)]
    title = (
        f"hosts {', '.join(site.hosts[:3])}{', …' if len(site.hosts) > 3 else ''}" if site.hosts else "any other host"
    )
    return [comment(title), *block("server", lines)]


def _inner(names: Names, lines: Iterable[str]) -> dict[str, list[str]]:
    """The locations for subrequests and for errors that these lines name, and those that they name."""
    found: dict[str, list[str]] = {}
    while lines:
        named = {each.rstrip(";") for line in lines if _INNER.match(line) for each in line.split()}
        for variable in [each for each in named if each.startswith("$")]:
            named |= {each.rstrip(";") for line in names.blocks.get(variable[1:], ()) for each in line.split()}
        new = {label: own for label, own in names.inner.items() if label in named and label not in found}
        found |= new
        lines = [line for own in new.values() for line in own]
    return found


def _before(names: Names, listener: ListenerSettings, site: Site, routes: Routes) -> list[str]:
    """What is looked at before a location is chosen: patterns whose conditions may leave a request to others."""
    falling = [place for place in site.patterns if place.may_fall]
    if not falling:
        return []
    for place in falling:
        for route in place.routes:
            routes.named_location(route)
    if any(may_be_unclear(place.routes) for place in site.patterns):
        routes.named[UNCLEAR] = ["return 400;"]
    exact = [*_own_paths(names, listener, site), *(literal_of(place.path) for place in site.exact)]
    chosen = before_locations(names, site, exact)
    # A subrequest has its location already.
    own = [f"set $chosen_first {chosen};", 'if ($uri ~ "^/\\.portico/") { set $chosen_first ""; }']
    return ["error_page 418 = $chosen_first;", *own, f"if ($chosen_first) {{ {JUMP} }}"]


def _address(listener: ListenerSettings) -> str:
    if listener.host == "0.0.0.0":  # noqa: S104
        return str(listener.port)
    return f"[{listener.host}]:{listener.port}" if ":" in listener.host else f"{listener.host}:{listener.port}"


def _options(listener: ListenerSettings, is_default: bool) -> str:
    options = [
        *(["ssl"] if listener.tls is not None else []),
        *(["proxy_protocol"] if listener.proxy_protocol else []),
        *(["default_server"] if is_default else []),
        *(["ipv6only=off"] if listener.host == "::" and is_default else []),
    ]
    return "".join(f" {option}" for option in options)


def _tls(names: Names, listener: ListenerSettings) -> Iterator[str]:
    tls = listener.tls
    if tls is None:
        return
    pair = tls.pair
    if pair is not None and (others := _others(names, tls)):
        yield comment("read for each handshake, by nginx's user")
        for what in ("certificate", "key"):
            lines = [f"{host} {word(str(getattr(each, what)))};" for host, each in others.items()]
            own = names.map(
                what, "$ssl_server_name", ["hostnames;", *lines, f"default {word(str(getattr(pair, what)))};"]
            )
            yield f"ssl_certificate{'_key' if what == 'key' else ''} {own};"
    elif pair is not None:
        yield f"ssl_certificate {word(str(pair.certificate))};"
        yield f"ssl_certificate_key {word(str(pair.key))};"
    elif tls.acme is not None:
        ordered = word(str(ordered_file(Path(), tls.acme)))
        yield from (f"ssl_certificate {ordered};", f"ssl_certificate_key {ordered};")
    yield f"ssl_protocols {'TLSv1.3' if tls.min_version == '1.3' else 'TLSv1.2 TLSv1.3'};"
    if tls.client_certificates is not None:
        yield f"ssl_client_certificate {word(str(tls.client_certificates.ca))};"
        yield f"ssl_verify_client {'on' if tls.client_certificates.required else 'optional'};"


def _others(names: Names, tls: TlsSettings) -> dict[str, Pair]:
    """The certificates beside the default one, by the names that clients ask for."""
    found: dict[str, Pair] = {}
    for more in tls.certificates:
        try:
            hosts = names_of(read_certificate(more.certificate))
        except CertificateError:
            at = ("gateway", "tls", "certificates")
            names.losses.add(at, f"{more.certificate} cannot be read here: nginx would not know for which names it is")
            continue
        for host in hosts:
            found.setdefault(host, more.pair)
    return found


def _redirect(listener: ListenerSettings) -> Iterator[list[str]]:
    """The port that sends clients to HTTPS."""
    tls = listener.tls
    if tls is None or tls.redirect_from is None:
        return
    port = tls.redirect_to or listener.port
    plain = listener.model_copy(update={"port": tls.redirect_from, "tls": None, "proxy_protocol": False})
    target = "https://$host" + (f":{port}" if port != _USUAL_HTTPS else "") + "$request_uri"
    lines = [f"listen {_address(plain)} default_server;", "server_name _;", "", f"return 308 {mixed(target)};"]
    yield [comment("to HTTPS"), *block("server", lines)]


# ---- locations


def _locations(
    names: Names, listener: ListenerSettings, site: Site, routes: Routes, taken: set[str]
) -> Iterator[list[str]]:
    nowhere = _nowhere(names)
    for path, lines in _own(names, listener, site, routes, nowhere):
        taken.add(path)
        yield block(f"location = {path}", lines)
    for place in site.exact:
        path = literal_of(place.path)
        if path not in taken:
            taken.add(path)
            yield block(f"location = {_decoded(path)}", _lines(names, routes, place, nowhere, bare=True))
    for place in site.patterns:
        if place.may_fall:
            continue
        if "%" in place.path:
            names.losses.add((*place.routes[0].source, "path"), "nginx compares patterns with the decoded path")
        mark = place.path.partition(" ")[0]
        text = pattern_text(place.path).replace("(?<in_", "(?<at_")
        # nginx compares the decoded path: an encoded line end is one of the characters that a dot stands for.
        head = f"location {mark} {pattern('(?s)' + text if '.' in text else text)}"
        yield block(head, _lines(names, routes, place, nowhere, bare=False))
    for place in sorted(site.prefixes, key=lambda place: place.path):  # nginx takes the longest, wherever it stands
        path = place.path
        if path != "/" and path not in taken:
            yield block(f"location = {_decoded(path)}", _lines(names, routes, place, nowhere, bare=True))
        yield block(f"location {_decoded(path.rstrip('/') + '/')}", _lines(names, routes, place, nowhere, bare=False))
    if not any(place.path == "/" for place in site.prefixes):
        yield block("location /", nowhere)


def _decoded(path: str) -> str:
    """nginx compares locations with the decoded path."""
    return name(unquote(path))


def _lines(names: Names, routes: Routes, place: Place, nowhere: list[str], *, bare: bool) -> list[str]:
    if len(place.routes) == 1 and is_open(place.routes[0]):
        route = place.routes[0]
        lines = routes.lines(route, bare=False)
        if len(lines) > _LONG and place.path.startswith("/") and place.path != "/":
            return [lines[0], *jump(names, routes.named_location(route), [route])]
        return routes.lines(route, bare=bare)
    for route in place.routes:
        routes.named_location(route)
    otherwise = _otherwise(names, routes, place, nowhere)
    labels = ", ".join(route.name for route in place.routes)
    if may_be_unclear(place.routes):
        routes.named[UNCLEAR] = ["return 400;"]
    return [comment(f"routes {labels}"), *jump(names, choice(names, place.routes, otherwise), place.routes)]


def _otherwise(names: Names, routes: Routes, place: Place, nowhere: list[str]) -> str:
    """The location of requests that none of the routes takes."""
    if any(map(is_open, place.routes)):
        return ""
    methods = sorted({method for route in place.routes for method in _methods(route)})
    if not methods:
        routes.named.setdefault("@no_route", nowhere)
        return "@no_route"
    return _only(names, routes, methods)


def _only(names: Names, routes: Routes, methods: Sequence[str]) -> str:
    """The location that answers 405, and says which methods are taken."""
    label = "@only_" + "_".join(methods)
    if label not in routes.named:
        marks = marks_of(names, names.config.own_policies, None)
        marks.add("Allow", word(", ".join(methods)))
        routes.named[label] = [*marks.lines(names.base), *_problem(405, "Method Not Allowed")]
    return label


def _methods(route: ResolvedRoute) -> set[str]:
    return {*route.methods, *(["HEAD"] if "GET" in route.methods else [])}


def _nowhere(names: Names) -> list[str]:
    """The lines of a location without a route."""
    marks = marks_of(names, names.config.own_policies, None)
    return [*marks.lines(names.base), *marks.before, *_problem(404, "Not Found")]


def _problem(status: int, title: str) -> list[str]:
    body = json.dumps({"type": "about:blank", "title": title, "status": status})
    return ["default_type application/problem+json;", f"return {status} {word(body)};"]


def _own_paths(names: Names, listener: ListenerSettings, site: Site) -> list[str]:
    """The paths of the gateway's own endpoints; nginx has no metrics and no documents."""
    served = names.config.gateway.endpoints_of(listener).served()
    return own_paths(site, ("/livez", "/readyz", *served), names.losses)


def _own(
    names: Names, listener: ListenerSettings, site: Site, routes: Routes, nowhere: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """These paths and their lines."""
    config: Config = names.config
    marks = marks_of(names, config.own_policies, None)
    endpoints = config.gateway.endpoints_of(listener)
    for path in _own_paths(names, listener, site):
        if path in PATHS and endpoints.access(path) == "internal":
            names.losses.add(("gateway", "endpoints", PATHS[path]), "nginx does not show this to some networks only")
        said: dict[str, str] | None = {"status": "ok"}
        if path == "/":
            said = {"message": config.gateway.title}
        elif path in PATHS and path != "/health":
            said = None
        lines = _problem(404, "Not Found")
        if said is not None:
            lines = ["default_type application/json;", f"return 200 {word(json.dumps(said))};"]
        others = _for_other_methods(names, site, path, routes, nowhere)
        head = [*marks.lines(names.base), *marks.before]
        yield path, [comment("the gateway's own"), *head, *others, *lines]


def _for_other_methods(names: Names, site: Site, path: str, routes: Routes, nowhere: list[str]) -> list[str]:
    """The lines that hand requests over which do not read: to the routes above, or to what says what is taken."""
    above = [place for place in site.prefixes if path == place.path or path.startswith(place.path.rstrip("/") + "/")]
    place = max(above, key=lambda place: len(place.path), default=None)
    if place is None:
        target = _only(names, routes, _READS)
    elif is_open(place.routes[0]):
        target = routes.named_location(place.routes[0])
    else:
        target = choice(names, place.routes, _otherwise(names, routes, place, nowhere))
        for route in place.routes:
            routes.named_location(route)
    reads = pattern(f"^(?:{'|'.join(_READS)})$")
    return [f"error_page 418 = {target};", f"if ($request_method !~ {reads}) {{ {JUMP} }}"]
