"""Whether a backtracking matcher is done with a pattern in time that grows with the text, and no faster.

Python's `re` tries one way after the other to match a text. It is fast where there are few ways, and takes for ever
where their number grows with the text: `(a|a)*b`, or `.*x.*y`. The ways are paths through the pattern's automaton, so
that is what is looked at (Weideman et al., Analyzing Matching Time Behavior of Backtracking Regular Expression
Matchers, 2016). What is refused here may be harmless now and then; what passes is harmless always.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Final

from portico.core.patterns.automaton import Automaton, Builder, Part
from portico.core.patterns.syntax import Branch, One, Repeat, Symbols

MOST_CHOICES: Final = 12
"""Places at which the same text may go on in two ways: each may double the work."""


def backtracks_in_linear_time(branches: Iterable[Branch]) -> bool:
    """Whether `re` matches these alternatives, from the beginning of a text, in linear time."""
    builder = _Folded()
    found = [builder.part(branch.body) for branch in branches]
    automaton = builder.finished(found)
    if builder.doubled:
        return False
    return _Ways(automaton).are_few()


class _Folded(Builder):
    """Takes counted repeats for loops, as long as more than one symbol is repeated: they may take as much time."""

    def repeat(self, node: Repeat) -> Part:
        is_fixed = node.least == node.most and isinstance(node.part, One)
        if is_fixed or node.most == 1:
            return super().repeat(node)
        part = self.part(node.part)
        self.doubled = self.doubled or part.empty  # a loop of nothing may go round any number of times
        self.loop(part)
        return Part(part.first, part.last, not node.least)


class _Ways:
    def __init__(self, automaton: Automaton) -> None:
        self.symbols = automaton.symbols
        self.follow = automaton.follow
        self.first = automaton.first
        reached = [self._reached(follow) for follow in automaton.follow]
        self.loops = {
            frozenset({position, *(other for other in found if position in reached[other])})
            for position, found in enumerate(reached)
            if position in found
        }
        self.reached = reached

    def are_few(self) -> bool:
        choices = sum(not self._are_distinct(following) for following in (self.first, *self.follow))
        return (
            choices <= MOST_CHOICES
            and all(self._are_distinct(self.follow[position] & loop) for loop in self.loops for position in loop)
            and not any(self._share_text(one, other) for one in self.loops for other in self.loops if one != other)
        )

    def _reached(self, start: Iterable[int]) -> set[int]:
        found: set[int] = set()
        coming = list(start)
        while coming:
            position = coming.pop()
            if position not in found:
                found.add(position)
                coming += self.follow[position]
        return found

    def _are_distinct(self, positions: Iterable[int]) -> bool:
        return all(self.symbols[one].isdisjoint(self.symbols[other]) for one, other in combinations(positions, 2))

    def _share_text(self, one: frozenset[int], other: frozenset[int]) -> bool:
        """Whether a way from one loop to another may consist of symbols that both of them take."""
        if next(iter(other)) not in self.reached[next(iter(one))]:
            return False
        shared = self._alphabet(one) & self._alphabet(other)
        coming, seen = list(one), set(one)
        while coming:
            for position in self.follow[coming.pop()] - seen:
                if not shared.isdisjoint(self.symbols[position]):
                    if position in other:
                        return True
                    seen.add(position)
                    coming.append(position)
        return False

    def _alphabet(self, loop: frozenset[int]) -> Symbols:
        return frozenset().union(*(self.symbols[position] for position in loop))
