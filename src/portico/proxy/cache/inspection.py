"""What is stored for a URL, and what would become of a request for it: for whoever asks why it is (not) served."""

from __future__ import annotations

import time
from typing import Any, Final

from portico.core.messages import RequestHead
from portico.core.slices import Steps
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.memory import MemoryStore
from portico.proxy.cache.purges import Purge, Purges
from portico.proxy.cache.serving import Use, use_of
from portico.proxy.cache.stored import Resource, Stored

_MOST: Final = 100
"""Keys that are shown."""
_USES: Final = {
    Use.FRESH: (True, "it is fresh"),
    Use.STALE: (True, "it is stale, and the request takes that (max-stale)"),
    Use.REFRESH: (True, "it is stale, and fetched anew meanwhile (stale-while-revalidate)"),
    Use.VALIDATE: (False, "the service is asked first whether it still holds"),
}


def in_memory(memory: MemoryStore, purges: Purges, url: str, request: RequestHead) -> Steps[list[dict[str, Any]]]:
    """What a purge of this URL, in the spelling of `purge_url`, would take, a key each; in slices."""
    named = Purges()
    named.selections = purges.selections
    named.add([Purge("url", url)])
    found: dict[bytes, Resource] = {}

    def note(resource: Resource, stored: Stored) -> bool:
        if len(found) < _MOST and named.verdict(stored, resource, 0):
            found[resource.key] = resource
        return False

    yield from memory.sweep(note, url.partition("?")[0].encode("latin-1"))
    return [each for resource in found.values() if (each := described(resource, "memory", purges, request)) is not None]


def described(resource: Resource, store: str, purges: Purges, request: RequestHead) -> dict[str, Any] | None:
    """A key with its variants, and whether one of them answers a request that shows no credentials; None where nothing
    is left of them.
    """
    asked, now = Asked.of(request), time.monotonic()
    left = [stored for each in resource.variants if (stored := _left(each, resource, purges)) is not None]
    if not left:
        return None
    answers = Resource(resource.key, resource.url, resource.service, left).find(asked, None)
    is_served, why = _USES[use_of(answers, asked, now)] if answers is not None else (False, _why_none(left))
    return {
        "key": resource.key.decode("latin-1"),
        "url": resource.url.decode("latin-1"),
        "service": resource.service,
        "store": store,
        "served": is_served,
        "why": why,
        "variants": [{**_variant(stored, now), "answers": stored is answers} for stored in left],
    }


def _left(stored: Stored, resource: Resource, purges: Purges) -> Stored | None:
    """What purges leave of it; nothing changes by being looked at."""
    verdict = purges.verdict(stored, resource, stored.checked)
    if verdict == "gone":
        return None
    return stored.made_stale(purges.stale_since(stored, resource)) if verdict == "soft" else stored


def _why_none(variants: list[Stored]) -> str:
    if all(not stored.is_shared and stored.asker is not None for stored in variants):
        return "what is stored is for single consumers, and this request shows none"
    return "no variant was stored for such a request: see what they vary on"


def _variant(stored: Stored, now: float) -> dict[str, Any]:
    """One variant; `fresh_for` is negative once it is stale, all times are in seconds."""
    age = now - stored.since
    return {
        "status": stored.head.status,
        "vary": {name.decode("latin-1"): value.decode("latin-1") for name, value in stored.vary},
        "codings": sorted(coding.decode("latin-1") for coding in stored.codings or ()) or None,
        "consumer": "one" if stored.asker is not None and not stored.is_shared else "any",
        "age": round(age, 3),
        "fresh_for": round(stored.lifetime - age, 3),
        "stale_while_revalidate": stored.stale_while_revalidate,
        "stale_if_error": stored.stale_if_error,
        "revalidates": stored.revalidates,
        "etag": stored.etag.decode("latin-1") if stored.etag is not None else None,
        "tags": sorted(tag.decode("latin-1") for tag in stored.tags),
        "body": stored.body.size,
        "size": stored.size,
        "hits": stored.hits,
    }
