"""What consumers with numbers of their own count against: made when one of them is first met, and few are kept.

There may be thousands of consumers, each with numbers of its own, in each of many limits. So what was counted of them
stands together, by limit, and what counts can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from portico.core.caches import ages
from portico.core.consumers import Numbers
from portico.policies.counters.generations import Generations
from portico.policies.measures import Measure

Measures: TypeAlias = Sequence[Measure]
"""What one limit counts: its rate first, then its quotas from the shortest to the longest."""

_MADE: Final = 200
"""Measures that are kept, of one generation: 300 KB."""
_NONE: Final[Mapping[str, Numbers]] = {}


class Store(Protocol):
    """What was counted, by key."""

    def items(self) -> Iterable[tuple[str, float]]:
        """All keys that are known, and the more the larger the number was taken of each."""


class OwnMeasures:
    """The measures of one limit for the consumers who have `numbers`; those with the same ones share theirs."""

    __slots__ = ("__weakref__", "_made", "_make", "_numbers", "stores")

    def __init__(
        self,
        numbers: Mapping[str, Numbers] = _NONE,
        make: Callable[[Numbers], Measures] = lambda numbers: (),  # noqa: ARG005
        stores: Sequence[Store] = (),
    ) -> None:
        self._numbers = numbers
        self._make = make
        self.stores = stores
        """What was counted of all of them: each key has the numbers before it that it counts against, and a space."""
        self._made: Generations[int, Measures] = Generations(_MADE)
        ages(self)

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop what was not used lately."""
        self._made.rotate()

    def get(self, consumer: str, usual: Measures) -> Measures:
        """Those of a consumer; the `usual` ones where it has no numbers of its own."""
        numbers = self._numbers.get(consumer)
        if numbers is None:
            return usual
        made = self._made.get(id(numbers))  # it lives as long as this
        if made is None:
            made = self._make(numbers)
            self._made.put(id(numbers), made)
        return made
