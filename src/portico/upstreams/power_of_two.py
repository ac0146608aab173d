"""Power of two choices: two members at random, and of them the one that is likely to answer sooner.

Nearly as good as looking at all, without the herd that forms when every gateway picks the same best one (Mitzenmacher,
"The Power of Two Choices in Randomized Load Balancing", 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from portico.exchange import Exchange
from portico.upstreams.balancer import M
from portico.upstreams.random_choice import RandomChoice


class PowerOfTwo(Generic[M]):
    """Compares members by their recent latency times the exchanges under way; weights are chances to be looked at."""

    __slots__ = ("_random",)

    def __init__(self, members: Sequence[M], weights: Sequence[int]) -> None:
        self._random = RandomChoice(members, weights)

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """The better of two members that are not `excluded`."""
        first = self._random.choose(excluded, exchange)
        if first is None:
            return None
        second = self._random.choose((*excluded, first), exchange)
        return second if second is not None and _cost(second) < _cost(first) else first


def _cost(member: M) -> float:
    """What one more exchange would wait for; a member that is still unknown is tried."""
    return member.latency * (member.in_flight + 1)
