"""Weighted round robin, smooth: instances take turns by weight, spread out evenly instead of in runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Generic, TypeVar

from portico.exchange import Exchange

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """Turns through `members` by `weights`; the whole cycle is laid out once, so that a choice is one index."""

    __slots__ = ("_cycle", "_next")

    def __init__(self, members: Sequence[T], weights: Sequence[int]) -> None:
        self._cycle = smooth_cycle(members, weights)
        self._next = 0

    def choose(self, excluded: Sequence[T], exchange: Exchange) -> T | None:  # noqa: ARG002
        """The next member that is not `excluded`; None where there is none."""
        cycle = self._cycle
        if len(cycle) == 1:
            return None if cycle[0] in excluded else cycle[0]
        for _ in range(len(cycle)):
            index = self._next
            self._next = index + 1 if index + 1 < len(cycle) else 0
            if cycle[index] not in excluded:
                return cycle[index]
        return None


def smooth_cycle(members: Sequence[T], weights: Sequence[int]) -> list[T]:
    """One cycle in which each member stands as often as its weight: nginx's smooth weighted round robin, laid out."""
    divisor = gcd(*weights) if weights else 1
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    credit = [0] * len(shares)
    cycle = []
    for _ in range(total):
        for index, share in enumerate(shares):
            credit[index] += share
        best = max(range(len(credit)), key=credit.__getitem__)
        credit[best] -= total
        cycle.append(members[best])
    return cycle
