"""Random: each member with a probability in proportion to its weight."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import random
from typing import Generic

from portico.core.exchange import Exchange
from portico.upstreams.balancer import M


class RandomChoice(Generic[M]):
    """Needs no state, so that many gateways balance evenly without coordination."""

    __slots__ = ("_bounds", "_members", "_total", "_weights")

    def __init__(self, members: Sequence[M], weights: Sequence[int]) -> None:
        self._members = list(members)
        self._weights = list(weights)
        self._bounds = list(accumulate(weights))
        self._total = sum(weights)

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """Any member that is not `excluded`."""
        if not self._members:
            return None
        member = self._members[bisect(self._bounds, random() * self._total)]  # noqa: S311 - it need not be unpredictable
        if member not in excluded:
            return member
        pairs = zip(self._members, self._weights, strict=True)
        left = [(each, weight) for each, weight in pairs if each not in excluded]
        return RandomChoice([each for each, _ in left], [weight for _, weight in left]).choose((), exchange)

    def follow(self, previous: object) -> None:
        """No state."""

    def peek(self) -> RandomChoice[M]:
        return self
