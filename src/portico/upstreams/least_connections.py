"""Least connections: the member with the fewest exchanges under way, in proportion to its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from portico.exchange import Exchange
from portico.upstreams.balancer import M


class LeastConnections(Generic[M]):
    """Looks at every member for each choice; among equals they take turns."""

    __slots__ = ("_next", "_pairs")

    def __init__(self, members: Sequence[M], weights: Sequence[int]) -> None:
        self._pairs = list(zip(members, weights, strict=True))
        self._next = 0

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:  # noqa: ARG002
        """The least busy member that is not `excluded`."""
        pairs = self._pairs
        count = len(pairs)
        best: M | None = None
        least, place = float("inf"), 0
        for step in range(count):
            index = (self._next + step) % count
            member, weight = pairs[index]
            load = (member.in_flight + 1) / weight
            if load < least and member not in excluded:
                best, least, place = member, load, index
        self._next = place + 1
        return best
