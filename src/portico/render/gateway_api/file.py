"""gateway-api.yaml as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.render.gateway_api.backends import Backends
from portico.render.gateway_api.keys import TABLE
from portico.render.gateway_api.names import Names, is_hostname, plain_name
from portico.render.gateway_api.rules import SPECIFIC, Rules
from portico.render.losses import Losses, Rendering
from portico.render.otherwise import Otherwise, concerning, head
from portico.render.precedence import Matcher, matchers_of, settled
from portico.render.sites import Site, sites_of
from portico.render.written import unsaid
from portico.render.yaml_text import Noted, document

_HEAD: Final = """Written by portico render gateway-api: change portico.yaml instead.

Resources of the Gateway API 1.6, Standard channel: kubectl apply -f gateway-api.yaml. The Gateway names a class:
write that of your implementation. Secrets with certificates are not written: the command for each stands beside it.
"""
_OTHERWISE: Final[Otherwise] = (
    (
        "",
        "errors, their pages and all fields of the gateway's own (X-Request-ID, RateLimit, Server-Timing,"
        " X-Forwarded-Prefix) are up to the implementation; 404 where a method is not taken (no 405)",
    ),
    (
        "",
        "encoded letters, doubled slashes and dot segments in paths are up to the implementation, as is what services"
        " may read as another route's",
    ),
    ("", "there are no /health, /metrics, /docs and /openapi.json, no limits of bodies"),
    ("service", "there are no retries, nor checks of instances but those of the cluster"),
    ("prefix", "no browser is redirected from a prefix to its slash"),
    ("prefix", "redirects, links and cookies of a service are not rewritten"),
    ("redirect", "a Location is a whole address"),
)
_GATEWAY: Final = "portico"
_MOST_RULES: Final = 16
_MOST_MATCHES: Final = 128
_MOST_HOSTS: Final = 16
_MOST_LISTENERS: Final = 64
_MOST_COPIES: Final = 20_000
"""Rules that are written once more for single hosts."""


def render_gateway_api(config: Config) -> Rendering:
    """`gateway-api.yaml` for this configuration."""
    losses = Losses(config)
    for path, why in unsaid(config.written, TABLE):
        losses.add(path, why)
    names = Names()
    backends = Backends(config, losses, names)
    listeners = _Listeners(config, losses, names)
    routes = [*_routes(config, losses, names, backends, listeners)]
    resources = [*listeners.resources(), *listeners.redirects(), *routes, *backends.resources]
    texts = [document(each.value, each.note) for each in resources]
    otherwise = concerning(config, _OTHERWISE)
    lines = [*_HEAD.split("\n"), *head("a Gateway", otherwise)]
    first = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    text = first + "---\n" + "---\n".join(texts)
    return Rendering({"gateway-api.yaml": text}, losses.all(), otherwise=otherwise)


# ---- listeners


class _Listeners:
    """The Gateway, with a listener for each of Portico's; those beyond 64 are in ListenerSets."""

    def __init__(self, config: Config, losses: Losses, names: Names) -> None:
        self.settings = config.gateway.listeners
        self._entries: list[dict[str, Any]] = []
        self._notes: list[str] = []
        self._of: dict[tuple[str, int], str] = {}
        self._plain: list[tuple[str, int]] = []
        """Listeners that redirect to HTTPS, and the ports that they redirect to."""
        for index, listener in enumerate(self.settings):
            self._add(index, listener, losses, names)

    def _add(self, index: int, listener: ListenerSettings, losses: Losses, names: Names) -> None:
        at = ("gateway", "listen", index) if len(self.settings) > 1 else ("gateway",)
        if listener.host not in ("0.0.0.0", "::"):  # noqa: S104
            losses.add(
                (*at, "host"), "a listener of a Gateway has a port, and no address: clients elsewhere reach it, too"
            )
        own = names.free("listener", listener.name or "http")
        self._of[listener.host, listener.port] = own
        entry: dict[str, Any] = {"name": own, "port": listener.port, "protocol": "HTTP"}
        tls = listener.tls
        if tls is not None:
            secret = f"{_GATEWAY}-{own}"
            entry |= {"protocol": "HTTPS", "tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]}}
            if tls.pair is not None:
                files = f"--cert={tls.pair.certificate} --key={tls.pair.key}"
                self._notes.append(f"kubectl create secret tls {secret} {files}")
        self._entries.append(entry)
        if tls is not None and tls.redirect_from is not None:
            plain = names.free("listener", f"{own}-plain")
            self._entries.append({"name": plain, "port": tls.redirect_from, "protocol": "HTTP"})
            self._plain.append((plain, tls.redirect_to or listener.port))

    def parents(self, listeners: Sequence[ListenerSettings]) -> list[dict[str, Any]]:
        """The `parentRefs` of routes that these listeners have."""
        own = [self._of[each.host, each.port] for each in listeners]
        if len(own) == len(self._entries) <= _MOST_LISTENERS:
            return [{"name": _GATEWAY}]
        return [self._parent(name) for name in own]

    def _parent(self, name: str) -> dict[str, Any]:
        number = next(at for at, entry in enumerate(self._entries) if entry["name"] == name) // _MOST_LISTENERS
        if number == 0:
            return {"name": _GATEWAY, "sectionName": name}
        group = "gateway.networking.k8s.io"
        return {"group": group, "kind": "ListenerSet", "name": f"{_GATEWAY}-{number + 1}", "sectionName": name}

    def resources(self) -> Iterator[Noted]:
        first, *others = (
            self._entries[at : at + _MOST_LISTENERS] for at in range(0, len(self._entries), _MOST_LISTENERS)
        )
        spec: dict[str, Any] = {"gatewayClassName": "CLASS", "listeners": first}
        if others:
            spec["allowedListeners"] = {"namespaces": {"from": "Same"}}
        note = "\n".join(["the gateway; CLASS is the name of your GatewayClass", *self._notes])
        yield Noted(note, _resource("Gateway", _GATEWAY, spec))
        for number, entries in enumerate(others):
            parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": _GATEWAY}
            spec = {"parentRef": parent, "listeners": entries}
            yield Noted("further listeners", _resource("ListenerSet", f"{_GATEWAY}-{number + 2}", spec))

    def redirects(self) -> Iterator[Noted]:
        for name, port in self._plain:
            said = {"scheme": "https", "port": port, "statusCode": 308}
            rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": said}]}
            spec = {"parentRefs": [self._parent(name)], "rules": [rule]}
            yield Noted("to HTTPS", _resource("HTTPRoute", f"{_GATEWAY}-{name}", spec))


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


# ---- routes


def _routes(config: Config, losses: Losses, names: Names, backends: Backends, listeners: _Listeners) -> Iterator[Noted]:
    rules = Rules(config, losses, backends)
    variants: dict[str, list[ResolvedRoute]] = {}
    for route in config.all_routes:
        if route.is_variant and route.split is not None:
            variants.setdefault(route.name, []).append(route)
    groups: dict[tuple[str, ...], tuple[list[ListenerSettings], list[ResolvedRoute]]] = {}
    for listener in config.gateway.listeners:
        served = [*config.served_by(listener)]
        key = tuple(route.name for route in served)
        groups.setdefault(key, ([], served))[0].append(listener)
    found: dict[str, tuple[Noted, list[dict[str, Any]]]] = {}
    for of_group, served in groups.values():
        parents = listeners.parents(of_group)
        for site in _sites(served, losses):
            for part in _of_site(site, rules, variants, losses):
                _, own = found.setdefault(repr(part), (part, []))
                own += [parent for parent in parents if parent not in own]
    for part, parents in found.values():
        label = plain_name(part.value.get("hostnames", ["all"])[0].replace("*", "any"))
        name = names.free("HTTPRoute", f"{_GATEWAY}-{label}")
        yield Noted(part.note, _resource("HTTPRoute", name, {"parentRefs": parents, **part.value}))


def _sites(served: Sequence[ResolvedRoute], losses: Losses) -> list[Site]:
    """The hosts with their routes. Those for all hosts are written for each once more: many implementations look for a
    route among those of the host alone, and take no other where there is none.
    """
    hosted = [route for route in served if route.hosts]
    hosts = {host for route in hosted for host in route.hosts}
    if len(hosts) * (len(served) - len(hosted)) <= _MOST_COPIES:
        return sites_of(served)
    why = "for its hosts, a Gateway may take no routes but theirs: there are too many to write all others for each host"
    for route in hosted:
        losses.add((*route.source, "hosts"), why)
    others = sites_of(route for route in served if not route.hosts)
    return [*(site for site in sites_of(hosted) if site.hosts), *others]


def _of_site(
    site: Site,
    rules: Rules,
    variants: Mapping[str, Sequence[ResolvedRoute]],
    losses: Losses,
) -> Iterator[Noted]:
    """The HTTPRoutes of some hosts, without their parents: all the routes that requests for them may take."""
    hosts = [host for host in site.hosts if is_hostname(host)]
    routes = [route for place in site.places for route in place.routes if _path(route) == place.path]
    for route in routes:
        if set(route.hosts) & {*site.hosts} - {*hosts}:
            losses.add((*route.source, "hosts"), "the Gateway API takes no such host: it is left out")
    if site.hosts and not hosts:
        return
    found = _rules(rules, routes, variants, losses)
    title = f"hosts {', '.join(hosts[:3])}{', …' if len(hosts) > 3 else ''}" if hosts else "any other host"
    for at in range(0, len(hosts) or 1, _MOST_HOSTS):
        named = {"hostnames": hosts[at : at + _MOST_HOSTS]} if hosts else {}
        for chunk in _chunks(found):
            yield Noted(title, {**named, "rules": chunk})


def _path(route: ResolvedRoute) -> str:
    return "/" if route.is_fallback else route.path


def _rules(
    rules: Rules, routes: Sequence[ResolvedRoute], variants: Mapping[str, Sequence[ResolvedRoute]], losses: Losses
) -> list[list[Noted]]:
    """The rules of routes, those for one path together."""
    matchers = [rules.wide(replace(next(matchers_of(route)), hosts=())) for route in routes]
    turn = {matcher.route.name: -at for at, matcher in enumerate(matchers)}
    ordered = settled(matchers, lambda matcher: _order(matcher, turn))
    for first, second in ordered.unsettled:
        why = f"for a request that is of the route {second.route.name} as well, a Gateway may take that one"
        losses.add(first.route.source if first.route.is_default else (*first.route.source, "path"), why)
    if not ordered.is_whole:
        losses.add(("routes",), "so many routes ask for different things that a Gateway may take some in another order")
    rules.exact = frozenset(literal_of(route.path) for route in routes if is_exact(route.path))
    found: dict[str, list[Noted]] = {}
    for matcher in ordered.matchers:
        if is_pattern(matcher.path) and not matcher.is_copy:
            losses.add((*matcher.route.source, "path"), SPECIFIC)
        found.setdefault(matcher.path, []).extend(rules.of(matcher, variants.get(matcher.route.name, ())))
    return [group for group in found.values() if group]


def _order(matcher: Matcher, turn: Mapping[str, int]) -> tuple[Any, ...]:
    """A Gateway takes the greatest: by path, method, fields, parameters, then the first of a list."""
    path = matcher.path
    place = (0, len(path.rstrip("/")))
    if is_exact(path) or is_pattern(path):
        place = (2, 0) if is_exact(path) else (1, turn[matcher.route.name])
    return *place, bool(matcher.methods), len(matcher.headers), len(matcher.query), turn[matcher.route.name]


def _chunks(groups: Sequence[Sequence[Noted]]) -> Iterator[list[Noted]]:
    """Rules in lists as long as an HTTPRoute has them; those for one path stay together where they can."""
    chunk: list[Noted] = []
    matches = 0
    for group in groups:
        wanted = sum(len(rule.value["matches"]) for rule in group)
        if chunk and (len(chunk) + len(group) > _MOST_RULES or matches + wanted > _MOST_MATCHES):
            yield chunk
            chunk, matches = [], 0
        for rule in group:
            if len(chunk) == _MOST_RULES:
                yield chunk
                chunk, matches = [], 0
            chunk.append(rule)
            matches += len(rule.value["matches"])
    if chunk:
        yield chunk
