"""What this worker's cache has for a URL, for the admin API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from portico.core.errors import Answer, MessageError
from portico.core.exchange import RouteMatch
from portico.core.fields import PASSES, REQUEST_DROP
from portico.core.messages import RequestHead
from portico.core.slices import in_slices
from portico.processes.ipc import channel
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.cache import Cache
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.inspection import described, in_memory
from portico.proxy.cache.keys import primary_key
from portico.proxy.cache.redis_cache import RedisCache
from portico.proxy.cache.stored import Resource
from portico.proxy.routing.matcher import Matcher
from portico.wire.http1.grammar import parse_request_head

_NO_LIMIT = 1 << 20
_ANY_HOST = "localhost"
"""The host of a request for a URL that names none."""


async def inspected(wanted: channel.Inspect, matchers: Sequence[Matcher], caches: Caches) -> dict[str, Any]:
    """`notes` are sentences, `keys` what is stored: see `inspection.described`."""
    try:
        request = _request(wanted)
        match = _match(request, matchers)
    except MessageError as error:
        return {"notes": [f"no client can send this request: {error.detail}"], "keys": []}
    notes = [*_notes(match, request)]
    keys = await in_slices(in_memory(caches.memory, caches.purges, wanted.url, request))
    shared = [cache for cache in _caches_of(match) if isinstance(cache, RedisCache)]
    if shared:
        scheme = wanted.url.partition(":")[0]
        if scheme not in ("http", "https"):
            notes.append("what is in Redis is shown for a URL with its scheme and host")
        elif not shared[0].redis.is_up:
            notes.append("Redis does not answer")
        else:
            keys += [key for cache in shared for key in await _in_redis(cache, scheme.encode(), request)]
    return {"notes": notes, "keys": keys}


def _match(request: RequestHead, matchers: Sequence[Matcher]) -> RouteMatch | Answer:
    """The match at the first listener with a route for a request. Raises MessageError."""
    found = [matcher.find(request, request.target.partition(b"?")[0]) for matcher in matchers]
    return next((match for match in found if not isinstance(match, Answer)), found[0])


async def _in_redis(cache: RedisCache, scheme: bytes, request: RequestHead) -> list[dict[str, Any]]:
    asked = Asked.of(request)
    key = primary_key(cache.rules, scheme, request.host, request.target, asked)
    found: asyncio.Future[Resource | None] = asyncio.get_running_loop().create_future()
    cache.redis.look_up(key, asked, None, lambda resource, _: found.set_result(resource))
    resource = await found
    shown = described(resource, "redis", cache.purges, request) if resource is not None else None
    return [shown] if shown is not None else []


def _notes(match: RouteMatch | Answer, request: RequestHead) -> Iterator[str]:
    """Why nothing is stored, where that is seen from the route."""
    if isinstance(match, Answer) or match.route is None:
        yield "no route takes such a request"
        return
    caches = _caches_of(match)
    if not caches:
        yield f"{match.route.name} has no cache"
    elif request.method not in caches[0].rules.methods:
        yield f"the cache of {match.route.name} stores no response to {request.method_name}"


def _caches_of(match: RouteMatch | Answer) -> list[Cache]:
    """The caches that may answer such requests: each version has its own, and each side of a split."""
    if isinstance(match, Answer):
        return []
    matches = [match, *match.sides, *(match.versions.matches.values() if match.versions is not None else ())]
    forwards = (each.handling.forward for each in matches if each.handling is not None)
    owners = dict.fromkeys(getattr(forward, "__self__", None) for forward in forwards)
    return [owner for owner in owners if isinstance(owner, Cache)]


def _request(wanted: channel.Inspect) -> RequestHead:
    """The request. Raises MessageError."""
    rest = wanted.url.partition("//")[2] if not wanted.url.startswith("/") or wanted.url.startswith("//") else ""
    host, slash, path = rest.partition("/") if rest else (_ANY_HOST, "/", wanted.url[1:])
    lines = [line for line in wanted.lines if not line.lower().startswith("host:")]
    block = "\r\n".join([f"Host: {host}", *lines]).encode("latin-1")
    line = f"{wanted.method} {slash}{path} HTTP/1.1".encode("latin-1")
    return parse_request_head(line, block, _NO_LIMIT, _NO_LIMIT, REQUEST_DROP, passes=PASSES)
