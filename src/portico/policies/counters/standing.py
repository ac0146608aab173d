"""What is left of limits: for the admin API, which asks now and then."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from operator import itemgetter
from typing import Final, TypeVar

from portico.core.slices import Steps

_STEP: Final = 1000
"""Keys that are looked at in one step, some 100 µs."""

K = TypeVar("K")


class Asked:
    """How often a limit was asked, and how often it refused, since its worker began.

    Kept across snapshots; what only explains what would be has one of its own.
    """

    __slots__ = ("asked", "refused")

    def __init__(self) -> None:
        self.asked = self.refused = 0

    def peek(self) -> Asked:
        """One for whoever asks what would be said: nothing is counted here for it."""
        return Asked()


def fullest(spent: Iterable[tuple[K, float]], most: int) -> Steps[list[tuple[K, float]]]:
    """The entries with the largest numbers, at most so many, the largest first."""
    found: list[tuple[K, float]] = []
    part: list[tuple[K, float]] = []
    for entry in spent:
        part.append(entry)
        if len(part) == _STEP:
            found, part = nlargest(most, found + part, key=itemgetter(1)), []
            yield
    return nlargest(most, found + part, key=itemgetter(1))


def without(prefix: str, entries: Iterable[tuple[str, float]]) -> Iterable[tuple[str, float]]:
    """The entries whose keys have a prefix, without it."""
    if not prefix:
        return entries
    return ((key.removeprefix(prefix), number) for key, number in entries if key.startswith(prefix))
