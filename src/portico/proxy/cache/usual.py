"""The usual miss: nothing is stored, nobody fetches the same, and the response is like those that came before it.

Most responses of a service differ only in their content: they come with one head, in the same bytes, for as long as its
`Date` is the same. What `storing.py` decides about such a head, and how it is stored, is worked out once (`Known`); of
a further response with it only the content, and when it was made, are its own. It is stored packed, and what a lookup
needs is made when somebody asks for it. Whatever is not usual after all goes on as every other fetch does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Final

from portico.core.caches import ages
from portico.core.messages import ResponseHead
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.dates import parse_date
from portico.proxy.cache.fetch import PlainFetching
from portico.proxy.cache.flights import FlightKey, look_again
from portico.proxy.cache.freshness import DATE_PRECISION, age_value
from portico.proxy.cache.lookup import MISS, URI_MISS, Lookup
from portico.proxy.cache.memory import Pattern
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.status import forward_line
from portico.proxy.cache.stored import PIECE, Body, Stored
from portico.proxy.cache.storing import Decision
from portico.proxy.cache.variants import Asking
from portico.proxy.forward import Forwarding

if TYPE_CHECKING:
    from portico.proxy.cache.cache import Cache

_MOST: Final = 1024
_HEAD_SIZE: Final = 4096
"""Bytes of a head: those that come once are among the known, too, and would take as much as services say in them."""
_ERRORS: Final = 400
_STORED: Final = forward_line(URI_MISS, is_stored=True)
_NEEDED: Final = frozenset({b"content-length", b"date"})
"""Without these, a head does not say how long its content is, or when it was made."""
_NO_VARY_SEARCH: Final = b"no-vary-search"


@dataclass(frozen=True, slots=True)
class Known:
    """What becomes of responses with a certain head: they are stored, by these rules."""

    rules: Rules
    pattern: Pattern
    is_shared: bool
    """As in `Stored`; else they are for requests without credentials."""
    date: int
    """Their Date (wall clock)."""
    age: float
    """What their Age says."""
    lasts: float
    """The age from which on they are of no use."""


class KnownHeads(dict[ResponseHead, Known]):
    """What is known of heads that came more than once, or have the form of others."""

    def __init__(self) -> None:
        super().__init__()
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget all: services have sent others since."""
        self.clear()

    def learn(self, rules: Rules, head: ResponseHead, stored: Stored) -> None:
        """Remember what was decided about a head, if that holds for all who ask, or for all without credentials."""
        names = head.fields.names
        is_for_many = stored.is_open and (stored.is_shared or stored.asker is None)
        if not is_for_many or len(head.raw) > _HEAD_SIZE or head.status >= _ERRORS or not 0 < head.framing <= PIECE:
            return
        if not _NEEDED.issubset(names) or _NO_VARY_SEARCH in names:
            return
        date = parse_date(head.fields.get(b"date") or b"")
        if date is None:
            return
        if len(self) >= _MOST:
            self.clear()
        sample = replace(stored, body=Body((), head.framing))
        lasts = stored.lifetime + max(stored.stale_while_revalidate, stored.stale_if_error)
        self[head] = Known(
            rules=rules,
            pattern=Pattern.of(sample, rules.service),
            is_shared=stored.is_shared,
            date=int(date),
            age=age_value(head),
            lasts=lasts if stored.etag is None and stored.last_modified is None else inf,
        )


class UsualFetching(PlainFetching):
    """Fetches for a plain GET under whose key nothing is stored."""

    __slots__ = ("asker", "born", "cache", "client_finish", "client_lines", "flight_key", "key", "purged")

    cache: Cache
    key: bytes
    asker: bytes | None

    def lead(self, cache: Cache, key: bytes, asker: bytes | None, flight_key: FlightKey) -> bool:
        """Set what a forwarding does not have; others may join from now on. False where somebody leads already."""
        if cache.flights.leading.setdefault(flight_key, self) is not self:
            return False
        exchange = self.exchange
        self.cache = cache
        self.key = key
        self.asker = asker
        self.flight_key = flight_key
        self.purged = cache.purges.number
        self.born = 0.0
        self.client_finish = exchange.finish
        self.client_lines = exchange.response_lines
        exchange.finish = self._client_finished
        return True

    @cached_property
    def lookup(self) -> Lookup:
        exchange = self.exchange
        asking = Asking(Asked.of(self.request), b"GET", self.asker, exchange.consumer, exchange.request_lines)
        return Lookup(self.cache, exchange, self.handling, self.loop, asking, self.key)

    def detach(self) -> None:
        self.lookup  # noqa: B018 - made while its exchange is the client's
        super().detach()

    def start(self) -> None:
        self.born = time.time()
        Forwarding.start(self)

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        cache = self.cache
        known = cache.known.get(head)
        if (
            known is None
            or known.rules is not cache.rules
            or not (known.is_shared or self.asker is None)
            or self.flight is not None
            or self.is_detached
            or self.purged != cache.purges.number
        ):
            return super().response_whole(head, content, now)
        age: float = int(time.time()) - known.date  # RFC 9111, section 4.2.3, as `freshness.initial_age` has it
        corrected = known.age + now - self.sent_at
        if age <= DATE_PRECISION or age < corrected:
            age = corrected
        if age >= known.lasts:
            return super().response_whole(head, content, now)
        exchange = self.exchange
        exchange.response_lines = (*self.client_lines, _STORED)
        exchange.cache = MISS
        exchange.finish = self.client_finish
        try:
            is_taken = Forwarding.response_whole(self, head, content, now)
        except BaseException:
            self._fail_others()
            raise
        if not is_taken:
            exchange.response_lines = self.client_lines
            exchange.cache = None
            exchange.finish = self._client_finished
            return False
        cache.outcomes[MISS] += 1
        cache.memory.add(self.key, known.pattern, content, now - age, self.born, self.purged)
        cache.flights.leave(self)
        if self.flight is not None:
            cache.flights.give(self, look_again)
        return True

    def _decide(self, head: ResponseHead, now: float, size: int) -> Decision:
        is_repeated = bool(head.passed)  # it went to a client before, or has the form of one that did
        decision = super()._decide(head, now, size)
        if is_repeated and decision.stored is not None:
            self.cache.known.learn(self.cache.rules, head, decision.stored)
        return decision
