"""Consistent hashing with bounded loads: the same key goes to the same member, unless that has more than its share.

Members are points on a ring; a key belongs to the next point. When a member leaves, only its own keys move
(Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from typing import Final, Generic, TypeAlias

from portico.core.clients import client_of
from portico.core.exchange import Exchange
from portico.upstreams.balancer import M
from portico.upstreams.round_robin import RoundRobin

_POINTS: Final = 16
"""Points of a member for each unit of its weight. Ten units are the least weight that is written: with 160 points
shares differ by a few percent."""
_MOST_POINTS: Final = 4096
_SHARE: Final = 1.25
"""How many times its share of all exchanges under way a member may have before keys go on to the next."""
_ALWAYS: Final = 10
"""Exchanges for which a member has room in any case: with little load, no key has to move."""

KeyOf: TypeAlias = Callable[[Exchange], bytes]


class ConsistentHash(Generic[M]):
    """`key_of` gives what is hashed; requests with an empty key are balanced round robin."""

    __slots__ = ("_hashes", "_key_of", "_members", "_indexes", "_shares", "_round_robin")

    def __init__(self, members: Sequence[M], weights: Sequence[int], key_of: KeyOf) -> None:
        self._key_of = key_of
        self._members = list(members)
        total = sum(weights)
        self._shares = [weight / total for weight in weights]
        ring = sorted(
            (point, index)
            for index, (each, weight) in enumerate(zip(members, weights, strict=True))
            for point in _points(each.name, min(_POINTS * weight, _MOST_POINTS))
        )
        self._hashes = [point for point, _ in ring]
        self._indexes = [index for _, index in ring]
        self._round_robin = RoundRobin(members, weights)

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """The member that the key belongs to; of the next ones on the ring, the first that has room."""
        key = self._key_of(exchange)
        if not key:
            return self._round_robin.choose(excluded, exchange)
        members, indexes = self._members, self._indexes
        running = sum(each.in_flight for each in members) + 1
        start = bisect(self._hashes, _hash(key))
        nearest: M | None = None
        seen: set[int] = set()
        for step in range(len(indexes)):
            index = indexes[(start + step) % len(indexes)]
            if index in seen:
                continue
            seen.add(index)
            member = members[index]
            if member not in excluded:
                if member.in_flight < max(ceil(_SHARE * running * self._shares[index]), _ALWAYS):
                    return member
                nearest = nearest or member
            if len(seen) == len(members):
                break
        return nearest

    def follow(self, previous: object) -> None:
        """Keys need no state; requests without one go on round robin."""
        if isinstance(previous, ConsistentHash):
            self._round_robin.follow(previous._round_robin)

    def peek(self) -> ConsistentHash[M]:
        peeked = copy(self)
        peeked._round_robin = self._round_robin.peek()
        return peeked


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


@lru_cache(maxsize=1024)
def _points(name: str, count: int) -> tuple[int, ...]:
    """A member's points on the ring; more weight adds points and moves none."""
    return tuple(_hash(f"{name}#{index}".encode()) for index in range(count))


def by_client(exchange: Exchange) -> bytes:
    """The client's address, of an IPv6 one its /64: the client changes the other bits daily (RFC 8981)."""
    return client_of(exchange.client_ip).encode()


def by_header(name: str) -> KeyOf:
    """The value of a request header; several lines are one value."""
    wanted = name.lower().encode()

    def key(exchange: Exchange) -> bytes:
        assert exchange.request is not None
        return exchange.request.fields.get(wanted) or b""

    return key


def by_cookie(name: str) -> KeyOf:
    """The value of a cookie; of several with its name the first, which is that of the longest path (RFC 6265, 5.4)."""
    wanted = name.encode()

    def key(exchange: Exchange) -> bytes:
        assert exchange.request is not None
        for line in exchange.request.fields.all(b"cookie"):
            for pair in line.split(b";"):
                own, _, value = pair.strip().partition(b"=")
                if own == wanted:
                    return value
        return b""

    return key
