"""The one shape of a way to balance, and what it has to know of the members that it chooses among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from portico.exchange import Exchange


class Member(Protocol):
    """What a balancer may look at."""

    name: str
    in_flight: int
    """Exchanges that run on it."""
    latency: float
    """Seconds that its responses took to begin, lately."""


M = TypeVar("M", bound=Member)


class Balancer(Protocol[M]):
    """Chooses among the members it was made with, which are all fit to be chosen."""

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """A member that is not `excluded`; None where there is none."""


MakeBalancer: TypeAlias = Callable[[Sequence[M], Sequence[int]], Balancer[M]]
"""Makes a balancer of members and their weights."""
