"""May a response be stored, and as what (RFC 9111, section 3)?"""

from __future__ import annotations

from typing import Final, NamedTuple

from portico.core.messages import Fields, ResponseHead
from portico.proxy.cache.asked import Asked, says_incremental
from portico.proxy.cache.dates import format_date
from portico.proxy.cache.directives import Directives, response_directives
from portico.proxy.cache.freshness import HEURISTIC_STATUSES, Arrival, Lifetime, date_of, initial_age, lifetime_of
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import Stored, derived_head
from portico.proxy.cache.structured import strings_of
from portico.proxy.cache.variants import Asking, Variance, variance_of

UNDERSTOOD: Final = frozenset(
    {
        *(200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408),
        *(409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505),
    }
)
"""Statuses whose caching requirements are known here: for `must-understand` (section 5.2.2.3)."""
PARTIAL: Final = frozenset({206, 304})
"""Statuses of a part of a response, or of none (section 3)."""
_OF_CONDITIONS: Final = frozenset({400, 412, 416})
"""Statuses that refuse a request for its conditions or its range: they are for none that has others."""
_NOT_STORED: Final = frozenset(
    {b"age", b"server-timing", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization"}
)
"""Fields about one transfer, or one hop (section 3.1)."""
_MOST_TAGS: Final = 256
_EVENT_STREAM: Final = b"text/event-stream"


class Decision(NamedTuple):
    """What becomes of a response: stored without its body yet, or why not."""

    stored: Stored | None
    reason: str = ""
    """One word for `Cache-Status` (detail): no-store, private, set-cookie, vary, …; empty where it is stored."""
    is_general: bool = False
    """Whether all other requests for that URL are likely to be refused too: nobody should wait for such a response."""


def decide(rules: Rules, asking: Asking, head: ResponseHead, arrival: Arrival) -> Decision:
    """Decide about a service's response to a request, all at once, so that nothing is left to decide on a hit."""
    if asking.asked.directives.no_store:  # section 5.2.1.5
        return Decision(None, "request-no-store")
    if asking.method not in rules.methods or asking.method == b"HEAD":
        return Decision(None, "method")
    directives = response_directives(head.fields, rules.targets)
    reason = _refusal_of(rules, asking, head, directives)
    if reason:
        is_of_request = head.status in PARTIAL or _refuses_conditions(asking.asked, head)
        return Decision(None, reason, is_general=not is_of_request and head.status < 500)
    variance = variance_of(rules, asking, head)
    if variance is None:
        return Decision(None, "vary", is_general=True)
    if _is_apart(asking, directives, variance) and not (rules.stores_apart and asking.consumer):
        return Decision(None, "credentials")
    date = date_of(head, arrival.wall)
    lifetime = lifetime_of(rules, head, directives, date)
    stored = stored_of(rules, asking, head, arrival, directives, variance, lifetime, date)
    if not _is_useful(stored, arrival.now):
        return Decision(None, "stale" if lifetime.seconds else "no-freshness", is_general=True)
    return Decision(stored)


def _refusal_of(rules: Rules, asking: Asking, head: ResponseHead, directives: Directives) -> str:
    """Why nobody's response like this is stored; empty where it may be."""
    status = head.status
    if status < 200 or status in PARTIAL or (rules.statuses is not None and status not in rules.statuses):
        return "status"
    if _refuses_conditions(asking.asked, head):
        return "status"
    if directives.must_understand and status not in UNDERSTOOD:
        return "must-understand"
    if directives.no_store and not directives.must_understand:
        return "no-store"
    if directives.private:
        return "private"
    if asking.asked.is_incremental or says_incremental(head.fields):
        return "incremental"
    if _sets_cookies(head, directives) and not (directives.public or directives.s_maxage is not None):
        return "set-cookie"
    if not _is_cacheable(rules, head, directives):
        return "status"
    return "stream" if _is_endless(head, directives) else ""


def _refuses_conditions(asked: Asked, head: ResponseHead) -> bool:
    return head.status in _OF_CONDITIONS and asked.is_conditional


def _sets_cookies(head: ResponseHead, directives: Directives) -> bool:
    """Whether it has a cookie for the client that would be stored with it."""
    return b"set-cookie" in head.fields.names and b"set-cookie" not in _excluded(directives)


def _is_cacheable(rules: Rules, head: ResponseHead, directives: Directives) -> bool:
    """Whether something allows that it is stored: its own word, its status, or the settings (section 3, last item)."""
    return (
        head.status in HEURISTIC_STATUSES
        or _is_explicit(head, directives)
        or (rules.ttl is not None and head.status in rules.ttl_statuses)
    )


def _is_explicit(head: ResponseHead, directives: Directives) -> bool:
    has_seconds = directives.max_age is not None or directives.s_maxage is not None
    return directives.public or has_seconds or (b"expires" in head.fields.names and not directives.is_targeted)


def _is_endless(head: ResponseHead, directives: Directives) -> bool:
    """Whether it is a stream of events, of which nobody said that it ends and can be stored."""
    if b"content-type" not in head.fields.names or _is_explicit(head, directives):
        return False
    return (head.fields.get(b"content-type") or b"").lower().startswith(_EVENT_STREAM)


def _is_apart(asking: Asking, directives: Directives, variance: Variance) -> bool:
    """Whether it is for none but who asked, with credentials (section 3.5)."""
    return asking.asker is not None and not _is_for_all(directives, variance)


def _is_for_all(directives: Directives, variance: Variance) -> bool:
    is_allowed = directives.public or directives.s_maxage is not None or directives.must_revalidate
    return is_allowed and not variance.is_apart


def _excluded(directives: Directives) -> frozenset[bytes]:
    """Fields that are not for others: those that `private` and `no-cache` name (sections 5.2.2.4 and 5.2.2.7)."""
    return directives.private_fields | directives.no_cache_fields


def stored_of(
    rules: Rules,
    asking: Asking,
    head: ResponseHead,
    arrival: Arrival,
    directives: Directives,
    variance: Variance,
    lifetime: Lifetime,
    date: float,
) -> Stored:
    """The response as it is stored, without its body; whether it may be is decided."""
    revalidates = (
        directives.must_revalidate
        or directives.proxy_revalidate
        or directives.s_maxage is not None
        or directives.no_cache
    )
    fields = head.fields
    is_shared = _is_for_all(directives, variance)
    languages = fields.tokens(b"content-language") if b"content-language" in fields.names else ()
    return Stored(
        head=stored_head(head, _excluded(directives), arrival.wall),
        since=arrival.now - initial_age(head, date, arrival),
        lifetime=lifetime.seconds,
        stale_while_revalidate=_allowance(revalidates, directives.stale_while_revalidate, rules.stale_while_revalidate),
        stale_if_error=_allowance(revalidates, directives.stale_if_error, rules.stale_if_error),
        is_immutable=directives.immutable,
        revalidates=revalidates,
        is_shared=is_shared,
        asker=None if is_shared else asking.asker,
        vary=variance.vary,
        codings=variance.codings,
        coding=_coding(fields) if b"content-encoding" in fields.names else _IDENTITY,
        language=languages[0] if len(languages) == 1 else None,
        date=date,
        etag=fields.get(b"etag") or None,
        last_modified=fields.get(b"last-modified") or None,
        tags=_tags(head),
        born=arrival.wall - arrival.delay,
    )


def _coding(fields: Fields) -> frozenset[bytes]:
    return frozenset(fields.tokens(b"content-encoding")) - _IDENTITY or _IDENTITY


def _allowance(revalidates: bool, said: int | None, configured: float) -> float:
    """For how long it may be served stale: by its own word, else by the settings (RFC 5861; RFC 9111, 4.2.4)."""
    return 0.0 if revalidates else configured if said is None else float(said)


def stored_head(head: ResponseHead, excluded: frozenset[bytes], wall: float) -> ResponseHead:
    """What of a head is stored (section 3.1), with a Date (RFC 9110, section 6.6.1)."""
    lines = () if b"date" in head.fields.names else (b"Date: " + format_date(wall),)
    return derived_head(head, without=_NOT_STORED | excluded, lines=lines)


def _tags(head: ResponseHead) -> frozenset[bytes]:
    """What it may be purged by: Cache-Tag, Surrogate-Key, and Cache-Groups (RFC 9875, section 2)."""
    fields = head.fields
    if _TAG_FIELDS.isdisjoint(fields.names):
        return _NO_TAGS
    tags = [*(fields.get(b"cache-tag") or b"").split(b","), *(fields.get(b"surrogate-key") or b"").split()]
    found = [b"tag:" + tag for each in tags if (tag := each.strip())]
    found += [b"group:" + group.encode() for group in strings_of(fields.all(b"cache-groups"))]
    return frozenset(found[:_MOST_TAGS])


def _is_useful(stored: Stored, now: float) -> bool:
    """Whether it can serve any request: fresh for a while, by validation, or stale."""
    lasts = stored.lifetime + max(stored.stale_while_revalidate, stored.stale_if_error)
    return now - stored.since < lasts or stored.etag is not None or stored.last_modified is not None


_TAG_FIELDS: Final = frozenset({b"cache-tag", b"surrogate-key", b"cache-groups"})
_NO_TAGS: Final[frozenset[bytes]] = frozenset()
_IDENTITY: Final = frozenset({b"identity"})
