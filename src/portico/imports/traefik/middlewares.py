"""Traefik's middlewares as policies, keys of routes, and steps that change the path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from portico.imports.draft import Draft
from portico.imports.located import Value
from portico.imports.policies import merged
from portico.imports.traefik.source import find, flag, seconds, text, texts


class PathStep(NamedTuple):
    """One change of the path. For `replace_pattern`, `text` is a pattern and `by` what takes the place of the path."""

    kind: Literal["strip", "strip_pattern", "add", "replace", "replace_pattern"]
    text: str
    by: str = ""


@dataclass(slots=True)
class Effect:
    """What a chain of middlewares comes to. `closed` is why the route must not let requests through."""

    policies: dict[str, Any] = field(default_factory=dict)
    route: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    """Keys of the service, where all of its routes have them."""
    steps: list[PathStep] = field(default_factory=list)
    to_https: bool = False
    redirect: tuple[str, str, int] | None = None
    """A pattern of URLs, where they are sent, and the status."""
    closed: str = ""


Convert: TypeAlias = "Callable[[Value, Effect, Middlewares], None]"


class Middlewares:
    """All middlewares by name."""

    def __init__(self, http: Value, draft: Draft) -> None:
        self.draft = draft
        self._all = find(http, "middlewares").entries()

    def effect(self, names: list[str]) -> Effect:
        """What these come to, one after the other."""
        effect = Effect()
        self._add(names, effect, ())
        return effect

    def _add(self, names: list[str], effect: Effect, above: tuple[str, ...]) -> None:
        for written in names:
            name = written.partition("@")[0]
            middleware = self._all.get(name)
            if middleware is None:
                effect.closed = f"there is no middleware {name} in this file"
            elif name in above or len(above) > 20:
                effect.closed = f"middleware {name} leads back to itself"
            else:
                self._one(name, middleware, effect, above)

    def _one(self, name: str, middleware: Value, effect: Effect, above: tuple[str, ...]) -> None:
        kinds = [(kind, value) for kind, value in middleware.entries().items()]
        if not kinds:
            effect.closed = f"middleware {name} is empty"
        for kind, value in kinds:
            convert = _CONVERT.get(kind.lower())
            if kind.lower() == "chain":
                self._add(texts(value, "middlewares"), effect, (*above, name))
            elif convert is not None:
                if not isinstance(value.raw, dict):
                    value = Value(value.file, value.line, value.name, {})
                convert(value, effect, self)
            elif kind.lower() in _NO_GUARD:
                self.draft.left(value.where, f"{name}: {kind}", _NO_GUARD[kind.lower()])
            else:
                effect.closed = f"{kind}: nothing here does what this middleware does"
                self.draft.left(value.where, f"{name}: {kind}", "routes answer 503: there is no counterpart")

    def unknown(self, value: Value, *known: str) -> None:
        """Say of all other keys that they are left."""
        names = {name.lower() for name in known}
        for key, each in value.entries().items():
            if key.lower() not in names and each.raw not in (None, False, "", 0, [], {}):
                self.draft.left(each.where, each.name, "there is no counterpart")


_NO_GUARD: Final = {
    "contenttype": "responses have the type that services give them",
    "grpcweb": "gRPC is not translated",
    "passtlsclientcert": "services are told of certificates by X-Forwarded-Client-Cert",
    "errors": "pages of errors are files: write policies: {errors: {5xx: {html: FILE}}}",
    "inflightreq": "write max_requests of the service, or gateway.limits.connections_per_client",
    "encodedcharacters": "encoded slashes are refused unless encoded_slashes is written",
}


# ---- the path


def _strip(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    middlewares.unknown(value, "prefixes", "forceSlash")
    effect.steps += [PathStep("strip", prefix) for prefix in texts(value, "prefixes")]


def _strip_pattern(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    middlewares.unknown(value, "regex")
    effect.steps += [PathStep("strip_pattern", pattern) for pattern in texts(value, "regex")]


def _add_prefix(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    middlewares.unknown(value, "prefix")
    effect.steps.append(PathStep("add", text(value, "prefix")))


def _replace_path(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    middlewares.unknown(value, "path")
    effect.steps.append(PathStep("replace", text(value, "path")))


def _replace_pattern(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    middlewares.unknown(value, "regex", "replacement")
    effect.steps.append(PathStep("replace_pattern", text(value, "regex"), text(value, "replacement")))


# ---- redirects


def _redirect_scheme(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    if text(value, "scheme", default="https") == "https":
        effect.to_https = True
    else:
        middlewares.draft.left(value.where, "redirectScheme", "clients are sent to https alone")


def _redirect_pattern(value: Value, effect: Effect, middlewares: Middlewares) -> None:  # noqa: ARG001
    status = 301 if flag(value, "permanent") else 302
    effect.redirect = (text(value, "regex"), text(value, "replacement"), status)


# ---- fields


def _field_value(written: str) -> str:
    return written.replace("{", "{{").replace("}", "}}")


def _headers(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    sections: dict[str, Any] = {}
    for key, side in (("customRequestHeaders", "request"), ("customResponseHeaders", "response")):
        written = {name: each.text() for name, each in find(value, key).entries().items() if each.raw is not None}
        changes: dict[str, Any] = {}
        if kept := {name: _field_value(each) for name, each in written.items() if each}:
            changes["set"] = kept
        if removed := [name for name, each in written.items() if not each]:
            changes["remove"] = removed
        if changes:
            sections[side] = changes
    if security := _security(value):
        sections = merged({"headers": sections}, {"headers": {"response": {"set": security}}})["headers"]
    if sections:
        effect.policies = merged(effect.policies, {"headers": sections})
    _cors(value, effect, middlewares)
    for key in ("sslRedirect", "sslTemporaryRedirect"):
        if flag(value, key):
            where = find(value, key).where
            middlewares.draft.changed(where, key, "gateway.tls.redirect_from sends clients to HTTPS")
    hosts = texts(value, "allowedHosts")
    if hosts:
        known = effect.route.get("hosts", hosts)
        effect.route["hosts"] = [host for host in hosts if host in known]
        middlewares.draft.changed(find(value, "allowedHosts").where, "allowedHosts", "other hosts get 404")
    middlewares.unknown(value, *_HEADER_KEYS)


_HEADER_KEYS: Final = (
    *("customRequestHeaders", "customResponseHeaders", "stsSeconds", "stsIncludeSubdomains", "stsPreload"),
    *("forceSTSHeader", "frameDeny", "customFrameOptionsValue", "contentTypeNosniff", "browserXssFilter"),
    *("customBrowserXSSValue", "contentSecurityPolicy", "contentSecurityPolicyReportOnly", "referrerPolicy"),
    *("permissionsPolicy", "featurePolicy", "accessControlAllowCredentials", "accessControlAllowHeaders"),
    *("accessControlAllowMethods", "accessControlAllowOriginList", "accessControlAllowOriginListRegex"),
    *("accessControlExposeHeaders", "accessControlMaxAge", "addVaryHeader", "allowedHosts", "sslRedirect"),
    *("sslTemporaryRedirect", "sslProxyHeaders", "hostsProxyHeaders"),
)


def _security(value: Value) -> dict[str, str]:
    """The fields that browsers take as instructions."""
    found: dict[str, str] = {}
    age = find(value, "stsSeconds")
    if age.raw is not None and age.whole() > 0:
        parts = [f"max-age={age.whole()}"]
        parts += ["includeSubDomains"] if flag(value, "stsIncludeSubdomains") else []
        parts += ["preload"] if flag(value, "stsPreload") else []
        found["Strict-Transport-Security"] = "; ".join(parts)
    if frame := text(value, "customFrameOptionsValue") or ("DENY" if flag(value, "frameDeny") else ""):
        found["X-Frame-Options"] = frame
    if flag(value, "contentTypeNosniff"):
        found["X-Content-Type-Options"] = "nosniff"
    if xss := text(value, "customBrowserXSSValue") or ("1; mode=block" if flag(value, "browserXssFilter") else ""):
        found["X-XSS-Protection"] = xss
    named = {
        "contentSecurityPolicy": "Content-Security-Policy",
        "contentSecurityPolicyReportOnly": "Content-Security-Policy-Report-Only",
        "referrerPolicy": "Referrer-Policy",
        "permissionsPolicy": "Permissions-Policy",
        "featurePolicy": "Feature-Policy",
    }
    found |= {name: text(value, key) for key, name in named.items() if text(value, key)}
    return {name: _field_value(each) for name, each in found.items()}


_ORIGIN_BELOW: Final = re.compile(r"\^?(https?)://(?:\(\?:|\()?(?:\.[+*]|\[[^\]]+\][+*])\)?\\\.((?:[\w-]|\\\.)+)\$?")


def _cors(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    origins = texts(value, "accessControlAllowOriginList")
    for pattern in texts(value, "accessControlAllowOriginListRegex"):
        if below := _ORIGIN_BELOW.fullmatch(pattern):
            origins.append(f"{below[1]}://*.{below[2].replace(chr(92), '')}")
        else:
            where = find(value, "accessControlAllowOriginListRegex").where
            why = "origins are named, or https://*.example.com; this one is not allowed"
            middlewares.draft.left(where, f"accessControlAllowOriginListRegex: {pattern}", why)
    if not origins:
        return
    cors: dict[str, Any] = {"allow_origins": origins}
    for key, own in (
        ("accessControlAllowMethods", "allow_methods"),
        ("accessControlAllowHeaders", "allow_headers"),
        ("accessControlExposeHeaders", "expose_headers"),
    ):
        if found := texts(value, key):
            cors[own] = found
    if flag(value, "accessControlAllowCredentials"):
        cors["allow_credentials"] = True
    age = find(value, "accessControlMaxAge")
    if age.raw is not None and age.whole() > 0:
        cors["max_age"] = age.whole()
    effect.policies["cors"] = cors


# ---- limits


def _rate_limit(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    average = find(value, "average")
    if average.raw is None or average.number() <= 0:
        return
    period = seconds(value, "period") or 1.0
    per_minute = average.number() * 60 / period
    burst = find(value, "burst")
    limit: dict[str, Any] = {
        "requests_per_minute": per_minute if per_minute % 1 else int(per_minute),
        "burst": 1 if burst.raw is None else max(1, burst.whole()),
    }
    if flag(value, "sourceCriterion", "requestHost"):
        where = find(value, "sourceCriterion").where
        middlewares.draft.left(where, "rateLimit: requestHost", "nothing is counted by host: this limit is left out")
        return
    if header := text(value, "sourceCriterion", "requestHeaderName"):
        limit["by"] = {"header": header}
    _ip_strategy(find(value, "sourceCriterion", "ipStrategy"), middlewares)
    if find(value, "redis").raw is not None:
        middlewares.draft.left(find(value, "redis").where, "rateLimit: redis", "write its address as gateway.redis_url")
    middlewares.unknown(value, "average", "period", "burst", "sourceCriterion", "redis")
    known = effect.policies.get("rate_limit")
    effect.policies["rate_limit"] = (
        limit if known is None else [*(known if isinstance(known, list) else [known]), limit]
    )


def _ip_strategy(strategy: Value, middlewares: Middlewares) -> None:
    if strategy.raw:
        why = "whose X-Forwarded-For is believed is said by gateway.trusted_proxies: write those before the gateway"
        middlewares.draft.changed(strategy.where, "ipStrategy", why)


def _addresses(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    if (found := effect.policies.get("ip_filter")) is not None:
        ranges = [each for each in texts(value, "sourceRange") if each in found["allow"]]
        if not ranges:
            effect.closed = "two lists of addresses"
            return
    else:
        ranges = texts(value, "sourceRange")
    if not ranges:
        effect.closed = "a list of addresses without one"
        return
    effect.policies["ip_filter"] = {"allow": ranges}
    _ip_strategy(find(value, "ipStrategy"), middlewares)
    middlewares.unknown(value, "sourceRange", "ipStrategy")


def _buffering(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    size = find(value, "maxRequestBodyBytes")
    if size.raw is not None and size.whole() > 0:
        effect.route["body_size"] = size.whole()
    for key in ("maxResponseBodyBytes", "retryExpression"):
        if find(value, key).raw:
            middlewares.draft.left(find(value, key).where, f"buffering: {key}", "bodies are streamed")


def _retry(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    attempts = find(value, "attempts")
    if attempts.raw is not None:
        effect.route["retries"] = min(max(attempts.whole() - 1, 0), 10)
    middlewares.unknown(value, "attempts", "initialInterval")


_RATIO: Final = re.compile(
    r"(?:NetworkErrorRatio\(\)|ResponseCodeRatio\(\s*500\s*,\s*600\s*,\s*0\s*,\s*600\s*\))\s*>=?\s*(0?\.\d+|1(?:\.0)?)"
)


def _circuit_breaker(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    expression = find(value, "expression")
    found = [_RATIO.fullmatch(part.strip()) for part in text(value, "expression").split("||")]
    ratios = [float(each[1]) for each in found if each is not None]
    if not ratios or len(ratios) < len(found):
        middlewares.draft.left(expression.where, "circuitBreaker", "a breaker opens by the share of failures alone")
        return
    breaker: dict[str, Any] = {"error_rate": min(ratios)}
    if (opened := seconds(value, "fallbackDuration")) is not None and opened > 0:
        breaker["open_for"] = opened
    effect.service["circuit_breaker"] = breaker
    middlewares.draft.changed(expression.where, "circuitBreaker", "each instance of the service has its own")


def _compress(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    settings: dict[str, Any] = {}
    if encodings := [each for each in texts(value, "encodings") if each in ("zstd", "br", "gzip")]:
        settings["encodings"] = encodings
    size = find(value, "minResponseBodyBytes")
    if size.raw is not None and size.whole() > 0:
        settings["min_size"] = size.whole()
    if types := texts(value, "includedContentTypes"):
        settings["types"] = types
    effect.policies["compress"] = settings or True
    middlewares.unknown(value, "encodings", "minResponseBodyBytes", "includedContentTypes")


# ---- who may come in


def _forward_auth(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    if "auth" in effect.policies:
        effect.closed = "two middlewares ask who comes in"
        return
    forward: dict[str, Any] = {"url": text(value, "address")}
    for key, own in (("authResponseHeaders", "pass_headers"), ("authRequestHeaders", "request_headers")):
        if found := texts(value, key):
            forward[own] = found
    if field_name := text(value, "headerField"):
        forward["consumer"] = field_name
        forward["pass_headers"] = list(dict.fromkeys([*forward.get("pass_headers", []), field_name]))
    if cookies := texts(value, "addAuthCookiesToResponse"):
        middlewares.draft.changed(
            find(value, "addAuthCookiesToResponse").where, "addAuthCookiesToResponse", "all cookies"
        )
        forward["response_headers"] = ["Set-Cookie"] if cookies else []
    if authority := text(value, "tls", "ca"):
        forward["ca"] = authority
    effect.policies["auth"] = {"forward": forward}
    known = ("address", "authResponseHeaders", "authRequestHeaders", "headerField", "addAuthCookiesToResponse")
    middlewares.unknown(value, *known, "trustForwardHeader", "maxBodySize", "maxResponseBodySize")


def _basic_auth(value: Value, effect: Effect, middlewares: Middlewares) -> None:
    names = [user.partition(":")[0] for user in texts(value, "users")]
    why = "hashes are argon2 here: make them by portico password, and write consumers and auth: {basic: {}}"
    effect.closed = "basicAuth: its passwords are hashed otherwise"
    middlewares.draft.left(value.where, f"basicAuth: {', '.join(names)}" if names else "basicAuth", why)


_CONVERT: Final[dict[str, Convert]] = {
    "addprefix": _add_prefix,
    "basicauth": _basic_auth,
    "buffering": _buffering,
    "circuitbreaker": _circuit_breaker,
    "compress": _compress,
    "forwardauth": _forward_auth,
    "headers": _headers,
    "ipallowlist": _addresses,
    "ipwhitelist": _addresses,
    "ratelimit": _rate_limit,
    "redirectregex": _redirect_pattern,
    "redirectscheme": _redirect_scheme,
    "replacepath": _replace_path,
    "replacepathregex": _replace_pattern,
    "retry": _retry,
    "stripprefix": _strip,
    "stripprefixregex": _strip_pattern,
}
