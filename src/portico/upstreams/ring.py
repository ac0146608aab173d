"""A ring of points for consistent hashing, on which members come and go without a look at the others' points.

Its points are in chunks: one more moves those of its chunk. A copy shares all chunks until one of the two changes them,
so that a reload, which leaves most members where they are, costs nearly nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, Generic

from portico.core.slices import Steps
from portico.upstreams.balancer import M

_POINTS: Final = 16
"""Points of a member for each unit of its weight. Ten units are the least weight that is written: with 160 points
shares differ by a few percent."""
_MOST_POINTS: Final = 4096
_CHUNK: Final = 512
"""Points that a chunk has when it is new; it is split when it has twice as many."""


class _Chunk(Generic[M]):
    __slots__ = ("hashes", "members", "ring")

    def __init__(self, ring: object, hashes: array[int], members: list[M]) -> None:
        self.ring = ring
        """The one that may change it."""
        self.hashes = hashes
        self.members = members


class Ring(Generic[M]):
    """Members as points at the hashes of their names; more weight adds points and moves none."""

    def __init__(self) -> None:
        self.weights: dict[M, int] = {}
        """All members."""
        self._chunks: list[_Chunk[M]] = [_Chunk(self, array("Q"), [])]
        self._firsts = [0]
        """The hash from which each chunk's points are."""

    def copy(self, other: Ring[M]) -> None:
        """Have the members of the other one."""
        self.weights = {**other.weights}
        self._chunks, self._firsts = [*other._chunks], [*other._firsts]
        for chunk in self._chunks:
            chunk.ring = None

    def following(self, weights: Mapping[M, int]) -> Steps[None]:
        """Have these members with these weights, and no others, in steps."""
        if weights == self.weights:
            return
        for member in [member for member in self.weights if member not in weights]:
            self._put(member, 0)
            yield
        for member, weight in [each for each in weights.items() if self.weights.get(each[0]) != each[1]]:
            self._put(member, weight)
            yield

    def after(self, point: int) -> Iterator[M]:
        """The members of all points, from the first behind this one on."""
        chunks, at = self._chunks, bisect(self._firsts, point) - 1
        start = bisect(chunks[at].hashes, point)
        members = chunks[at].members
        for index in range(start, len(members)):
            yield members[index]
        for other in range(at + 1, at + len(chunks)):
            yield from chunks[other % len(chunks)].members
        yield from members[:start]

    def _put(self, member: M, weight: int) -> None:
        """Have a member with this weight; 0: have it no more."""
        before, now = _count(self.weights.get(member, 0)), _count(weight)
        for index in range(before, now):
            self._add(point_of(f"{member.name}#{index}".encode()), member)
        for index in range(now, before):
            self._remove(point_of(f"{member.name}#{index}".encode()), member)
        if weight:
            self.weights[member] = weight
        else:
            del self.weights[member]

    def _add(self, point: int, member: M) -> None:
        at = bisect(self._firsts, point) - 1
        chunk = self._own(at)
        index = bisect(chunk.hashes, point)
        chunk.hashes.insert(index, point)
        chunk.members.insert(index, member)
        if len(chunk.members) >= 2 * _CHUNK:
            behind = _Chunk(self, chunk.hashes[_CHUNK:], chunk.members[_CHUNK:])
            del chunk.hashes[_CHUNK:], chunk.members[_CHUNK:]
            self._chunks.insert(at + 1, behind)
            self._firsts.insert(at + 1, behind.hashes[0])

    def _remove(self, point: int, member: M) -> None:
        """Members of the same name have the same points, some of which may be in the chunk before."""
        at = bisect(self._firsts, point) - 1
        index = bisect(self._chunks[at].hashes, point) - 1
        while index < 0 or self._chunks[at].members[index] is not member:
            index -= 1
            if index < 0:
                at -= 1
                index = len(self._chunks[at].members) - 1
        chunk = self._own(at)
        del chunk.hashes[index], chunk.members[index]
        if not chunk.members and at:
            del self._chunks[at], self._firsts[at]

    def _own(self, at: int) -> _Chunk[M]:
        """A chunk that no other ring has."""
        chunk = self._chunks[at]
        if chunk.ring is not self:
            chunk = self._chunks[at] = _Chunk(self, chunk.hashes[:], chunk.members[:])
        return chunk


def point_of(data: bytes) -> int:
    """Where on the ring something is: from 0 up to 2⁶⁴."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _count(weight: int) -> int:
    return min(_POINTS * weight, _MOST_POINTS)
