"""Traefik's middlewares as policies, keys of routes, and steps that change the path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from portico.imports.draft import Draft
from portico.imports.located import Value
from portico.imports.traefik.effect import Effect, PathStep, unknown
from portico.imports.traefik.fields import headers
from portico.imports.traefik.source import find, flag, seconds, text, texts

Convert: TypeAlias = Callable[[Value, Effect, Draft], None]


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
            if effect.closed and above:  # nothing in a chain opens a route again
                return
            name = written.partition("@")[0]
            middleware = self._all.get(name)
            if middleware is None:
                effect.closed = f"there is no middleware {written} in this file: copy its definition into it"
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
                convert(value, effect, self.draft)
            elif kind.lower() in _NO_GUARD:
                self.draft.left(value.where, f"{name}: {kind}", _NO_GUARD[kind.lower()])
            else:
                effect.closed = f"{kind}: nothing here does what this middleware does"
                self.draft.left(value.where, f"{name}: {kind}", "routes answer 503: there is no counterpart")


_NO_GUARD: Final = {
    "contenttype": "responses have the type that services give them",
    "grpcweb": "gRPC is not translated",
    "passtlsclientcert": "services are told of certificates by X-Forwarded-Client-Cert",
    "errors": "pages of errors are files: write policies: {errors: {5xx: {html: FILE}}}",
    "inflightreq": "write max_requests of the service, or gateway.limits.connections_per_client",
    "encodedcharacters": "encoded slashes are refused unless encoded_slashes is written",
}


# ---- the path


def _strip(value: Value, effect: Effect, draft: Draft) -> None:
    unknown(value, draft, "prefixes", "forceSlash")
    effect.steps += [PathStep("strip", prefix) for prefix in texts(value, "prefixes")]


def _strip_pattern(value: Value, effect: Effect, draft: Draft) -> None:
    unknown(value, draft, "regex")
    effect.steps += [PathStep("strip_pattern", pattern) for pattern in texts(value, "regex")]


def _add_prefix(value: Value, effect: Effect, draft: Draft) -> None:
    unknown(value, draft, "prefix")
    effect.steps.append(PathStep("add", text(value, "prefix")))


def _replace_path(value: Value, effect: Effect, draft: Draft) -> None:
    unknown(value, draft, "path")
    effect.steps.append(PathStep("replace", text(value, "path")))


def _replace_pattern(value: Value, effect: Effect, draft: Draft) -> None:
    unknown(value, draft, "regex", "replacement")
    effect.steps.append(PathStep("replace_pattern", text(value, "regex"), text(value, "replacement")))


# ---- redirects


def _redirect_scheme(value: Value, effect: Effect, draft: Draft) -> None:
    if text(value, "scheme", default="https") == "https":
        effect.to_https = True
    else:
        draft.left(value.where, "redirectScheme", "clients are sent to https alone")


def _redirect_pattern(value: Value, effect: Effect, draft: Draft) -> None:  # noqa: ARG001
    status = 301 if flag(value, "permanent") else 302
    effect.redirect = (text(value, "regex"), text(value, "replacement"), status)


# ---- limits


def _rate_limit(value: Value, effect: Effect, draft: Draft) -> None:
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
        draft.left(where, "rateLimit: requestHost", "nothing is counted by host: this limit is left out")
        return
    if header := text(value, "sourceCriterion", "requestHeaderName"):
        limit["by"] = {"header": header}
    _ip_strategy(find(value, "sourceCriterion", "ipStrategy"), draft)
    if find(value, "redis").raw is not None:
        draft.left(find(value, "redis").where, "rateLimit: redis", "write its address as gateway.redis_url")
    unknown(value, draft, "average", "period", "burst", "sourceCriterion", "redis")
    known = effect.policies.get("rate_limit")
    effect.policies["rate_limit"] = (
        limit if known is None else [*(known if isinstance(known, list) else [known]), limit]
    )


_TRUST: Final = "whose X-Forwarded-For is believed is said by gateway.trusted_proxies: write those before the gateway"


def _ip_strategy(strategy: Value, draft: Draft) -> None:
    if strategy.raw:
        draft.changed(strategy.where, "ipStrategy", _TRUST)


def _addresses(value: Value, effect: Effect, draft: Draft) -> None:
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
    _ip_strategy(find(value, "ipStrategy"), draft)
    unknown(value, draft, "sourceRange", "ipStrategy")


def _buffering(value: Value, effect: Effect, draft: Draft) -> None:
    size = find(value, "maxRequestBodyBytes")
    if size.raw is not None and size.whole() > 0:
        effect.route["body_size"] = size.whole()
    for key in ("maxResponseBodyBytes", "retryExpression"):
        if find(value, key).raw:
            draft.left(find(value, key).where, f"buffering: {key}", "bodies are streamed")


def _retry(value: Value, effect: Effect, draft: Draft) -> None:
    attempts = find(value, "attempts")
    if attempts.raw is not None:
        effect.route["retries"] = min(max(attempts.whole() - 1, 0), 10)
    unknown(value, draft, "attempts", "initialInterval")


_RATIO: Final = re.compile(
    r"(?:NetworkErrorRatio\(\)|ResponseCodeRatio\(\s*500\s*,\s*600\s*,\s*0\s*,\s*600\s*\))\s*>=?\s*(0?\.\d+|1(?:\.0)?)"
)


def _circuit_breaker(value: Value, effect: Effect, draft: Draft) -> None:
    expression = find(value, "expression")
    found = [_RATIO.fullmatch(part.strip()) for part in text(value, "expression").split("||")]
    ratios = [float(each[1]) for each in found if each is not None]
    if not ratios or len(ratios) < len(found):
        draft.left(expression.where, "circuitBreaker", "a breaker opens by the share of failures alone")
        return
    breaker: dict[str, Any] = {"error_rate": min(ratios)}
    if (opened := seconds(value, "fallbackDuration")) is not None and opened > 0:
        breaker["open_for"] = opened
    effect.service["circuit_breaker"] = breaker
    draft.changed(expression.where, "circuitBreaker", "each instance of the service has its own")


def _compress(value: Value, effect: Effect, draft: Draft) -> None:
    settings: dict[str, Any] = {}
    if encodings := [each for each in texts(value, "encodings") if each in ("zstd", "br", "gzip")]:
        settings["encodings"] = encodings
    size = find(value, "minResponseBodyBytes")
    if size.raw is not None and size.whole() > 0:
        settings["min_size"] = size.whole()
    if types := texts(value, "includedContentTypes"):
        settings["types"] = types
    effect.policies["compress"] = settings or True
    unknown(value, draft, "encodings", "minResponseBodyBytes", "includedContentTypes")


# ---- who may come in


def _forward_auth(value: Value, effect: Effect, draft: Draft) -> None:
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
        draft.changed(find(value, "addAuthCookiesToResponse").where, "addAuthCookiesToResponse", "all cookies")
        forward["response_headers"] = ["Set-Cookie"] if cookies else []
    if authority := text(value, "tls", "ca"):
        forward["ca"] = authority
    effect.policies["auth"] = {"forward": forward}
    if flag(value, "trustForwardHeader"):
        draft.changed(find(value, "trustForwardHeader").where, "trustForwardHeader", _TRUST)
    known = ("address", "authResponseHeaders", "authRequestHeaders", "headerField", "addAuthCookiesToResponse")
    unknown(value, draft, *known, "trustForwardHeader", "maxBodySize", "maxResponseBodySize")


def _basic_auth(value: Value, effect: Effect, draft: Draft) -> None:
    names = [user.partition(":")[0] for user in texts(value, "users")]
    why = "hashes are argon2 here: make them by portico password, and write consumers and auth: {basic: {}}"
    effect.closed = "basicAuth: its passwords are hashed otherwise"
    draft.left(value.where, f"basicAuth: {', '.join(names)}" if names else "basicAuth", why)


_CONVERT: Final[dict[str, Convert]] = {
    "addprefix": _add_prefix,
    "basicauth": _basic_auth,
    "buffering": _buffering,
    "circuitbreaker": _circuit_breaker,
    "compress": _compress,
    "forwardauth": _forward_auth,
    "headers": headers,
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
