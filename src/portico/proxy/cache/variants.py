"""Which requests a stored response answers: what it varies on, and who may have it (RFC 9111, sections 3.5 and 4.1)."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

from portico.core.fields import OWN_FAMILY, is_owned, is_reported
from portico.core.messages import ResponseHead
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.keys import key_part
from portico.proxy.cache.rules import Rules

_IN_EVERY_KEY: Final = frozenset({b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"})
"""Fields that the gateway writes from what is in the key."""
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def asker_of(
    rules: Rules,
    asked: Asked,
    told: tuple[bytes, ...] = (),
    *,
    consumer: str | None = None,
    is_authenticated: bool = False,
) -> bytes | None:
    """Who asks, as far as a service can tell: None for a request without credentials, else a digest of them all.

    Credentials are a `consumer` or the claims that the route's `auth` found (`is_authenticated`), `Authorization`, and
    cookies, unless the key names every one of them. `told` are the field lines that a service gets about this very
    request from the gateway's policies, and the names, alone, of fields that they remove for it; where users' policies
    edit them, it counts as authenticated.
    """
    if consumer is None and not is_authenticated and asked.authorization is None:
        if asked.cookie is None:
            return None
        key_part(rules, asked)
        if asked.names_cookies:
            return None
    who = (rules, told, consumer)
    if asked.asker_for != who:
        asked.asker, asked.asker_for = _digest(asked, told, consumer), who
    return asked.asker


def _digest(asked: Asked, told: tuple[bytes, ...], consumer: str | None) -> bytes:
    digest = blake2b(digest_size=16)
    for part in ((consumer or "").encode(), asked.authorization or b"", asked.cookie or b"", *told):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


class Asking(NamedTuple):
    """One request, as far as it matters to whom its response may be given."""

    asked: Asked
    method: bytes = b"GET"
    asker: bytes | None = None
    """That of `asker_of`."""
    consumer: str | None = None
    """The consumer's name, if it has one: then what it gets may be stored for it alone."""
    told: tuple[bytes, ...] = ()
    """As `asker_of` had it."""


class Variance(NamedTuple):
    """On what a response varies: see the attributes of `Stored` with these names."""

    vary: tuple[tuple[bytes, bytes], ...] = ()
    codings: frozenset[bytes] | None = None
    is_apart: bool = False
    """Whether it varies on what the gateway says of the asker: then it is nobody else's."""


_ON_NOTHING: Final = Variance()


def variance_of(rules: Rules, asking: Asking, head: ResponseHead) -> Variance | None:
    """On what a response to such a request varies; None where no other request can be known to get the same.

    A field that the gateway writes is compared by what it is made of: the key, or the asker. What else it writes (the
    client's address, ids) is another for every request.
    """
    if b"vary" not in head.fields.names:
        return _ON_NOTHING
    names = set(head.fields.tokens(b"vary"))
    if not all(map(_NAME.fullmatch, names)) or b"*" in names:
        return None
    told = {line.partition(b":")[0].lower() for line in asking.told}
    names -= _IN_EVERY_KEY
    apart = {name for name in names if name in told or name.startswith(OWN_FAMILY)}
    if apart and asking.asker is None and not apart.isdisjoint(told):
        return None
    compared = names - apart - rules.changes
    codings = asking.asked.codings if b"accept-encoding" in compared else None
    compared.discard(b"accept-encoding")
    if any(is_owned(name) or is_reported(name) for name in compared):
        return None
    return Variance(tuple(sorted((name, asking.asked.value(name)) for name in compared)), codings, bool(apart))
