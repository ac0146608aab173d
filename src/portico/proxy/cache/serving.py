"""May a stored response be served (RFC 9111, section 4; RFC 5861)?"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from portico.core.messages import RequestHead
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import Stored

ERRORS: Final = frozenset({500, 502, 503, 504})
"""Statuses in whose place a stale response may be served (RFC 5861, section 4)."""


class Use(IntEnum):
    """What is done with the stored response that was found."""

    FRESH = 0
    """It is served."""
    STALE = 1
    """It is served although it is stale, since the client allows that (max-stale)."""
    REFRESH = 2
    """It is served although it is stale, and fetched anew in the background (stale-while-revalidate)."""
    VALIDATE = 3
    """The service is asked first whether it still holds."""


def takes_part(rules: Rules, request: RequestHead) -> bool:
    """Whether a request is one for the cache at all: its method is, and nothing is in it that no key has.

    A GET with content would be answered by that content, and its response given to those who sent none.
    """
    if request.method not in rules.methods or b"upgrade" in request.noted:
        return False
    return request.framing == 0 or request.method == b"QUERY"


def use_of(stored: Stored, asked: Asked, now: float) -> Use:
    """How a stored response may be used for a request that it answers, at the monotonic `now`.

    A caller may take the shortest way itself: `asked.is_plain and now - stored.since < stored.lifetime` is FRESH.
    """
    age = now - stored.since
    if asked.is_plain:
        if age < stored.lifetime:
            return Use.FRESH
        is_refreshing = age < stored.lifetime + stored.stale_while_revalidate
        return Use.REFRESH if is_refreshing and not stored.revalidates else Use.VALIDATE
    if not _is_wanted(stored, asked, age):
        return Use.VALIDATE
    if age < stored.lifetime:
        return Use.FRESH
    if stored.revalidates:
        return Use.VALIDATE
    said = asked.directives
    if age < stored.lifetime + stored.stale_while_revalidate and (said.max_age is None or said.max_stale is not None):
        return Use.REFRESH
    is_accepted = said.max_stale is not None and age - stored.lifetime <= said.max_stale
    return Use.STALE if is_accepted else Use.VALIDATE


def _is_wanted(stored: Stored, asked: Asked, age: float) -> bool:
    """Whether a response of that age is what the request's directives prefer (section 5.2.1).

    An immutable one is not validated for a mere reload, while it is fresh (RFC 8246, section 2).
    """
    said = asked.directives
    if said.no_cache:
        return False
    if said.max_age is not None and age > said.max_age and not (stored.is_immutable and age < stored.lifetime):
        return False
    return said.min_fresh is None or stored.lifetime - age >= said.min_fresh


def may_store(asked: Asked) -> bool:
    """Whether a request lets its response be stored: it has no `no-store` (section 5.2.1.5)."""
    return not asked.directives.no_store


def may_replace_error(stored: Stored, asked: Asked, now: float) -> bool:
    """Whether a stored response may take the place of one of the `ERRORS`, the gateway's own too (RFC 5861, section 4).

    The client may allow it as well as the service, and neither may where it is to be validated in any case.
    """
    age = now - stored.since
    if asked.directives.no_cache:
        return False
    if age < stored.lifetime:
        return True
    allowed = max(stored.stale_if_error, asked.directives.stale_if_error or 0)
    return not stored.revalidates and age < stored.lifetime + allowed


def may_follow(stored: Stored, asked: Asked, asker: bytes | None, now: float) -> bool:
    """Whether another request, which waited for it, may have a response that is still arriving (section 4)."""
    return stored.matches(asked, asker) and use_of(stored, asked, now) is Use.FRESH


def is_hopeless(asked: Asked) -> bool:
    """Whether a request wants nothing that is not stored, and is answered 504 without it (`only-if-cached`)."""
    return asked.directives.only_if_cached
