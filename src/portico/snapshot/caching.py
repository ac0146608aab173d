"""A route's `cache` policy, compiled: which of its responses are the same, and what tells them from other routes'."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from portico.config import ResolvedRoute
from portico.policies.cache import CacheSettings
from portico.policies.headers import HeadersSettings, RequestChanges, request_changes
from portico.policies.transform import TransformSettings, depends_on_more
from portico.proxy.cache.cache import Cache
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.query import QuerySelection
from portico.proxy.cache.redis_cache import RedisCache
from portico.proxy.cache.rules import Rules
from portico.proxy.forward import Forwarding
from portico.snapshot.split import number_cookie_of

_FOR_CLIENTS: Final = frozenset({"compress", "cors", "rate_limit", "rewrite_location", "rewrite_cookies"})
"""Policies that change nothing of what a service is asked or of what is stored."""


def cache_scope(written: ResolvedRoute) -> bytes:
    """What tells the stored responses of a route from those of others, and of the same one before it was changed.

    It names the service, and a digest of all on which a stored response depends: the same configuration finds what it
    has stored again, in another snapshot, worker or gateway.
    """
    said = [written.path, written.rewrite, str(written.version), str(written.preserve_host)]
    for name, (settings, _) in sorted(written.policies.items()):
        if name not in _FOR_CLIENTS:
            said += [name, _text_of(settings)]
    if (cookie := _number_cookie(written)) is not None:
        said += ["number cookie", cookie.decode()]
    digest = blake2b(repr(said).encode(), digest_size=6).hexdigest()
    return f"{written.service}.{digest}".encode()


def _text_of(settings: object) -> str:
    if isinstance(settings, HeadersSettings):
        return repr(settings.request)
    if isinstance(settings, TransformSettings):
        return repr((settings.request, settings.max_body, settings.otherwise))
    return "on" if not isinstance(settings, CacheSettings) else repr(settings)


def cache_of(
    caches: Caches, written: ResolvedRoute, scope: bytes, kind: type[Forwarding], *, traces: bool = False
) -> Cache:
    """The cache of a route whose responses `kind` forwards."""
    settings, _ = written.policies["cache"]
    headers, _ = written.policies.get("headers", (None, ""))
    changes = request_changes(headers) if headers is not None else None
    transform, _ = written.policies.get("transform", (None, ""))
    is_transformed = transform is not None and depends_on_more(transform)
    rules = Rules.of(
        settings,
        scope,
        str(written.service),
        _names(changes),
        number_cookie=_number_cookie(written),
        is_transformed=is_transformed,
    )
    lines = changes.lines if changes and not changes.lines.is_fixed else None
    if settings.store == "redis" and caches.redis is not None:
        return RedisCache(caches, rules, kind, lines, caches.redis, mirrors=bool(written.mirrors), traces=traces)
    return Cache(caches, rules, kind, lines, mirrors=bool(written.mirrors), traces=traces)


def query_selections(routes: Iterable[ResolvedRoute]) -> dict[bytes, QuerySelection]:
    """What belongs to keys of a query, by the scope of those routes where not all of it does: purges have to know."""
    caches = ((route, route.policies["cache"][0].key.query) for route in routes if "cache" in route.policies)
    return {cache_scope(route): QuerySelection.written(query) for route, query in caches if query != "all"}


def _number_cookie(written: ResolvedRoute) -> bytes | None:
    cookie = number_cookie_of(written)
    return None if cookie is None else cookie.name.encode()


def _names(changes: RequestChanges | None) -> frozenset[bytes]:
    """The fields that are not the client's own any more."""
    return changes.names if changes is not None else frozenset()
