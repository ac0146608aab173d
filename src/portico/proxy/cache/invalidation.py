"""What a change makes invalid (RFC 9111, section 4.4; RFC 9875)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from portico.core.messages import ResponseHead
from portico.proxy.cache.keys import url_of
from portico.proxy.cache.structured import strings_of

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"})
"""Methods that change nothing (RFC 9110, section 9.2.1, and the registry of methods)."""


class Invalidated(NamedTuple):
    """What is not to be served any more without asking: URLs as in `keys.url_of`, and groups of an origin."""

    urls: tuple[bytes, ...] = ()
    origin: bytes = b""
    """`https://host`: of this origin are the groups."""
    groups: tuple[bytes, ...] = ()


NOTHING: Final = Invalidated()


def invalidated_by(
    method: bytes,
    scheme: bytes,
    host: bytes,
    target: bytes,
    head: ResponseHead,
    locations: Sequence[bytes] | None = None,
) -> Invalidated:
    """What the response to a request for `target` (path and query as sent) makes invalid; safe methods nothing.

    Those are the target itself and, of the same origin, what Location and Content-Location name; `locations` are their
    values as clients get them, where these are rewritten. Only a success counts, but for the groups that a response
    names: it says so itself.
    """
    if method in SAFE:
        return NOTHING
    groups = tuple(group.encode() for group in strings_of(head.fields.all(b"cache-group-invalidation")))
    origin = url_of(scheme, host, b"")
    if not 200 <= head.status < 400:
        return Invalidated((), origin, groups) if groups else NOTHING
    if locations is None:
        locations = [*head.fields.all(b"location"), *head.fields.all(b"content-location")]
    url = url_of(scheme, host, target)
    named = (_same_origin(url, origin, location) for location in locations)
    return Invalidated(tuple(dict.fromkeys((url, *(each for each in named if each)))), origin, groups)


def _same_origin(url: bytes, origin: bytes, reference: bytes) -> bytes:
    """The URL to which a reference in a response to `url` leads; empty where it is of another origin, or none."""
    try:
        parts = urlsplit(urljoin(url.decode("ascii"), reference.decode("ascii")))
    except ValueError:
        return b""
    host = parts.netloc.rpartition("@")[2].encode()
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    named = url_of(parts.scheme.lower().encode(), host, target.encode())
    return named if url_of(parts.scheme.lower().encode(), host, b"") == origin else b""
