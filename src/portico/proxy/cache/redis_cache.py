"""The cache of a route whose responses are in Redis: a request waits for the look-up, no longer than its timeout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from portico.policies.headers import Lines
from portico.proxy.admission import admit, fail
from portico.proxy.cache.cache import SERVED, Cache
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.fetch import Fetching
from portico.proxy.cache.lookup import MISS, Lookup
from portico.proxy.cache.redis_store import RedisStore
from portico.proxy.cache.redis_writer import RedisWriter
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import Resource, Stored
from portico.proxy.forward import Forwarding
from portico.proxy.routing.route import Forward
from portico.proxy.waiting import Waiting

_KEPT: Final = 1 << 20
"""Bytes of a response that are kept while it arrives, so that others can join: more of it is only in Redis."""


Judge: TypeAlias = Callable[[Resource, Stored], Stored | None]
"""What is left of a response that was found."""


class _LookingUp(Waiting):
    """A request whose response is being looked for."""

    __slots__ = ("judge", "lookup")

    def __init__(self, lookup: Lookup, judge: Judge) -> None:
        super().__init__(lookup.exchange, partial(_use, lookup), fail)
        self.lookup = lookup
        self.judge = judge

    def found(self, resource: Resource | None, stored: Stored | None) -> None:
        """The look-up is over."""
        lookup = self.lookup
        lookup.resource = resource
        lookup.found = None if resource is None or stored is None else self.judge(resource, stored)
        self.go_on()

    def finished(self, failure: str | None) -> None:
        self.lookup.cache.note(self.exchange, MISS)
        super().finished(failure)


def _use(lookup: Lookup) -> None:
    admit(lookup.exchange, lookup.cache.use(lookup), lookup.loop)


class RedisCache(Cache):
    """A `Cache` whose store is `redis`."""

    def __init__(
        self,
        caches: Caches,
        rules: Rules,
        kind: type[Forwarding],
        changes: Lines | None,
        redis: RedisStore,
        *,
        mirrors: bool = False,
        traces: bool = False,
    ) -> None:
        super().__init__(caches, rules, kind, changes, mirrors=mirrors, traces=traces)
        self.redis = redis
        self.most_stored = min(rules.max_object, redis.most_object)
        self.most_kept = min(self.most_stored, _KEPT)
        self.get = redis.lately

    def look(self, lookup: Lookup) -> Forward:
        waiting = _LookingUp(lookup, self.checked)
        lookup.exchange.stream.receiver = waiting
        if self.caches.searches:
            self.set_place(lookup)
        self.redis.look_up(lookup.place, lookup.asking.asked, lookup.asking.asker, waiting.found)
        return SERVED

    def checked(self, resource: Resource, stored: Stored) -> Stored | None:
        """What purges have left of what was found."""
        left = self.purges.passed(stored, resource)
        if left is None:
            self.redis.drop(resource, stored)
        return left

    # ---- storing

    def writer(self, lookup: Lookup, stored: Stored) -> RedisWriter | None:
        writing = self.caches.writing
        if lookup.key in writing:
            return None
        writing.add(lookup.key)
        return self.redis.writer(self.resource_for(lookup, stored), stored)

    def commit(self, fetch: Fetching, writer: RedisWriter, stored: Stored) -> None:
        lookup = fetch.lookup
        self.redis.known.discard(lookup.place)
        self.caches.writing.discard(lookup.key)
        stored.checked = fetch.purged
        if self.purges.passed(stored, self.resource_of(lookup)) is stored:
            writer.commit()
        else:
            writer.abort()

    def abort(self, lookup: Lookup, writer: RedisWriter) -> None:
        self.caches.writing.discard(lookup.key)
        writer.abort()

    def keep(self, fetch: Fetching, stored: Stored) -> None:
        self.redis.known.discard(fetch.lookup.place)
        resource = self.resource_for(fetch.lookup, stored)
        stored.checked = fetch.purged
        left = self.purges.passed(stored, resource)
        if left is not None:
            writer = self.redis.writer(resource, left)
            for piece in left.body.pieces:
                writer.feed(piece)
            writer.commit()

    def refresh(self, fetch: Fetching, replaced: Stored, stored: Stored | None, *, is_kept: bool) -> None:
        self.redis.known.discard(fetch.lookup.place)
        resource = self.resource_of(fetch.lookup)
        left = None
        if stored is not None and is_kept:
            stored.checked = fetch.purged
            left = self.purges.passed(stored, resource)
        if left is None:
            self.redis.drop(resource, replaced)
        else:
            self.redis.refresh(resource, left)
