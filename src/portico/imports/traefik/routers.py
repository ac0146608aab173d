"""Traefik's routers, in an order in which the same one wins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from portico.imports.draft import Draft, Part, free_name, numbered
from portico.imports.located import Value
from portico.imports.order import Matching, in_file_order, settle
from portico.imports.policies import GUARDS, hoist
from portico.imports.remarks import Where
from portico.imports.traefik.conditions import Conditions, RuleError, Unsaid
from portico.imports.traefik.effect import Effect
from portico.imports.traefik.middlewares import Middlewares
from portico.imports.traefik.paths import redirect_of, takes_all_paths, variants
from portico.imports.traefik.rules import read_rule
from portico.imports.traefik.services import Services, Target
from portico.imports.traefik.source import Source, find, text, texts

_INTERNAL: Final = {
    "api": "the dashboard is the admin API's",
    "dashboard": "the dashboard is the admin API's",
    "ping": "/livez is always there",
    "prometheus": "/metrics is one of gateway.endpoints",
    "rest": "the configuration is a file",
}
_SECURE: Final = ("websecure", "https", "web-secure", "secure", "tls")
_PUBLIC: Final = ("", "web", "http", "https", "websecure", "web-secure", "secure", "tls")
_KNOWN: Final = ("rule", "service", "middlewares", "entrypoints", "priority", "tls", "rulesyntax", "observability")


@dataclass(slots=True, eq=False)
class _Candidate:
    """One route, until all of them are known."""

    name: str
    where: Where
    rank: tuple[Any, ...]
    matching: Matching
    data: dict[str, Any]
    comments: list[str]
    closed: str
    points: frozenset[str]
    rest: dict[str, Any] = field(default_factory=dict)


class Routers:
    """Reads all routers, and writes them as routes."""

    def __init__(self, http: Value, options: dict[str, bool], source: Source, draft: Draft) -> None:
        self._draft = draft
        self._services = Services(http, draft)
        self._middlewares = Middlewares(http, draft)
        self._routers = find(http, "routers").entries()
        self._options = options
        """Whether those of TLS ask clients for certificates, by their names."""
        self._ports, self._doubtful = source.ports, source.doubtful
        self._names: dict[str, int] = {}
        self._service_keys: dict[str, list[dict[str, Any]]] = {}
        self._prefixes: list[tuple[Where, str]] = []
        self._plain: tuple[Where, str] | None = None
        """The first router with TLS and no resolver of certificates."""

    def write(self) -> None:
        """All of them, into the draft."""
        candidates = [each for name, router in self._routers.items() for each in self._read(name, router)]
        ranked = sorted(candidates, key=lambda each: each.rank)
        gone = self._twice(ranked)
        ranked = [each for each in ranked if id(each) not in gone]
        candidates = [each for each in candidates if id(each) not in gone]
        by_points: dict[frozenset[str], list[_Candidate]] = {}
        for candidate in ranked:
            by_points.setdefault(self._listener(candidate.points), []).append(candidate)
        for candidate in ranked:
            candidate.matching.form = not candidate.closed and _has_rest(candidate.rest)
        for group in by_points.values():
            settle([each.matching for each in group])
        names: dict[frozenset[str], list[str]] = {}
        for candidate in in_file_order(candidates, ranked):
            listener = self._listener(candidate.points)
            names.setdefault(listener, []).append(self._write(candidate))
        if self._plain is not None and "tls" not in self._draft.gateway.data:
            where, name = self._plain
            why = "no certificate is in this file: until gateway.tls is written, routes are served over plain HTTP"
            self._draft.changed(where, f"router {name}: tls", why)
        self._listen(names)
        for service, keys in self._service_keys.items():
            if keys and all(each == keys[0] for each in keys) and service in self._draft.services:
                self._draft.services[service].data.update(keys[0])
        if self._prefixes:
            where, first = self._prefixes[0]
            count = f" and {len(self._prefixes) - 1} more" if len(self._prefixes) > 1 else ""
            why = "prefixes are of whole segments here: /foobar is no longer taken by /foo"
            self._draft.changed(where, f"PathPrefix(`{first}`){count}", why)
        hoist(self._draft)

    def _twice(self, ranked: list[_Candidate]) -> set[int]:
        """Routes for the very same requests at one port: the first holds, but none that is less guarded."""
        first: dict[Any, _Candidate] = {}
        gone = set()
        for each in ranked:
            conditions = repr(sorted(each.data.items()))
            key = (self._listener(each.points), each.matching.kind, each.matching.path, conditions)
            other = first.setdefault(key, each)
            if other is each:
                continue
            loser = other
            if each.matching.guard <= other.matching.guard:
                loser = each
            elif not other.matching.guard <= each.matching.guard:
                loser, other.closed = each, "two routers guard the same requests, each in its own way"
            winner = first[key] = other if loser is each else each
            gone.add(id(loser))
            why = f"router {winner.name} is for the same requests"
            self._draft.left(loser.where, f"router {loser.name}", f"it is left out: {why}")
        return gone

    def _listener(self, points: frozenset[str]) -> frozenset[str]:
        """The entry points of a port of its own; those of the web are one."""
        return frozenset() if not points or any(each.lower() in _PUBLIC for each in points) else points

    def _listen(self, names: dict[frozenset[str], list[str]]) -> None:
        if set(names) <= {frozenset()}:
            return
        listeners: list[dict[str, Any]] = [{"name": "web", "port": 8000, "routes": names.get(frozenset(), [])}]
        if "tls" in self._draft.gateway.data:
            listeners[0]["tls"] = self._draft.gateway.data.pop("tls")
        port = 8081
        for points, routes in names.items():
            if points:
                name = "-".join(sorted(points))
                known = [self._ports[each] for each in sorted(points) if each in self._ports]
                chosen = known[0] if known and known[0] not in {each["port"] for each in listeners} else port
                port += chosen == port
                listeners.append({"name": free_name(name, {"web"}), "port": chosen, "routes": routes})
                why = f"a listener at port {chosen}; the web's is at port 8000"
                first = next(part for part in self._draft.routes if part.data["name"] in routes)
                self._draft.changed(first.where, f"entryPoints: {name}", why, self._draft.gateway)
        self._draft.gateway.data["listen"] = listeners

    def _read(self, name: str, router: Value) -> list[_Candidate]:
        where = router.where
        service = text(router, "service").partition("@")[0]
        if service in _INTERNAL and text(router, "service").endswith("@internal"):
            self._draft.left(where, f"router {name}", _INTERNAL[service])
            return []
        rule = find(router, "rule")
        if rule.raw is None:
            self._draft.left(where, f"router {name}", "it has no rule: defaultRule is of the static configuration")
            return []
        alternatives = self._alternatives(name, rule)
        effect = self._middlewares.effect(texts(router, "middlewares"))
        points = frozenset(texts(router, "entryPoints"))
        if effect.to_https:
            secure = find(router, "tls").raw not in (None, False) or any(each.lower() in _SECURE for each in points)
            is_guarded = effect.closed or GUARDS & effect.policies.keys()
            is_left_out = service == "noop" or not (secure or is_guarded)
            say = self._draft.left if is_left_out else self._draft.changed
            why = "write gateway.tls with redirect_from: it sends clients to HTTPS"
            say(where, f"router {name}: redirectScheme", why)
            if is_left_out:
                return []
        target = Target() if service == "noop" else self._services.target(service) if service else Target()
        closed = effect.closed or target.closed or self._tls(router, name) or self._doubtful.get(name, "")
        if not closed and not target.route and effect.redirect is None:
            closed = "it has no service"
        comments: list[str] = []
        for key, value in router.entries().items():
            if key.lower() not in _KNOWN and value.raw:
                if key.lower().startswith("middleware"):
                    closed = closed or f"{key} is no key of Traefik's: it may be meant for middlewares"
                self._draft.left(value.where, f"router {name}: {key}", "there is no counterpart")
                comments.append(f"{value.where}: {key}: there is no counterpart")
        priority = find(router, "priority")
        rank = priority.number() if priority.raw is not None and priority.number() != 0 else len(rule.text())
        if not (closed or GUARDS & effect.policies.keys()):
            alternatives = self._said(name, rule, alternatives)
        return [
            candidate
            for index, conditions in enumerate(alternatives)
            for candidate in self._candidates(
                name, router, conditions, effect, target, closed, (-rank, where.line, index), comments, points
            )
        ]

    def _alternatives(self, name: str, rule: Value) -> list[Conditions]:
        """The routes that a rule is; none where it is not read, or met by nothing."""
        what = f"router {name}: {rule.text()}"
        try:
            found = read_rule(rule.text())
        except RuleError as error:
            self._draft.left(rule.where, what, f"Traefik does not read this rule: {error}")
            return []
        except Unsaid as unsaid:
            return [Conditions(unsaid=str(unsaid))]
        if not found:
            self._draft.left(rule.where, what, "no request meets this rule")
        return found

    def _said(self, name: str, rule: Value, alternatives: list[Conditions]) -> list[Conditions]:
        """Those that ask for nothing that cannot be said."""
        for why in dict.fromkeys(each.unsaid for each in alternatives if each.unsaid):
            self._draft.left(rule.where, f"router {name}: {rule.text()}", f"it is left out: {why}")
        return [each for each in alternatives if not each.unsaid]

    def _tls(self, router: Value, name: str) -> str:
        """Why a route must not be served; what its TLS says is reported."""
        tls = find(router, "tls")
        said = tls if isinstance(tls.raw, dict) else Value(tls.file, tls.line, tls.name, None)
        is_on = tls.raw not in (None, False, "false")
        if is_on and not text(said, "certResolver") and self._plain is None:
            self._plain = tls.where, name
        is_secure = any(each.lower() in _SECURE for each in texts(router, "entryPoints"))
        options = text(said, "options").partition("@")[0] or ("default" if is_on or is_secure else "")
        if options and options not in self._options:
            return f"there is no tls.options {options} in this file, which may ask clients for certificates"
        if self._options.get(options):
            return f"tls.options {options} asks clients for certificates: write gateway.tls.client_certificates"
        if resolver := text(said, "certResolver"):
            why = "write gateway.tls.acme, with the domains and terms_agreed"
            self._draft.left(find(said, "certResolver").where, f"router {name}: certResolver {resolver}", why)
        return ""

    def _candidates(
        self,
        name: str,
        router: Value,
        conditions: Conditions,
        effect: Effect,
        target: Target,
        closed: str,
        rank: tuple[Any, ...],
        comments: list[str],
        points: frozenset[str],
    ) -> list[_Candidate]:
        rule = find(router, "rule").where
        if conditions.unsaid:
            closed = f"it is guarded, and {conditions.unsaid}"
        data = _data(conditions, effect.route.get("hosts"))
        if data is None:
            return []
        for note in conditions.notes:
            self._draft.changed(rule, f"router {name}", note)
        policies = dict(effect.policies)
        if conditions.networks:
            closed = closed or ("two lists of addresses" if "ip_filter" in policies else "")
            policies["ip_filter"] = {"allow": list(conditions.networks)}
            self._draft.changed(rule, f"router {name}: ClientIP", "other clients get 403, not another route")
        matching = self._matching(conditions, data, policies, closed, target)
        if matching.kind == "prefix" and matching.prefix != "/":
            self._prefixes.append((rule, matching.path))
        rest = {**target.route, **{key: value for key, value in effect.route.items() if key != "hosts"}}
        if policies:
            rest["policies"] = policies
        found = self._redirects(name, router, effect, matching, rank, data, comments, points)
        closed = closed or ("" if found else _redirected(effect))
        if not target.route and not closed:
            return found
        try:
            several = variants(matching, effect.steps)
        except ValueError as error:
            closed, several = closed or f"the path: {error}", variants(matching, [])
        if "service" in target.route and not closed:
            self._service_keys.setdefault(target.route["service"], []).append(effect.service)
        for number, variant in enumerate(several):
            own = dict(rest)
            if variant.rewrite and not closed:
                own["rewrite"] = variant.rewrite
            found.append(
                _Candidate(
                    name, router.where, (*rank, 1, number), variant.matching, data, comments, closed, points, own
                )
            )
        return [*found, *self._excluded(name, router, conditions, data, rank, points)]

    def _excluded(
        self,
        name: str,
        router: Value,
        conditions: Conditions,
        data: dict[str, Any],
        rank: tuple[Any, ...],
        points: frozenset[str],
    ) -> list[_Candidate]:
        """What a rule leaves to others: 404 here, unless another route takes it."""
        found = []
        for kind, path in conditions.excluded:
            why = f"!Path of {path}: what no other route takes of it gets 404"
            self._draft.changed(find(router, "rule").where, f"router {name}", why)
            matching = Matching(kind, path, hosts=tuple(data.get("hosts", ())))
            kept = {"hosts": data["hosts"]} if "hosts" in data else {}
            rest = {"respond": 404}
            found.append(
                _Candidate(name, router.where, (rank[0] - 0.5, *rank[1:], 2), matching, kept, [], "", points, rest)
            )
        return found

    def _matching(
        self, conditions: Conditions, data: dict[str, Any], policies: dict[str, Any], closed: str, target: Target
    ) -> Matching:
        kind, path, ignores_case = conditions.path or ("prefix", "/", False)
        return Matching(
            kind,
            path,
            ignores_case,
            tuple(data.get("hosts", ())),
            len(data.get("headers", ())) + len(data.get("query", ())),
            "methods" in data,
            frozenset(GUARDS & policies.keys()) | ({"closed"} if closed else set()),
            target.key,
        )

    def _redirects(
        self,
        name: str,
        router: Value,
        effect: Effect,
        matching: Matching,
        rank: tuple[Any, ...],
        data: dict[str, Any],
        comments: list[str],
        points: frozenset[str],
    ) -> list[_Candidate]:
        """The route before a route that sends some of its requests elsewhere."""
        if effect.redirect is None:
            return []
        pattern, by, status = effect.redirect
        try:
            hosts, inner, to = redirect_of(matching, pattern, by)
        except ValueError as error:
            self._draft.left(router.where, f"router {name}: redirectRegex {pattern}", str(error))
            return []
        kept = {**data, "hosts": [host for host in hosts if host in data.get("hosts", hosts)] or hosts}
        inner.hosts = tuple(kept["hosts"])
        rest = {"redirect": {"to": to, "status": status}}
        return [_Candidate(name, router.where, (*rank, 0), inner, kept, comments, "", points, rest)]

    def _write(self, candidate: _Candidate) -> str:
        name = numbered(candidate.name, self._names)
        part = Part(candidate.where, {"name": name, "path": _written(candidate.matching)})
        for line in dict.fromkeys(candidate.comments):
            part.comment(line)
        part.data.update(candidate.data)
        self._draft.routes.append(part)
        if candidate.closed:
            part.data["respond"] = 503
            self._draft.left(candidate.where, f"router {candidate.name}", f"it answers 503: {candidate.closed}", part)
            return name
        rest = dict(candidate.rest)
        order = ("service", "split", "sticky", "respond", "redirect", "rewrite", "mirror")
        part.data.update({key: rest.pop(key) for key in order if key in rest})
        part.data.update(rest)
        if candidate.matching.was_prefix:
            _as_pattern(part, candidate.matching)
        self._draft.taken(candidate.where, f"router {candidate.name}")
        return name


def _redirected(effect: Effect) -> str:
    """Why a service must not get requests that it never gets behind a redirect that cannot be said."""
    if effect.redirect is None or not takes_all_paths(effect.redirect[0]):
        return ""
    return "its redirectRegex takes whatever is asked of a host: nothing of it gets to the service"


def _data(conditions: Conditions, allowed: list[str] | None) -> dict[str, Any] | None:
    """What a route asks for beside its path; None where the hosts that are `allowed` are none of its own."""
    hosts = list(conditions.hosts)
    if allowed is not None:
        hosts = [host for host in hosts if host in allowed] if hosts else list(allowed)
        if not hosts:
            return None
    data = {
        "hosts": hosts,
        "methods": list(conditions.methods),
        "headers": dict(conditions.headers),
        "query": dict(conditions.query),
    }
    return {key: value for key, value in data.items() if value}


def _written(matching: Matching) -> str:
    if matching.kind == "pattern":
        return f"{'~*' if matching.ignores_case else '~'} {matching.path}"
    return f"= {matching.path}" if matching.kind == "exact" else matching.prefix


def _has_rest(data: dict[str, Any]) -> bool:
    """Whether a service gets what follows a prefix."""
    return data.get("rewrite") != "keep" and ("service" in data or "split" in data)


def _as_pattern(part: Part, matching: Matching) -> None:
    """The rewrite of a prefix that has become a pattern: `{path}` was what follows it."""
    rewrite = part.data.get("rewrite")
    if not _has_rest(part.data):
        part.data.pop("rewrite", None)
    elif matching.was_prefix != "/":
        slash = "" if matching.was_prefix.endswith("/") else "/?"
        part.data["path"] = f"~ {matching.path}{slash}(?P<rest>.*)$"
        written = (rewrite or "/{path}").replace("{path}", "{rest}")
        data = {**part.data, "rewrite": written}
        part.data = {key: data[key] for key in sorted(data, key=lambda key: key == "policies")}
