"""Consistent hashing with bounded loads: the same key goes to the same member, unless that has more than its share.

Members are points on a ring; a key belongs to the next point. When a member leaves, only its own keys move
(Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from math import ceil
from typing import Final, Generic, TypeAlias

from portico.core.clients import client_of
from portico.core.exchange import Exchange
from portico.core.slices import at_once
from portico.upstreams.balancer import M
from portico.upstreams.ring import Ring, point_of
from portico.upstreams.round_robin import RoundRobin

_SHARE: Final = 1.25
"""How many times its share of all exchanges under way a member may have before keys go on to the next."""
_ALWAYS: Final = 10
"""Exchanges for which a member has room in any case: with little load, no key has to move."""

KeyOf: TypeAlias = Callable[[Exchange], bytes]


class ConsistentHash(Generic[M]):
    """`key_of` gives what is hashed; requests with an empty key are balanced round robin.

    `ring` is that of its service, which the next balancer goes on with.
    """

    __slots__ = ("_key_of", "_members", "_ring", "_round_robin", "_total")

    def __init__(
        self, members: Sequence[M], weights: Sequence[int], key_of: KeyOf, ring: Ring[M] | None = None
    ) -> None:
        self._key_of = key_of
        self._members = members
        self._total = sum(weights)
        self._ring: Ring[M] = ring or Ring()
        at_once(self._ring.following(dict(zip(members, weights, strict=True))))
        self._round_robin = RoundRobin(members, weights)

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """The member that the key belongs to; of the next ones on the ring, the first that has room."""
        key = self._key_of(exchange)
        if not key:
            return self._round_robin.choose(excluded, exchange)
        weights, total = self._ring.weights, self._total
        running = sum(each.in_flight for each in self._members) + 1
        nearest: M | None = None
        seen: set[M] = set()
        for member in self._ring.after(point_of(key)):
            if member in seen:
                continue
            seen.add(member)
            if member not in excluded:
                if member.in_flight < max(ceil(_SHARE * running * (weights[member] / total)), _ALWAYS):
                    return member
                nearest = nearest or member
            if len(seen) == len(weights):
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
