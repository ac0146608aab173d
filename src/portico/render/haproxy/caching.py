"""HAProxy's small cache: responses to GET with 200 that say for how long they are fresh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.policies.cache import CacheSettings
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import section
from portico.render.policies import policy_path

_MEGABYTE: Final = 1 << 20
_TOTAL: Final = 64
"""Megabytes of a cache."""
_LONGEST: Final = 31_536_000
_FRESH: Final = r"{ res.fhdr(Cache-Control) -m reg -i (?:^|[\s,])(?:s-maxage|max-age)=\d }"
_PLAIN: Final = "!{ req.fhdr(Cookie) -m found } !{ req.fhdr(Authorization) -m found } { method GET }"


def caching(names: Names, route: ResolvedRoute, *, is_guarded: bool) -> Iterator[str]:
    """The lines about the cache of a route, behind all that may refuse a request.

    HAProxy's key is Host and URL alone: what depends on more is not stored.
    """
    if "cache" not in route.policies:
        return
    settings, scope = route.policies["cache"]
    at = policy_path(route, scope, "cache")
    why = _why_not(settings, is_guarded=is_guarded)
    if why:
        names.losses.add(at, f"{why}: nothing is stored")
        return
    largest = min(settings.max_object, _TOTAL * _MEGABYTE // 2)
    cache, is_new = names.once(("cache", settings.max_object), "responses")
    if is_new:
        lines = [f"total-max-size {_TOTAL}", f"max-object-size {largest}", f"max-age {_LONGEST}", "process-vary on"]
        names.tables[cache] = section(f"cache {cache}", lines)
    yield f"http-request cache-use {cache} if {_PLAIN}"
    yield f"http-request set-var(txn.storable) bool(true) if {_PLAIN}"
    own = "".join(f" !{{ res.fhdr({name}) -m found }}" for name in settings.targets)
    if settings.ttl:
        silent = "!{ res.fhdr(Cache-Control) -m found } !{ res.fhdr(Expires) -m found }"
        # The lifetime is written for the cache, and taken off again what clients get.
        yield f"http-response set-header Cache-Control 'max-age={int(settings.ttl)}, portico' if {silent}"
        yield "http-after-response del-header Cache-Control if { res.fhdr(Cache-Control) -m end ', portico' }"
    yield f"http-response cache-store {cache} if {{ var(txn.storable) -m found }} {_FRESH}{own}"


def _why_not(settings: CacheSettings, *, is_guarded: bool) -> str:
    if is_guarded:
        return "HAProxy's cache does not tell consumers apart"
    if settings.key.headers:
        return "HAProxy's cache does not tell requests apart by their fields"
    if "GET" not in settings.methods:
        return "HAProxy's cache stores responses to GET alone"
    if settings.statuses is not None and 200 not in settings.statuses:
        return "HAProxy's cache stores responses with 200 alone"
    return ""
