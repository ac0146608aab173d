"""The store that gateways share, in Redis. Whatever becomes of Redis, no request waits longer than the timeout for it.

A look-up is one round trip, with all others of its turn of the event loop: see `look.lua`, and `store.lua` for changes.
What was found is remembered with its version: next time Redis only says that it is still the same, and what a hit costs
beside the round trip is what one in memory costs. What it said holds for a moment, so that what is asked for over and
over costs no more than that: what other gateways store in its place is seen as much later, and purges need no look-up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from copy import copy
from importlib.resources import files
from typing import Any, Final, TypeAlias

from portico.core.caches import ages
from portico.net.redis.asking import Asking, Use
from portico.net.redis.connection import reason
from portico.net.redis.link import Link, Script, argument
from portico.policies.counters.generations import Generations
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.codec import DamagedError, unpacked, unsealed, unsealed_piece
from portico.proxy.cache.purges import UNCHECKED
from portico.proxy.cache.redis_body import RedisBody
from portico.proxy.cache.redis_place import SHARDS, Place, variant_name
from portico.proxy.cache.redis_writer import RedisWriter, described, life
from portico.proxy.cache.stored import PIECE, Resource, Stored

logger: Final = logging.getLogger("portico.cache")

_MOST_SHARE: Final = 4
"""One body takes at most this part of its shard."""
_REMEMBERED: Final = 20_000
_REMEMBERED_BYTES: Final = 8 << 20
"""What is remembered of the responses that were found last, in each of two generations."""
_HOLDS_FOR: Final = 0.2
"""Seconds for which what Redis said of a key holds: less than purges may take to reach all gateways."""
_REFUSED_FOR: Final = 1.0
"""Seconds without an attempt to store anything after Redis refused to."""
_PAGE: Final = b"100"

_STORE: Final = Script(files(__package__).joinpath("store.lua").read_bytes())
_USE: Final = Use(
    logger=logger,
    script=Script(files(__package__).joinpath("look.lua").read_bytes()),
    per_key=2,
    probe=(argument(b"portico:cache:probe"), argument(b"") + argument(b"probe")),
    down="Redis does not serve the cache: every look-up there is a miss",
    up="Redis serves the cache again",
    fault="a request failed behind the cache in Redis",
    longest_pause=0.5,
    given_up=1.0,
)

Judge: TypeAlias = Callable[[Stored, Resource], Stored | None]
"""What is left of a variant: the same, another with the same body, or nothing."""
Found: TypeAlias = Callable[[Resource | None, Stored | None], None]
"""Receives a resource as it is stored, and the variant that answers the request; None where there is none."""


class _Known:
    """What was found for a key last, and the question whether it is still the same."""

    __slots__ = ("_variant", "_version", "arguments", "holds_until", "keys", "place", "resource")

    def __init__(self, place: Place, version: bytes, resource: Resource) -> None:
        self.place = place
        self.resource = resource
        self.keys = [place.hash]
        self.arguments = [argument(version) + argument(b"")]
        self._version = version
        self._variant = b""
        self.holds_until = 0.0
        """The monotonic moment until which Redis need not be asked again."""

    def use(self, variant: bytes) -> None:
        """Note which of its variants was served last."""
        if variant != self._variant:
            self._variant = variant
            self.arguments = [argument(self._version) + argument(variant)]

    @staticmethod
    def weight(known: _Known) -> int:
        variants = known.resource.variants
        return known.resource.size - sum(each.body.size for each in variants if not each.body.pieces)


class _LookUp:
    """What one request asks."""

    __slots__ = ("_asked", "_asker", "_due", "_done", "_key", "_known", "_store", "arguments", "keys")

    def __init__(self, store: RedisStore, key: bytes, asked: Asked, asker: bytes | None, done: Found) -> None:
        self._store, self._key, self._asked, self._asker, self._done = store, key, asked, asker, done
        self._known = known = store.known.get(key) or _Known(Place.of(key), b"", Resource(key, b"", ""))
        self._due = time.monotonic() + store.timeout
        self.keys, self.arguments = known.keys, known.arguments

    def answered(self, replies: list[Any], clock: float) -> None:
        reply, known = replies[0], self._known
        if reply == 0:
            self._store.known.discard(self._key)
            self._finish(None, None)
            return
        if reply != 1:
            known = self._store.remember(self._key, known.place, reply, clock)
        known.holds_until = time.monotonic() + _HOLDS_FOR
        resource = known.resource
        stored = resource.find(self._asked, self._asker)
        if stored is None:
            self._finish(resource, None)
            return
        body = stored.body
        assert isinstance(body, RedisBody)
        known.use(body.variant)
        if body.is_here:
            self._finish(resource, stored)
        else:
            left = self._due - time.monotonic()
            body.begin(stored, left, lambda begun: self._finish(resource, begun))

    def unanswered(self) -> None:
        self._store.failures += 1
        self._call(None, None)

    def faulted(self) -> None:
        self._call(None, None)

    def _finish(self, resource: Resource | None, stored: Stored | None) -> None:
        if stored is None:
            self._store.misses += 1
        else:
            self._store.hits += 1
        self._call(resource, stored)

    def _call(self, resource: Resource | None, stored: Stored | None) -> None:
        done, self._done = self._done, _nothing
        done(resource, stored)


def _nothing(*arguments: object) -> None:
    pass


class RedisStore(Asking[_LookUp]):
    """What all gateways with this Redis have stored, `most_bytes` bytes at most; a look-up waits `timeout` seconds."""

    def __init__(self, link: Link, timeout: float, most_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, timeout, _USE, loop)
        self.hits = self.misses = 0
        self.failures = 0
        """Look-ups that had no answer in time, or were not made because Redis is down."""
        self.pending = 0
        """Bytes that wait for Redis to store them."""
        self.known: Generations[bytes, _Known] = Generations(_REMEMBERED, _REMEMBERED_BYTES, _Known.weight)
        self._running: dict[object, Callable[[Any], None]] = {}
        """What is to receive the replies of what Redis is doing."""
        self._refused_until = 0.0
        self.bound(most_bytes)
        ages(self)

    def bound(self, most_bytes: int) -> None:
        """Keep to another number of bytes from now on."""
        self.most_of_shard = b"%d" % (most_bytes // SHARDS)
        self.most_object = most_bytes // SHARDS // _MOST_SHARE
        """Bytes of the largest body that is taken."""

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget what was found and is not asked for any more."""
        self.known.rotate()

    # ---- finding

    def look_up(self, key: bytes, asked: Asked, asker: bytes | None, done: Found) -> None:
        """Ask for a resource. `done` is called once and within the timeout; from within this call only while Redis is
        down.

        It gets the resource as it is stored (None: nothing is, or nobody knows), and what its `find` gave. A body of
        more than one piece has no `pieces`: the first has come all the same, the others come from Redis one by one.
        """
        if self.is_up:
            self.ask(_LookUp(self, key, asked, asker, done))
        else:
            self.failures += 1
            done(None, None)

    def lately(self, key: bytes) -> Resource | None:
        """What Redis said of a key a moment ago, if all bodies of one piece are here; None: it has to be asked."""
        known = self.known.get(key)
        if known is None or not self.is_up or time.monotonic() >= known.holds_until:
            return None
        for stored in known.resource.variants:
            if not stored.body.pieces and 0 < stored.body.size <= PIECE:
                return None
        return known.resource

    def remember(self, key: bytes, place: Place, reply: Sequence[Any], clock: float) -> _Known:
        """What `look.lua` returned of a key; what is damaged or of another format is left out."""
        ahead, wall_ahead = clock - time.monotonic(), clock - time.time()
        resource = Resource(key, b"", "")
        for index in range(1, len(reply), 3):
            try:
                self._decode(resource, place, reply[index], reply[index + 1], reply[index + 2])
            except DamagedError:
                continue
        for stored in resource.variants:
            stored.since -= ahead
            stored.born -= wall_ahead
        variants = sorted(resource.variants, key=lambda stored: stored.since, reverse=True)
        known = _Known(place, reply[0], Resource(key, resource.url, resource.service, variants))
        self.known.discard(key)
        self.known.put(key, known)
        return known

    def _decode(self, resource: Resource, place: Place, variant: bytes, description: bytes, inline: bytes) -> None:
        """Add a variant to a resource. Raises DamagedError."""
        data, name = unsealed(description, place.digest)
        stored, resource.url, resource.service = unpacked(data)
        stored.checked = UNCHECKED
        size = stored.body.size
        pieces = [unsealed_piece(inline, name, 0)] if inline else []
        if pieces and len(pieces[0]) != size:
            raise DamagedError("the body of another")
        stored.body = RedisBody(self, place, variant, name, pieces, size)
        resource.variants.append(stored)

    def peek(self, wanted: list[bytes]) -> RedisStore:
        """The same, for whoever asks what is stored: Redis says it, and notes no use. `wanted` gets the keys."""
        peeked = copy(self)
        peeked.__class__ = _Peeked
        assert isinstance(peeked, _Peeked)
        peeked.known, peeked.of, peeked.wanted = Generations(_REMEMBERED), self, wanted
        return peeked

    # ---- storing

    @property
    def is_taking(self) -> bool:
        """Whether it is worth while to try to store something."""
        return self.is_up and self.ahead != 0.0 and time.monotonic() >= self._refused_until

    def writer(self, resource: Resource, stored: Stored) -> RedisWriter:
        """Begin to store a variant of a resource, of which everything is known but its body."""
        return RedisWriter(self, resource, stored)

    def refresh(self, resource: Resource, stored: Stored) -> None:
        """Store what a 304 made of a variant; its body is there already."""
        body, variant = stored.body, variant_name(stored)
        if not isinstance(body, RedisBody) or body.variant != variant:
            self._store_whole(resource, stored)
        elif self.is_taking:
            description = described(self, body.place, resource, stored, body.name)
            self.run(body.place, b"refresh", (variant, body.name, description, life(stored)), self.taken)

    def _store_whole(self, resource: Resource, stored: Stored) -> None:
        """Under the name that it has now, if its body is here."""
        self.drop(resource, stored)
        if len(stored.body.pieces) == stored.body.count:
            writer = self.writer(resource, stored)
            for piece in stored.body.pieces:
                writer.feed(piece)
            writer.commit()

    def drop(self, resource: Resource, stored: Stored) -> None:
        """Remove one variant."""
        body = stored.body
        variant = body.variant if isinstance(body, RedisBody) else variant_name(stored)
        self.run(Place.of(resource.key), b"drop", (variant,))

    def discard(self, key: bytes) -> None:
        """Remove a resource with all its variants."""
        self.run(Place.of(key), b"drop", ())

    async def sweep(self, judge: Judge) -> int | None:
        """Remove all variants of which `judge` leaves nothing, and change those of which it leaves another: how many;
        None where Redis did not say. It is enough if one gateway does it. The resource has no key. What comes in
        meanwhile may be left out.
        """
        counts = [await self._sweep(place, judge) for place in Place.all()]
        return None if None in counts else sum(filter(None, counts))

    async def _sweep(self, shard: Place, judge: Judge) -> int | None:
        count, cursor = 0, b"0"
        while True:
            reply = await self._run(shard, b"page", (cursor, _PAGE))
            if reply is None:
                return None
            for index in range(1, len(reply), 3):
                digest, variant, description = reply[index : index + 3]
                count += self._judge(digest, variant, description, judge)
            cursor = reply[0]
            if cursor == b"0":
                return count

    def _judge(self, digest: bytes, variant: bytes, description: bytes, judge: Judge) -> bool:
        try:
            data, body = unsealed(description, digest)
            stored, url, service = unpacked(data)
        except DamagedError:
            return False  # another version's, perhaps
        stored.since -= self.ahead
        stored.born -= self.ahead + time.monotonic() - time.time()
        stored.checked = UNCHECKED
        place, resource = Place(digest), Resource(b"", url, service, (stored,))
        left = judge(stored, resource)
        if left is None:
            self.run(place, b"drop", (variant,))
        elif left is not stored:
            self.run(place, b"refresh", (variant, body, described(self, place, resource, left, body), life(left)))
        return left is not stored

    async def usage(self) -> tuple[int, int, int] | None:
        """Bytes, variants, and how many were evicted, of all gateways; None where Redis does not say."""
        replies = [await self._run(shard, b"usage", ()) for shard in Place.all()]
        if None in replies:
            return None
        return tuple(map(sum, zip(*replies, strict=True)))  # type: ignore[return-value]

    # ---- running store.lua

    def run(
        self,
        place: Place,
        act: bytes,
        arguments: Sequence[bytes],
        done: Callable[[Any], None] = _nothing,
        timeout: float | None = None,
    ) -> None:
        """Have `store.lua` do something. `done` gets its reply or an error, once, whatever becomes of Redis; without a
        timeout that may be once the connection is given up.
        """
        if not self.is_up:
            done(ConnectionError("Redis does not serve"))
            return
        self._running[token := object()] = done

        def receive(reply: Any) -> None:
            waiting = self._running.pop(token, None)
            if waiting is not None:
                waiting(reply)

        if timeout is not None:
            self.after_reading(self._loop.time() + timeout, lambda: receive(TimeoutError("no answer")))
        self.link.run(_STORE, place.keys, [argument(act), *map(argument, arguments)], 1 + len(arguments), receive)

    async def _run(self, place: Place, act: bytes, arguments: Sequence[bytes]) -> Any:
        """The reply, or None."""
        came: asyncio.Future[Any] = self._loop.create_future()
        self.run(place, act, arguments, lambda reply: None if came.done() else came.set_result(reply))
        reply = await came
        return None if isinstance(reply, Exception) else reply

    def taken(self, reply: Any) -> None:
        """What Redis said to something that was to be stored: where it refuses, leave it alone for a moment."""
        if not isinstance(reply, Exception):
            if self._refused_until and reply == 1:
                self._refused_until = 0.0
                logger.info("Redis stores for the cache again")
        elif not self.is_up or self.link.is_divided:
            pass  # what fails then fails for another reason, or is about one of several servers
        elif str(reply).startswith("READONLY"):  # another one may be the master by now
            self.link.close()
            self._fail(reason(reply))
        else:
            if not self._refused_until:
                logger.warning("Redis stores nothing for the cache", extra={"reason": reason(reply)})
            self._refused_until = time.monotonic() + _REFUSED_FOR

    def _release(self) -> None:
        super()._release()
        running, self._running = self._running, {}
        for done in running.values():
            done(ConnectionError("Redis does not serve"))


class _Peeked(RedisStore):
    of: RedisStore
    wanted: list[bytes]

    def look_up(self, key: bytes, asked: Asked, asker: bytes | None, done: Found) -> None:
        self.wanted.append(key)
        super().look_up(key, asked, asker, done)

    def ask(self, question: _LookUp) -> None:
        question.arguments = [argument(b"") + argument(b"peek")]
        Context().run(self.of.ask, question)  # others' questions go with it

    def drop(self, resource: Resource, stored: Stored) -> None:
        """It stays."""
