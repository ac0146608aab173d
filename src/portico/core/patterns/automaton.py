"""Automata of patterns: which symbol may stand first, which after which, and which last.

This is Glushkov's construction: a position for each symbol that is written in the pattern, an edge where one may follow
another. What is matched is always a whole text, with the symbol of its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from portico.core.patterns.syntax import ALL, AT_END, Branch, Choice, Group, Node, One, Repeat, Sequence, Symbols

MOST_POSITIONS: Final = 1000
_ANYTHING: Final = Repeat(One(ALL), 0, None)
_MAYBE_END: Final = Repeat(One(AT_END), 0, 1)


@dataclass(slots=True)
class Automaton:
    """The positions of a pattern: the symbols of each, and those that follow it."""

    symbols: list[Symbols] = field(default_factory=list)
    follow: list[set[int]] = field(default_factory=list)
    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()

    def changed(self, change: Callable[[Symbols], Symbols]) -> Automaton:
        """The same with other symbols at its positions."""
        return Automaton([change(each) for each in self.symbols], self.follow, self.first, self.last)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part of a pattern begins and ends, and whether it may be left out."""

    first: frozenset[int]
    last: frozenset[int]
    empty: bool


_NOTHING: Final = Part(frozenset(), frozenset(), True)


def automaton_of(branches: Iterable[Branch]) -> Automaton:
    """The automaton that matches the whole texts in which a pattern is found. Raises ValueError if it is too large."""
    builder = Builder()
    found = [builder.part(_whole(branch)) for branch in branches]
    return builder.finished(found)


def _whole(branch: Branch) -> Node:
    """The alternative with what may come before and after it, and the end, unless a `$` in a group has taken that."""
    before = () if branch.begins else (_ANYTHING,)
    after = (_MAYBE_END,) if branch.ends else (_ANYTHING, _MAYBE_END)
    return Sequence((*before, branch.body, *after))


class Builder:
    """Makes positions of the nodes of a tree. An edge that is there already makes it `doubled`."""

    def __init__(self) -> None:
        self.automaton = Automaton()
        self.doubled = False

    def finished(self, options: Iterable[Part]) -> Automaton:
        whole = _either(options)
        made = self.automaton
        made.first, made.last = whole.first, whole.last
        return made

    def part(self, node: Node) -> Part:
        match node:
            case One(symbols):
                return self._one(symbols)
            case Sequence(parts):
                return self._after_each_other(map(self.part, parts))
            case Choice(options):
                return self._choice([self.part(option) for option in options])
            case Group(part=part):
                return self.part(part)
            case Repeat():
                return self.repeat(node)

    def repeat(self, node: Repeat) -> Part:
        """Counted parts are written out: x{2,4} is xx(x(x)?)?."""
        if node.most is None:
            times = [self.part(node.part) for _ in range(max(node.least, 1))]
            times[-1] = self.loop(times[-1])
            whole = self._after_each_other(times)
            return Part(whole.first, whole.last, whole.empty or not node.least)
        rest = _NOTHING
        for _ in range(node.most - node.least):
            rest = self._after_each_other((self.part(node.part), rest))
            rest = Part(rest.first, rest.last, True)
        return self._after_each_other([*(self.part(node.part) for _ in range(node.least)), rest])

    def loop(self, part: Part) -> Part:
        self._connect(part.last, part.first)
        return part

    def _one(self, symbols: Symbols) -> Part:
        made = self.automaton
        if len(made.symbols) >= MOST_POSITIONS:
            raise ValueError(
                f"the pattern is too long: with its repeats written out it has over {MOST_POSITIONS} characters"
            )
        made.symbols.append(symbols)
        made.follow.append(set())
        position = frozenset({len(made.symbols) - 1})
        return Part(position, position, False)

    def _choice(self, options: list[Part]) -> Part:
        self.doubled = self.doubled or sum(option.empty for option in options) > 1
        return _either(options)

    def _after_each_other(self, parts: Iterable[Part]) -> Part:
        whole = _NOTHING
        for part in parts:
            self._connect(whole.last, part.first)
            first = whole.first | part.first if whole.empty else whole.first
            last = part.last | whole.last if part.empty else part.last
            whole = Part(first, last, whole.empty and part.empty)
        return whole

    def _connect(self, before: frozenset[int], after: frozenset[int]) -> None:
        for position in before:
            follow = self.automaton.follow[position]
            self.doubled = self.doubled or not after.isdisjoint(follow)
            follow |= after


def _either(options: Iterable[Part]) -> Part:
    found = tuple(options)
    first: frozenset[int] = frozenset().union(*(option.first for option in found))
    last: frozenset[int] = frozenset().union(*(option.last for option in found))
    return Part(first, last, any(option.empty for option in found))
