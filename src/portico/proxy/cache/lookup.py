"""One request before the cache: what it asks for, and what was found for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from portico.core.exchange import Exchange
from portico.core.messages import as_received
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import Resource, Stored
from portico.proxy.cache.variants import Asking
from portico.proxy.routing.route import Handling

if TYPE_CHECKING:
    from portico.proxy.cache.cache import Cache

# Why the service is asked (RFC 9211, section 2.2).
URI_MISS: Final = "uri-miss"
VARY_MISS: Final = "vary-miss"
STALE: Final = "stale"
BYPASS: Final = "bypass"
REQUEST: Final = "request"
METHOD: Final = "method"

# What the access log and the metrics say came of it.
HIT: Final = "hit"
SERVED_STALE: Final = "stale"
REVALIDATED: Final = "revalidated"
COLLAPSED: Final = "collapsed"
MISS: Final = "miss"
BYPASSED: Final = "bypass"
OUTCOMES: Final = (HIT, SERVED_STALE, REVALIDATED, COLLAPSED, MISS, BYPASSED)


class Failure(NamedTuple):
    """Why a stale response is served in place of another."""

    detail: str
    """One word."""
    status: int | None = None
    """What the service answered, if it did."""


class Lookup:
    """One request, its key, and what is stored under that."""

    __slots__ = (
        "asking",
        "cache",
        "exchange",
        "found",
        "handling",
        "key",
        "loop",
        "place",
        "purged",
        "resource",
        "waits",
        "why",
    )

    def __init__(
        self,
        cache: Cache,
        exchange: Exchange,
        handling: Handling,
        loop: asyncio.AbstractEventLoop,
        asking: Asking,
        key: bytes,
    ) -> None:
        self.cache = cache
        self.exchange = exchange
        self.handling = handling
        self.loop = loop
        self.asking = asking
        self.key = key
        self.place = key
        """Where it is looked for: without parameters that do not matter, by the word of a response for its path."""
        self.resource: Resource | None = None
        self.found: Stored | None = None
        """The variant that answers the request, fresh or not."""
        self.why = URI_MISS
        """Why the service is asked."""
        self.waits = 0
        """How often it has waited for another request's response."""
        self.purged = 0
        """The last purge when it began to wait."""


def address_of(exchange: Exchange) -> tuple[bytes, bytes, bytes]:
    """Scheme, host, path and query under which its client asked."""
    request, client = exchange.request, exchange.stream.client
    assert request is not None
    if not exchange.trusted:
        return b"https" if client.secure else b"http", request.host, request.target
    outer = client.peer.asked_at(request)
    return outer.scheme, outer.host, outer.prefix + request.target


def key_end_of(exchange: Exchange, rules: Rules) -> bytes:
    """What keys have beside that address, and what is selected of the request.

    What the request was made into by rules of `transform`, where its URL does not decide that; and by which host and
    path a trusted proxy asked, where it reports others. Services see both, and proxies pass on what clients report:
    else one could store a page under the URL of another.
    """
    if rules.is_transformed:
        return _transformed(exchange, rules) + _reported(exchange)
    return _reported(exchange)


def _transformed(exchange: Exchange, rules: Rules) -> bytes:
    request = exchange.request
    assert request is not None
    query = exchange.query if rules.query.keeps_all else rules.query.of(exchange.query)
    received = as_received(request).fields.lines
    lines = [line for line in request.fields.lines if line not in received]
    return b"\nas " + b"\n".join((request.method + b" " + exchange.match.target + query, *lines))


def _reported(exchange: Exchange) -> bytes:
    request = exchange.request
    assert request is not None
    if not exchange.trusted:
        return b""
    outer = exchange.stream.client.peer.asked_at(request)
    if not outer.prefix and outer.host == request.host:
        return b""
    return b"\nby %b %b" % (request.host, outer.prefix)
