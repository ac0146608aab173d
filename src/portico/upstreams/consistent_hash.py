"""Consistent hashing with bounded loads: the same key goes to the same member, unless that has more than its share.

Members are points on a ring; a key belongs to the next point. A member that leaves takes only its own keys along
(Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil
from typing import Final, Generic, TypeAlias

from portico.exchange import Exchange
from portico.upstreams.balancer import M

_POINTS: Final = 160
"""Points of a member of the least weight: with that many, shares differ by a few percent."""
_MOST_POINTS: Final = 4096
_SHARE: Final = 1.25
"""How many times its share of all exchanges under way a member may have before keys go on to the next."""

KeyOf: TypeAlias = Callable[[Exchange], bytes]


class ConsistentHash(Generic[M]):
    """`key_of` gives what is hashed; requests with an empty key share one."""

    __slots__ = ("_hashes", "_key_of", "_members", "_points", "_shares")

    def __init__(self, members: Sequence[M], weights: Sequence[int], key_of: KeyOf) -> None:
        self._key_of = key_of
        self._members = list(members)
        total = sum(weights)
        self._shares = {id(each): weight / total for each, weight in zip(members, weights, strict=True)}
        least = min(weights, default=1)
        ring = sorted(
            (_hash(f"{each.name}#{index}".encode()), place)
            for place, (each, weight) in enumerate(zip(members, weights, strict=True))
            for index in range(min(_POINTS * weight // least, _MOST_POINTS))
        )
        self._hashes = [point for point, _ in ring]
        self._points = [place for _, place in ring]

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """The member whose turn it is for the key; of the next ones on the ring, the first that has room."""
        if not self._points:
            return None
        running = sum(each.in_flight for each in self._members) + 1
        start = bisect(self._hashes, _hash(self._key_of(exchange)))
        seen: list[M] = []
        for step in range(len(self._points)):
            member = self._members[self._points[(start + step) % len(self._points)]]
            if member in seen:
                continue
            seen.append(member)
            if member not in excluded and member.in_flight + 1 <= ceil(_SHARE * running * self._shares[id(member)]):
                return member
            if len(seen) == len(self._members):
                break
        return next((each for each in seen if each not in excluded), None)


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def by_client(exchange: Exchange) -> bytes:
    """The client's address."""
    return exchange.client_ip.encode()


def by_header(name: str) -> KeyOf:
    """The first value of a request header."""
    wanted = name.lower().encode()

    def key(exchange: Exchange) -> bytes:
        assert exchange.request is not None
        return exchange.request.fields.get(wanted) or b""

    return key


def by_cookie(name: str) -> KeyOf:
    """The value of a cookie."""
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
