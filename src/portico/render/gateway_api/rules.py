"""Routes as rules of HTTPRoutes: what they take, what becomes of the path, where they lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from portico.config import KEEP, Config, RedirectSettings, ResolvedRoute
from portico.config.answers import redirect_target
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.core.conditions import is_value_pattern
from portico.core.placeholders import PATH, names_in
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.render.expressions import expression_of, literal, value_expression
from portico.render.gateway_api.backends import Backends
from portico.render.gateway_api.filters import METHODS, filters_of
from portico.render.gateway_api.names import is_hostname
from portico.render.losses import Losses
from portico.render.policies import guards_of, is_guarded, policy_path
from portico.render.precedence import Matcher
from portico.render.yaml_text import Noted

_PATH: Final = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MOST: Final = 16
"""Conditions of one kind."""
_LONGEST: Final = 1024
"""Letters of a path or an expression."""
_USUAL_RESPONSE: Final = 30.0
_LONGEST_TIME: Final = 99_999
SPECIFIC: Final = "RegularExpression is implementation-specific: its dialect, and its place among other paths"

Pair = tuple[dict[str, Any], dict[str, Any] | None]
"""A path that is matched, and what becomes of it: a URLRewrite's path, or a RequestRedirect's."""


@dataclass(slots=True)
class Rules:
    """Makes the rules of routes."""

    config: Config
    losses: Losses
    backends: Backends
    exact: frozenset[str] = frozenset()
    """The exact paths of the hosts whose rules are made: no prefix has a rule for just that path beside them."""
    _closed: dict[str, str | None] = field(default_factory=dict)

    def of(self, matcher: Matcher, others: Sequence[ResolvedRoute]) -> list[Noted]:
        """Those of a route, or of a copy of it; `others` are the further sides of a split."""
        route = matcher.route
        conditions = self._conditions(route, matcher.headers, matcher.query)
        methods = self._methods(matcher)
        if conditions is None or methods is None:
            return []
        try:
            found = [*self._rules(route, [route, *others], conditions, methods)]
        except ValueError as error:
            if not is_guarded(route):
                self.losses.add(_place(route, "path"), f"{error}: the route is left out")
                return []
            self.losses.add(_place(route, "path"), f"{error}: the route is closed, with what is beside it")
            rule = {"backendRefs": self.backends.closed()}
            found = [*self._each(_around(route), conditions, methods, rule, None)]
        again = ", once more: for requests that another route would take" if matcher.is_copy else ""
        kind = "default route" if route.is_default else "route"
        return [Noted(f"{kind} {route.name}{again}{note}", rule) for note, rule in found]

    def _rules(
        self, route: ResolvedRoute, sides: Sequence[ResolvedRoute], conditions: dict[str, Any], methods: Sequence[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        why = self._closing(route, sides)
        redirect = self._redirect(route) if not why and isinstance(route.answer, RedirectSettings) else None
        if redirect is not None:
            body, pairs = redirect
            for match, change in self._without_others(route, pairs):
                said = {**body, **({"path": change} if change else {})}
                filters = [{"type": "RequestRedirect", "requestRedirect": said}]
                yield from self._each(match, conditions, methods, {"filters": filters}, change)
            return
        if why:
            for match, _ in _matches(route):
                rule = {"backendRefs": self.backends.closed()}
                yield from (
                    (f", closed: {why}{note}", each)
                    for note, each in self._each(match, conditions, methods, rule, None)
                )
            return
        for match, change in self._without_others(route, _rewritten(route)):
            for note, side_conditions, refs in self._sides(route, sides, conditions):
                rule = self._forwarding(route, change, refs)
                each = self._each(match, side_conditions, methods, rule, change)
                yield from ((note + more, made) for more, made in each)

    def _without_others(self, route: ResolvedRoute, pairs: Sequence[Pair]) -> Iterator[Pair]:
        """All but the rule for a prefix alone, where that is the exact path of another route."""
        for match, change in pairs:
            if match["type"] == "Exact" and not is_exact(route.path) and match["value"] in self.exact:
                why = "the prefix alone loses the slash behind what replaces it: there is another route for that path"
                self.losses.add(_place(route, "path"), why)
            else:
                yield match, change

    def _each(
        self,
        match: dict[str, Any],
        conditions: Mapping[str, Any],
        methods: Sequence[str],
        body: dict[str, Any],
        change: dict[str, Any] | None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """A rule for all methods; one for each, where its prefix is replaced: then it may have one match alone."""
        matches = [
            {"path": match, **({"method": method} if method else {}), **conditions} for method in methods or ("",)
        ]
        if change is not None and change["type"] == "ReplacePrefixMatch":
            yield from (("", {"matches": [each], **body}) for each in matches)
        else:
            yield "", {"matches": matches, **body}

    def _sides(
        self, route: ResolvedRoute, sides: Sequence[ResolvedRoute], conditions: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
        """Those that requests name themselves, then all by their weights."""
        for side in sides if len(sides) > 1 else ():
            assert side.side is not None
            if side.side.cookies:
                self.losses.add(
                    (*route.source, "split"), "the Gateway API asks for no cookies: such requests take any side"
                )
            for name, value in side.side.headers.items():
                more = self._conditions(route, ((name, value),), (), (*route.source, "split"))
                if more is not None:
                    merged = {**conditions, "headers": [*conditions.get("headers", ()), *more["headers"]]}
                    yield f", side {side.side.label}", merged, self.backends.of_route(route, [side])
        yield "", conditions, self.backends.of_route(route, sides)

    # ---- what a rule takes

    def wide(self, matcher: Matcher) -> Matcher:
        """The matcher, or that of all requests for its path: no other route gets what a guarded one would refuse."""
        route = matcher.route
        fields = (*matcher.headers, *matcher.query)
        is_said = {*matcher.methods} <= {*METHODS} and max(len(matcher.headers), len(matcher.query)) <= _MOST
        if not is_guarded(route) or (is_said and all(_is_said(name, value) for name, value in fields)):
            return matcher
        why = "the Gateway API has no words for what this guarded route asks for: it is closed, with all of its path"
        self.losses.add(route.source, why)
        return replace(matcher, methods=(), headers=(), query=())

    def _methods(self, matcher: Matcher) -> list[str] | None:
        methods = [each for each in matcher.methods if each in METHODS]
        if len(methods) < len(matcher.methods) and not matcher.is_copy:
            why = f"the Gateway API has {', '.join(METHODS)} alone: of other methods, requests are not taken"
            self.losses.add((*matcher.route.source, "methods"), why)
        if matcher.methods and not methods:
            return None
        if methods and matcher.route.policies.get("cors", (None, ""))[0]:
            methods.append("OPTIONS")  # for preflights
        return sorted(set(methods))

    def _conditions(
        self,
        route: ResolvedRoute,
        headers: Sequence[tuple[str, str | bool]],
        query: Sequence[tuple[str, str | bool]],
        at: KeyPath | None = None,
    ) -> dict[str, Any] | None:
        """`headers` and `queryParams` of a match; None, and a loss, where there are no words for one."""
        found: dict[str, Any] = {}
        for key, name_of, conditions in (("headers", "headers", headers), ("queryParams", "query", query)):
            for name, value in conditions:
                place = (*route.source, name_of, name) if at is None else at
                if not _is_said(name, value) or len(conditions) > _MOST:
                    self.losses.add(place, "the Gateway API has no words for this condition: the route is left out")
                    return None
                said: dict[str, Any] = {"name": name, "value": value}
                if value is True or is_value_pattern(str(value)):
                    self.losses.add(place, SPECIFIC)
                    text = ".*" if value is True else _whole(value_expression(str(value)), value_expression(str(value)))
                    said = {"type": "RegularExpression", "name": name, "value": text}
                found.setdefault(key, []).append(said)
        return found

    # ---- what is done

    def _closing(self, route: ResolvedRoute, sides: Sequence[ResolvedRoute]) -> str | None:
        """Why a route is closed; None for one that is open."""
        if route.name not in self._closed:
            self._closed[route.name] = ", ".join(dict.fromkeys(self._reasons(route, sides))) or None
        return self._closed[route.name]

    def _reasons(self, route: ResolvedRoute, sides: Sequence[ResolvedRoute]) -> Iterator[str]:
        for side in sides:
            networks = ["ip_filter"] if side.policies.get("ip_filter", (None, ""))[0] else []
            for key in (*guards_of(side), *networks):
                why = "the Gateway API cannot check this: the routes that it guards are closed and answer 503"
                self.losses.add(policy_path(side, side.policies[key][1], key), why)
                yield f"the Gateway API cannot check {key}"
        if route.maintenance is not None:
            yield "in maintenance"
        elif route.answer is not None and not isinstance(route.answer, RedirectSettings):
            self.losses.add((*route.source, "respond"), "the Gateway API answers nothing itself: the route is closed")
            yield "the Gateway API answers nothing itself"
        elif isinstance(route.answer, RedirectSettings) and self._redirect(route) is None:
            why = "the Gateway API has no words for this redirect: the route is closed and answers 503"
            self.losses.add((*route.source, "redirect"), why)
            yield "the Gateway API has no words for its redirect"
        elif route.answer is None and _has_no_words(route):
            why = "the Gateway API puts no part of a path elsewhere: the route is closed and answers 503"
            self.losses.add(_place(route, "rewrite"), why)
            yield "the Gateway API has no words for its rewrite"
        elif route.answer is None and not any(self.backends.refs(str(side.service), side.version) for side in sides):
            yield "Kubernetes reaches none of its instances"

    def _forwarding(
        self, route: ResolvedRoute, change: dict[str, Any] | None, refs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        upstream = self.backends.upstream(str(route.service), route.version)
        if route.choice is not None:
            at: KeyPath = ("services", str(route.service), "version_by")
            self.losses.add(at, "the Gateway API does not choose versions: all requests get the first one")
        if route.upgrades not in ((), ("websocket",)):
            self.losses.add((*route.source, "upgrades"), "that clients may switch to this is up to the implementation")
        filters = filters_of(self.losses, self.backends, route)
        rewrite: dict[str, Any] = {}
        first = upstream.instances[0]
        if not preserved(route.preserve_host, first):
            if is_hostname(first.host):
                rewrite["hostname"] = first.host
            else:
                self.losses.add(_place(route, "preserve_host"), "the Gateway API sends no address as Host")
        if change is not None:
            rewrite["path"] = change
        if rewrite:
            filters.append({"type": "URLRewrite", "urlRewrite": rewrite})
        rule: dict[str, Any] = {"filters": filters} if filters else {}
        rule["backendRefs"] = refs
        if times := self._times(route):
            rule["timeouts"] = times
        return rule

    def _times(self, route: ResolvedRoute) -> dict[str, str]:
        times = route.timeouts
        found = {}
        if times.total is not None:
            found["request"] = _duration(times.total)
        if times.response != _USUAL_RESPONSE and (times.total is None or times.response <= times.total):
            why = "backendRequest is for the whole response of a service, and not for its head alone"
            self.losses.add(_place(route, "timeout"), why)
            found["backendRequest"] = _duration(times.response)
        return found

    # ---- redirects

    def _redirect(self, route: ResolvedRoute) -> tuple[dict[str, Any], list[Pair]] | None:
        """A RequestRedirect without its path, and what that becomes; None where there are no words for it."""
        assert isinstance(route.answer, RedirectSettings)
        to = redirect_target(route.answer.to)
        if to.query or to.fragment or not to.keeps_query or (is_pattern(route.path) and "{" in to.path):
            return None
        body: dict[str, Any] = {}
        if to.origin:
            scheme, _, host = to.origin.partition("://")
            name, _, port = host.partition(":")
            if host.startswith("[") or (name != "{host}" and not is_hostname(name)):
                return None
            body = {"scheme": scheme.lower()}
            body |= {"hostname": name} if name != "{host}" else {}
            body["port"] = int(port) if port else 443 if scheme.lower() == "https" else 80
        return {**body, "statusCode": route.answer.status}, [*_changed(route, to.path)]


def _is_said(name: str, value: str | bool) -> bool:
    """Whether the API has words for a condition."""
    return _NAME.fullmatch(name) is not None and value != ""


# ---- paths


def _around(route: ResolvedRoute) -> dict[str, Any]:
    """A match for the paths of a route that is closed, and for what cannot be told from them."""
    path = pattern_of(route.path).prefix if is_pattern(route.path) else literal_of(route.path)
    expression = f"^{literal(path)}(?:/.*)?$"
    if not is_pattern(route.path) and len(expression) <= _LONGEST:
        return {"type": "RegularExpression", "value": expression}
    while path != "/" and (not _PATH.fullmatch(path) or len(path) > _LONGEST):
        path = path.rpartition("/")[0] or "/"
    return {"type": "PathPrefix", "value": path}


def _matches(route: ResolvedRoute) -> list[Pair]:
    """What a route takes, whatever becomes of the path. Raises ValueError where there are no words for it."""
    if is_pattern(route.path):
        text = _whole(expression_of(route.path), route.path)
        if len(text) > _LONGEST:
            raise ValueError(f"the Gateway API has expressions of {_LONGEST} letters at most")
        return [({"type": "RegularExpression", "value": text}, None)]
    if is_exact(route.path):
        return [({"type": "Exact", "value": _checked(literal_of(route.path))}, None)]
    return [({"type": "PathPrefix", "value": _checked("/" if route.is_fallback else route.path)}, None)]


def _checked(path: str) -> str:
    if not _PATH.fullmatch(path) or re.search("%2f", path, re.IGNORECASE) or len(path) > _LONGEST:
        raise ValueError("the Gateway API takes no such path")
    return path


def _whole(expression: str, path: str) -> str:
    """An expression for all of a text: some implementations compare it so, and some look for it."""
    branches = pattern_of(path).branches if is_pattern(path) and path.startswith(("~ /", "~ ^", "~")) else ()
    if len(branches) > 1:
        return f"^.*(?:{expression}).*$"
    start = expression if expression.startswith("^") else f"^.*{expression}"
    return start if start.endswith("$") and not start.endswith("\\$") else f"{start}.*$"


def _rewritten(route: ResolvedRoute) -> list[Pair]:
    """What a route takes, and what becomes of the path."""
    if route.rewrite == KEEP:
        return _matches(route)
    return [*_changed(route, route.rewrite)]


def _has_no_words(route: ResolvedRoute) -> bool:
    """Whether the path of a rewrite has a part of the request's that no modifier puts there."""
    if route.rewrite == KEEP or is_exact(route.path):
        return False
    names = names_in(route.rewrite)
    if is_pattern(route.path):
        return bool(names) and route.rewrite != "/{path}"
    return bool(names) and not (names == [PATH] and route.rewrite.endswith("/{path}"))


