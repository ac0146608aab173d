"""Power of two choices: two members at random, and of them the one that is likely to answer sooner.

Nearly as good as looking at all, without the herd that forms when every gateway picks the same best one (Mitzenmacher,
"The Power of Two Choices in Randomized Load Balancing", 2001).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from random import random
from typing import Final, Generic

from portico.core.exchange import Exchange
from portico.upstreams.balancer import M

_UNKNOWN: Final = 1.0
"""Seconds expected of a member of which nothing is known while a request measures it: one request is enough."""


class PowerOfTwo(Generic[M]):
    """Compares what one more exchange would wait for: the latency, times the exchanges under way, by weight.

    A member of which nothing is known, or nothing any more, costs nothing: it is measured by the next exchange.
    """

    __slots__ = ("_measures", "_pairs")

    def __init__(self, members: Sequence[M], weights: Sequence[int]) -> None:
        self._pairs = list(zip(members, weights, strict=True))
        self._measures = True

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:  # noqa: ARG002
        """The better of two members that are not `excluded`."""
        pairs = self._pairs
        if excluded:
            pairs = [pair for pair in pairs if pair[0] not in excluded]
        count = len(pairs)
        if count < 2:
            return pairs[0][0] if pairs else None
        first = int(random() * count)  # noqa: S311 - it need not be unpredictable
        second = int(random() * (count - 1))  # noqa: S311
        if second >= first:
            second += 1
        now = time.monotonic()
        one, other = pairs[first], pairs[second]
        cost, other_cost = _cost(*one, now), _cost(*other, now)
        if other_cost < cost:
            one, cost = other, other_cost
        if cost == 0.0 and one[0].latency is not None and self._measures:
            one[0].latency.assume(_UNKNOWN, now)
        return one[0]

    def follow(self, previous: object) -> None:
        """No state here: the members hold the latencies."""

    def peek(self) -> PowerOfTwo[M]:
        peeked = copy(self)
        peeked._measures = False
        return peeked


def _cost(member: M, weight: int, now: float) -> float:
    expected = member.latency.at(now) if member.latency is not None else _UNKNOWN
    return expected * (member.in_flight + 1) / weight
