"""Validation: what is asked of a service about stored responses, what its reply changes, and a client's own conditions
(RFC 9111, section 4.3; RFC 9110, section 13).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Final

from portico.core.fields import RESPONSE_DROP
from portico.core.messages import ResponseHead
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.dates import parse_date
from portico.proxy.cache.freshness import Arrival
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import Stored, derived_head, joined
from portico.proxy.cache.storing import Decision, decide, stored_head
from portico.proxy.cache.variants import Asking

CONDITIONS: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
"""The client's fields that are not sent with a request that validates or fetches for the cache."""


def validating_lines(variants: Sequence[Stored]) -> list[bytes]:
    """The field lines that ask whether one of these still holds (section 4.3.1); none where they have no validator."""
    tags = list(dict.fromkeys(stored.etag for stored in variants if stored.etag is not None))
    lines = [b"If-None-Match: " + b", ".join(tags)] if tags else []
    if len(variants) == 1 and variants[0].last_modified is not None:
        lines.append(b"If-Modified-Since: " + variants[0].last_modified)
    return lines


def chosen_by(variants: Sequence[Stored], reply: ResponseHead) -> Stored | None:
    """The one of those that were asked about, the most recent first, that a 304 says holds (section 4.3.4).

    None where it cannot be told. A 304 that names no validator, as many services send it, is about the one that was
    asked about, where that was one alone.
    """
    etag, modified = reply.fields.get(b"etag"), reply.fields.get(b"last-modified")
    if etag is not None:
        is_same = _is_same_strongly if _is_strong(etag) else _is_same
        return next((each for each in variants if each.etag is not None and is_same(each.etag, etag)), None)
    if modified is not None:
        return next((each for each in variants if each.last_modified == modified), None)
    return variants[0] if len(variants) == 1 else None


def refreshed(rules: Rules, asking: Asking, stored: Stored, reply: ResponseHead, arrival: Arrival) -> Decision:
    """What a 304 makes of a stored response (section 4.3.4): its fields are updated, all else is decided anew.

    Where it may not be stored any more, the decision has a `reason`, and all the same what the request gets that waits
    for it: then it is to be removed from the store.
    """
    head = updated_head(stored.head, reply)
    decision = decide(rules, asking._replace(method=b"GET") if asking.method == b"HEAD" else asking, head, arrival)
    new = decision.stored
    if new is None:
        waiting = replace(stored, head=stored_head(head, frozenset(), arrival.wall), since=arrival.now, memo=None)
        return decision._replace(stored=waiting.with_body(stored.body))
    if new.codings is not None and stored.codings is not None:
        new = replace(new, codings=joined(new.codings, stored.codings))
    return Decision(new.with_body(stored.body))


def after_head(rules: Rules, asking: Asking, stored: Stored, reply: ResponseHead, arrival: Arrival) -> Stored | None:
    """What a response to HEAD makes of a stored one to GET (section 4.3.5): updated, or None where it does not hold."""
    if reply.status != 200 or stored.head.status != 200:
        return stored
    for name, value in ((b"etag", stored.etag), (b"last-modified", stored.last_modified)):
        if name in reply.fields.names and reply.fields.get(name) != value:
            return None
    length = reply.fields.get(b"content-length")
    if length is not None and length != b"%d" % stored.body.size:
        return None
    decision = refreshed(rules, asking, stored, reply, arrival)
    return None if decision.reason else decision.stored


def updated_head(head: ResponseHead, reply: ResponseHead) -> ResponseHead:
    """A stored head with the fields of a 304 or of a response to HEAD in place of its own (section 3.2).

    Those that are about the body stay as they are: it is the one that was stored.
    """
    drops = RESPONSE_DROP.union(reply.hop_by_hop, _OF_THE_BODY)
    lines = reply.fields.without(drops)
    replaced = {line.partition(b":")[0].lower() for line in lines}
    if b"date" not in replaced:
        replaced.add(b"date")  # it would be that of the first response
    return derived_head(head, without=replaced, lines=lines)


class Precondition(IntEnum):
    """What a request's own conditions come to, for a stored response that may be served."""

    SEND = 0
    NOT_MODIFIED = 1
    """304, without content."""
    FORWARD = 2
    """The service has to decide: the condition is about a state that only it knows (section 4.3.2)."""


def precondition(stored: Stored, asked: Asked) -> Precondition:
    """Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since (RFC 9110, section 13.2).

    The first two protect changes of what a service has: one that does not hold for what is stored may hold there.
    """
    if asked.is_plain:
        return Precondition.SEND
    if not _may_go_on(stored, asked):
        return Precondition.FORWARD
    if not 200 <= stored.head.status < 300:
        return Precondition.SEND
    if asked.if_none_match is not None:
        is_known = _is_among(stored.etag, asked.if_none_match, _is_same)
    else:
        is_known = asked.if_modified_since is not None and _is_unmodified(stored, asked.if_modified_since)
    return Precondition.NOT_MODIFIED if is_known else Precondition.SEND


def _may_go_on(stored: Stored, asked: Asked) -> bool:
    if asked.if_match is not None:
        return _is_among(stored.etag, asked.if_match, _is_same_strongly)
    if asked.if_unmodified_since is None or parse_date(asked.if_unmodified_since) is None:
        return True
    return stored.last_modified is not None and _is_unmodified(stored, asked.if_unmodified_since)


def _is_unmodified(stored: Stored, since: bytes) -> bool:
    """Whether it has not changed after a date; its own Date counts where it does not say when it changed (4.3.2)."""
    date = parse_date(since)
    modified = parse_date(stored.last_modified) if stored.last_modified is not None else stored.date
    return date is not None and modified is not None and int(modified) <= date


def _is_among(etag: bytes | None, listed: bytes, is_same: Callable[[bytes, bytes], bool]) -> bool:
    if listed.strip() == b"*":
        return True
    return etag is not None and any(is_same(etag, other) for other in _ENTITY_TAG.findall(listed))


def _is_strong(etag: bytes) -> bool:
    return not etag.startswith(b"W/")


def _is_same(one: bytes, other: bytes) -> bool:
    """Weak comparison (RFC 9110, section 8.8.3.2)."""
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def _is_same_strongly(one: bytes, other: bytes) -> bool:
    return one == other and _is_strong(one)


def is_same_representation(stored: Stored, if_range: bytes) -> bool:
    """Whether If-Range holds: by a strong tag, or by a date that tells all changes (RFC 9110, section 13.1.5)."""
    if if_range.startswith((b'"', b"W/")):
        return stored.etag is not None and _is_same_strongly(stored.etag, if_range)
    if stored.last_modified is None or if_range != stored.last_modified:
        return False
    modified = parse_date(stored.last_modified)
    return modified is not None and stored.date - modified >= 1  # section 8.8.2.2


def not_modified_head(stored: Stored) -> ResponseHead:
    """The head of a 304 for a stored response (RFC 9110, section 15.4.5)."""
    return derived_head(stored.head, status=304, without=REPRESENTATION, framing=0)


REPRESENTATION: Final = frozenset(
    {
        *(b"content-type", b"content-encoding", b"content-language", b"content-length", b"content-range"),
        *(b"content-md5", b"content-digest", b"repr-digest", b"digest"),
    }
)
"""Fields that describe content, for responses that have none of it."""
_OF_THE_BODY: Final = frozenset({b"content-length", b"content-encoding", b"content-range", b"age", b"server-timing"})
"""Fields of a 304 that change nothing of what is stored: of its body, or of one transfer."""
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[^"]*"|[^\s,"]+')
