"""Least connections: the member with the fewest exchanges under way, in proportion to its weight."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Generic

from portico.core.exchange import Exchange
from portico.upstreams.balancer import M


class LeastConnections(Generic[M]):
    """Looks at every member for each choice; equally busy ones are chosen by weighted round robin, as in nginx."""

    __slots__ = ("_credit", "_members", "_weights")

    def __init__(self, members: Sequence[M], weights: Sequence[int]) -> None:
        self._members = list(members)
        self._weights = list(weights)
        self._credit = [0] * len(self._members)

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:  # noqa: ARG002
        """The least busy member that is not `excluded`."""
        least, tied = float("inf"), list[int]()
        for index, member in enumerate(self._members):
            load = member.in_flight / self._weights[index]
            if load > least or member in excluded:
                continue
            if load < least:
                least, tied = load, []
            tied.append(index)
        return self._members[self._turn(tied)] if tied else None

    def follow(self, previous: object) -> None:
        """Members that stay keep their credit, in proportion to what they weigh now."""
        if not isinstance(previous, LeastConnections):
            return
        known = {id(member): index for index, member in enumerate(previous._members)}
        for index, member in enumerate(self._members):
            old = known.get(id(member))
            if old is not None:
                self._credit[index] = previous._credit[old] * self._weights[index] // previous._weights[old]

    def peek(self) -> LeastConnections[M]:
        peeked = copy(self)
        peeked._credit = [*self._credit]
        return peeked

    def _turn(self, indexes: list[int]) -> int:
        """The next one among equals: smooth weighted round robin, with credit that outlasts the choice."""
        if len(indexes) == 1:
            return indexes[0]
        credit, weights = self._credit, self._weights
        for index in indexes:
            credit[index] += weights[index]
        best = max(indexes, key=credit.__getitem__)
        credit[best] -= sum(weights[index] for index in indexes)
        return best
