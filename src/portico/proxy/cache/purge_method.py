"""The method PURGE, where a route's cache lets clients purge: the last policy, so nothing is purged past the others.

Varnish's configurations and Fastly made it a custom; there is no standard.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.cache import CacheSettings, PurgeSettings
from portico.policies.policy import Policy
from portico.proxy.cache.lookup import address_of
from portico.proxy.cache.purges import Outcome, Purge
from portico.proxy.headers.forwarded import is_in

Purger: TypeAlias = Callable[[Sequence[Purge]], Awaitable[Outcome | None]]
"""Purges in all workers and gateways; None: the others will, once this worker can reach them."""


def lets_purge(policies: Mapping[str, tuple[Any, str]]) -> bool:
    """Whether a route with these settings takes PURGE for itself; other routes forward it as any other method."""
    cache, _ = policies.get("cache", (None, ""))
    return isinstance(cache, CacheSettings) and cache.purge is not False


def purge_policy(settings: PurgeSettings | None, purge: Purger) -> Policy:
    """Answers PURGE of those who may; without settings of every consumer."""

    def policy(exchange: Exchange) -> Answer | Awaitable[Answer] | None:
        if exchange.method != "PURGE":
            return None
        refusal = _refusal(exchange, settings)
        return refusal or _purge(exchange, purge)

    return policy


def _refusal(exchange: Exchange, settings: PurgeSettings | None) -> Refusal | None:
    consumers, networks = (settings.consumers, settings.networks) if settings is not None else (None, None)
    if networks is not None and not is_in(exchange.client_ip, networks):
        return Refusal("purge_refused", "nobody may purge from this address")
    if consumers is not None and exchange.consumer not in consumers:
        return Refusal("purge_refused", "this consumer may not purge")
    if settings is None and exchange.consumer is None and exchange.claims_or_token is None:
        return Refusal("purge_refused", "only who signs in may purge")
    return None


async def _purge(exchange: Exchange, purge: Purger) -> Answer:
    soft = _is_soft(exchange)
    if soft is None:
        return Refusal("malformed_request", "Cache-Purge has another value than hard and soft")
    _, host, target = address_of(exchange)
    try:
        wanted = Purge.of("url", f"//{host.decode('latin-1')}{target.decode('latin-1')}", soft=soft)
    except ValueError as error:
        return Refusal("malformed_request", f"nothing is stored under this URL: {error}")
    outcome = await purge([wanted])
    late = outcome is None or outcome.late > 0
    said = {"purged": wanted.value, "soft": soft, "entries": outcome.entries if outcome is not None else None}
    body = msgspec.json.encode({**said, "everywhere": not late})
    return Answer(202 if late else 200, (b"Content-Type: application/json", b"Cache-Control: no-store"), body)


def _is_soft(exchange: Exchange) -> bool | None:
    """What `Cache-Purge` says, or Fastly's `Fastly-Soft-Purge`, whose value means nothing; None: neither way."""
    assert exchange.request is not None
    fields = exchange.request.fields
    kind = (fields.get(b"cache-purge") or b"").lower()
    if kind not in (b"", b"hard", b"soft"):
        return None
    return kind == b"soft" or (not kind and fields.get(b"fastly-soft-purge") is not None)
