"""At which letter a path leaves that of a route, and how far apart the two are."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Final, NamedTuple

from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.patterns.pattern import Pattern, path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.patterns.syntax import ENCODED
from portico.proxy.routing.router import Rule

_END: Final = "the end"
_MOST_STATES: Final = 2000
"""Letters of a path that are compared with a pattern: longer ones are not near anything."""


class Difference(NamedTuple):
    """Where a path and that of a rule part: `at` letters agree, then the path has `got` where `wanted` is expected."""

    at: int
    wanted: str
    got: str

    @property
    def words(self) -> str:
        """The same as a sentence."""
        where = f"letter {self.at + 1}"
        if self.got == _END:
            return f"the path ends where {self.wanted} is expected, at {where}"
        case = "; case counts" if self.got.swapcase() == self.wanted else ""
        return f"{where} is {self.got} where {self.wanted} is expected{case}"


class Outline(NamedTuple):
    """What is compared letter by letter of a rule's path."""

    text: str
    """Literal: all of a prefix or an exact path; of a pattern what all its paths begin with."""
    is_exact: bool
    pattern: Pattern | None

    @property
    def is_prefix(self) -> bool:
        """Whether it is a prefix by whole segments."""
        return self.pattern is None and not self.is_exact


def outline_of(rule: Rule[Any]) -> Outline:
    """That of a rule."""
    if rule.pattern is not None:
        return Outline(rule.pattern.opening, False, rule.pattern)
    return Outline("" if rule.path == "/" and not rule.exact else _normal(rule.path), rule.exact, None)


def _normal(path: str) -> str:
    try:
        return text_of(segments_of(path.encode()))
    except MessageError:  # pragma: no cover - no configuration has one
        return path


def text_of(segments: tuple[bytes, ...]) -> str:
    """A normalised path as it is compared, one character for each byte."""
    return "/" + b"/".join(segments).decode("latin-1")


def agreeing(one: str, other: str) -> int:
    """How many letters two texts have in common from the beginning."""
    if one.startswith(other):
        return len(other)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def differing(one: str, other: str) -> int:
    """How many letters there are between a common beginning and a common end, in the longer of two texts.

    One that was mistyped, left out or added makes it 1, two that changed places make it 2.
    """
    start, most = agreeing(one, other), min(len(one), len(other))
    end = min(agreeing(one[::-1], other[::-1]), most - start)
    return max(len(one), len(other)) - start - end


def difference(outline: Outline, path: str, segments: tuple[bytes, ...]) -> Difference:
    """Where a path that a rule does not take leaves it."""
    text = outline.text
    at = agreeing(path, text)
    if at < len(text):
        return Difference(at, _quoted(text[at]), _letter(path, at))
    if outline.pattern is not None:
        return _pattern_difference(outline.pattern, segments)
    return Difference(at, _END if outline.is_exact else f'"/" or {_END}', _letter(path, at))


def _pattern_difference(pattern: Pattern, segments: tuple[bytes, ...]) -> Difference:
    """The automaton of the pattern says after which letter no path of it goes on like that."""
    automaton, text = PatternSet([pattern]), path_text(segments)
    state, at, shown = automaton.start, 0, ""
    for symbol in text[:_MOST_STATES]:
        shown = _written(symbol)
        state = automaton.step(state, symbol)
        if not automaton.is_alive(state):
            return Difference(at, "something else", _quoted(shown))
        at += len(shown)
    return Difference(at, "more", _END)


def _written(symbol: str) -> str:
    return symbol if ord(symbol) < ENCODED else f"%{ord(symbol) - ENCODED:02X}"


def _letter(text: str, at: int) -> str:
    return _quoted(text[at]) if at < len(text) else _END


def _quoted(letter: str) -> str:
    return f'"{letter}"' if letter != '"' else "'\"'"
