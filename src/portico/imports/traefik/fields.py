"""Traefik's `headers`: fields of requests and responses, what browsers are told, and other people's pages."""

from __future__ import annotations

import re
from typing import Any, Final

from portico.imports.draft import Draft
from portico.imports.located import Value
from portico.imports.policies import merged
from portico.imports.traefik.effect import Effect, unknown
from portico.imports.traefik.source import find, flag, text, texts


def _field_value(written: str) -> str:
    return written.replace("{", "{{").replace("}", "}}")


def headers(value: Value, effect: Effect, draft: Draft) -> None:
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
    _cors(value, effect, draft)
    for key in ("sslRedirect", "sslTemporaryRedirect"):
        if flag(value, key):
            where = find(value, key).where
            draft.changed(where, key, "gateway.tls.redirect_from sends clients to HTTPS")
    hosts = texts(value, "allowedHosts")
    if hosts:
        known = effect.route.get("hosts", hosts)
        effect.route["hosts"] = [host for host in hosts if host in known]
        draft.changed(find(value, "allowedHosts").where, "allowedHosts", "other hosts get 404")
    unknown(value, draft, *_HEADER_KEYS)


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


def _cors(value: Value, effect: Effect, draft: Draft) -> None:
    origins = texts(value, "accessControlAllowOriginList")
    for pattern in texts(value, "accessControlAllowOriginListRegex"):
        if below := _ORIGIN_BELOW.fullmatch(pattern):
            origins.append(f"{below[1]}://*.{below[2].replace(chr(92), '')}")
        else:
            where = find(value, "accessControlAllowOriginListRegex").where
            why = "origins are named, or https://*.example.com; this one is not allowed"
            draft.left(where, f"accessControlAllowOriginListRegex: {pattern}", why)
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