def _changed(route: ResolvedRoute, target: str) -> Iterator[Pair]:
    """`target` is a path with at most `{path}` in it."""
    ((match, _),) = _matches(route)
    if is_exact(route.path):
        own = literal_of(route.path)
        full = target.replace("{path}", own.removeprefix("/"))
        yield match, _full(full) if full != own else None
    elif "{path}" not in target:
        yield match, _full(target)
    elif is_pattern(route.path):
        yield match, None
    else:
        base = target.removesuffix("{path}")
        prefix = match["value"]
        if base == prefix.rstrip("/") + "/":
            yield match, None
            return
        if base != "/":  # a prefix alone would lose the slash behind the base
            yield {"type": "Exact", "value": prefix}, _full(base)
        yield match, {"type": "ReplacePrefixMatch", "replacePrefixMatch": base.rstrip("/") or "/"}


def _full(path: str) -> dict[str, Any]:
    if len(path) > _LONGEST:
        raise ValueError(f"the Gateway API has paths of {_LONGEST} letters at most")
    return {"type": "ReplaceFullPath", "replaceFullPath": path}


def _place(route: ResolvedRoute, key: str) -> KeyPath:
    """Where a key of a route is written; where its service is, for a default route."""
    return route.source if route.is_default else (*route.source, key)


def _duration(seconds: float) -> str:
    """As the API has it: at most five digits and a unit."""
    if seconds == int(seconds) or seconds >= _LONGEST_TIME / 1000:
        whole = max(1, round(seconds))
        return f"{whole}s" if whole <= _LONGEST_TIME else f"{min(round(seconds / 3600), _LONGEST_TIME)}h"
    return f"{max(1, round(seconds * 1000))}ms"
