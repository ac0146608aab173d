"""Many patterns at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from portico.core.errors import MessageError
from portico.core.patterns.pattern import Pattern
from portico.core.patterns.syntax import ALL, END, Symbols

State: TypeAlias = "dict[str, Any]"
_END: Final = chr(END)
_FACTS: Final = ""
"""The key under which a state keeps the patterns that match what was read so far, and its positions."""
MOST_NEW_STATES: Final = 2000
_STATES: Final = 10_000


class PatternSet:
    """Patterns as one automaton, whose states are made when a text first needs them.

    A state is a dictionary from the next character to the next state, so that a text costs a look-up a character,
    however many patterns there are. What it costs to make states is bounded for each text, and so is their number.
    """

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self._symbols: list[Symbols] = []
        self._follow: list[tuple[int, ...]] = []
        self._accepting: dict[int, int] = {}
        """The index of the pattern, by each of the positions with which it may end."""
        self._first: list[int] = []
        self._count = 0
        self._forget()
        for pattern in patterns:
            self.add(pattern)

    def __len__(self) -> int:
        return self._count

    def add(self, pattern: Pattern) -> None:
        """Add one, behind the others."""
        automaton, start = pattern.automaton(), len(self._symbols)
        self._symbols += automaton.symbols
        self._follow += [tuple(start + position for position in following) for following in automaton.follow]
        self._first += [start + position for position in automaton.first]
        self._accepting |= {start + position: self._count for position in automaton.last}
        self._count += 1
        self._forget()

    def matches(self, text: str) -> tuple[int, ...]:
        """The indexes of the patterns that match, in order.

        Raises MessageError for a text of which no end can be foreseen: that takes patterns with many repeats and a
        text that was made for them.
        """
        state = self.start
        try:
            for character in text:
                state = state[character]
            state = state[_END]
        except KeyError:
            state = self._along(text)
        found: tuple[int, ...] = state[_FACTS][0]
        return found

    def _along(self, text: str) -> State:
        if len(self._states) > _STATES + 4 * len(self._symbols):
            self._forget()
        state, left = self.start, MOST_NEW_STATES
        for character in text + _END:
            if character not in state:
                left -= 1
                if not left:
                    raise MessageError("malformed_request", "a text that takes too long to compare with patterns")
            state = self.step(state, character)
        return state

    def _forget(self) -> None:
        self._states: dict[tuple[int, ...], State] = {}
        self.start: State = {_FACTS: ((), None)}

    # ---- step by step

    def step(self, state: State, character: str) -> State:
        """The state behind one more character."""
        following: State | None = state.get(character)
        if following is None:
            following = state[character] = self._following(state, ord(character))
        return following

    def is_alive(self, state: State) -> bool:
        """Whether a text that begins like that may still match."""
        return bool(state[_FACTS][1])

    def ending(self, state: State) -> tuple[int, ...]:
        """The indexes of the patterns that match if the text ends here."""
        found: tuple[int, ...] = self.step(state, _END)[_FACTS][0]
        return found

    def kinds(self) -> list[int]:
        """A number for each symbol, the same for those that the patterns do not tell apart."""
        sets = set(self._symbols)
        numbers: dict[frozenset[Symbols], int] = {}
        return [
            numbers.setdefault(frozenset(each for each in sets if symbol in each), len(numbers))
            for symbol in sorted(ALL)
        ]

    def _following(self, state: State, symbol: int) -> State:
        positions = state[_FACTS][1]
        if positions is None:
            coming = {each for each in self._first if symbol in self._symbols[each]}
        else:
            symbols, follow = self._symbols, self._follow
            coming = {each for position in positions for each in follow[position] if symbol in symbols[each]}
        key = tuple(sorted(coming))
        known = self._states.get(key)
        if known is None:
            accepting = self._accepting
            matching = tuple(sorted({accepting[position] for position in key if position in accepting}))
            known = self._states[key] = {_FACTS: (matching, key)}
        return known
