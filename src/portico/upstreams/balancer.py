"""The interface of a balancer, and of the members that it chooses among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from portico.core.exchange import Exchange
from portico.upstreams.latency import Latency


class Member(Protocol):
    """What a balancer may use."""

    name: str
    in_flight: int
    """Exchanges that run on it."""
    latency: Latency | None
    """How long its responses took to begin, where a balancer uses that."""


M = TypeVar("M", bound=Member)


class Balancer(Protocol[M]):
    """Chooses among the members it was made with, which are all available."""

    def choose(self, excluded: Sequence[M], exchange: Exchange) -> M | None:
        """A member that is not `excluded`; None where there is none."""

    def follow(self, previous: object) -> None:
        """Continue where the previous balancer of the same service stopped.

        State that still holds for these members is kept. Where choices begin anew instead, they must not begin with the
        same member every time: sets may change more often than requests arrive.
        """

    def peek(self) -> Balancer[M]:
        """One that would choose as this one now, for whoever asks what it does: its choices change nothing here."""


MakeBalancer: TypeAlias = Callable[[Sequence[M], Sequence[int]], Balancer[M]]
"""Makes a balancer of members and their weights."""
