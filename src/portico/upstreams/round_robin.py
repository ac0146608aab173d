"""Weighted round robin, smooth: instances are chosen by weight, spread out evenly instead of in runs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import gcd
from random import randrange
from typing import Final, Generic, TypeVar

from portico.core.exchange import Exchange

T = TypeVar("T")

_LAID_OUT: Final = 20_000
"""Steps that laying out a cycle may take: some milliseconds."""
_LONGEST: Final = 8192
"""Length of the longest cycle; beyond it shares are rounded."""


class RoundRobin(Generic[T]):
    """Cycles through `members` by `weights`; the whole cycle is computed once, so that a choice is one index."""

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

    def follow(self, previous: object) -> None:
        """An unchanged cycle goes on; a new one begins at a random position, so that each member gets its share."""
        if isinstance(previous, RoundRobin) and previous._cycle == self._cycle:
            self._next = previous._next
        elif self._cycle:
            self._next = randrange(len(self._cycle))  # noqa: S311 - it need not be unpredictable

    def peek(self) -> RoundRobin[T]:
        return copy(self)


def smooth_cycle(members: Sequence[T], weights: Sequence[int]) -> list[T]:
    """One cycle in which each member occurs as often as its weight: nginx's smooth weighted round robin, laid out."""
    if len({*weights}) <= 1:
        return list(members)
    divisor = gcd(*weights)
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    if total * len(shares) > _LAID_OUT:
        return _spread(members, shares)
    credit = [0] * len(shares)
    cycle = []
    for _ in range(total):
        for index, share in enumerate(shares):
            credit[index] += share
        best = max(range(len(credit)), key=credit.__getitem__)
        credit[best] -= total
        cycle.append(members[best])
    return cycle


def _spread(members: Sequence[T], shares: Sequence[int]) -> list[T]:
    """A cycle nearly as even, for many members of unlike weights: each occurs at equal distances."""
    scale = min(1.0, _LONGEST / sum(shares))
    counts = [max(1, round(share * scale)) for share in shares]
    positions = sorted(((turn + 0.5) / count, index) for index, count in enumerate(counts) for turn in range(count))
    return [members[index] for _, index in positions]
