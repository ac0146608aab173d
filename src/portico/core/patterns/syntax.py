"""The text of a pattern, read into a tree.

Patterns are the part of Python's regular expressions that an automaton can match: literals, `.`, classes, `\\d` and
`\\w`, alternatives, groups with and without a name, and repeats. `^` stands at the beginning and `$` at the end, of a
group too, as in `^/api(/|$)`; without them anything may come before and after.

A symbol is a character's code. In the pattern of a path, `%XX` is one symbol too, beyond those of all characters: so
`.` and `[^/]` take `%2F` whole, and `%` alone is nothing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from portico.core.caches import remembered

Symbols: TypeAlias = frozenset[int]

ENCODED: Final = 0x100
"""What is added to the byte of `%XX`."""
ALL: Final = frozenset(range(2 * ENCODED))
END: Final = 2 * ENCODED
"""The symbol that follows the last one of each text."""
AT_END: Final = frozenset({END})
_UNRESERVED: Final = frozenset(map(ord, string.ascii_letters + string.digits + "-._~"))
_DIGITS: Final = frozenset(map(ord, string.digits))
_WORD: Final = _DIGITS | frozenset(map(ord, string.ascii_letters + "_"))
_SPACE: Final = frozenset(map(ord, " \t"))
_CLASSES: Final = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _SPACE,
    "D": ALL - _DIGITS,
    "W": ALL - _WORD,
    "S": ALL - _SPACE,
}
_NOWHERE_IN_PATHS: Final = frozenset(map(ord, " \t#?"))
_NAME: Final = re.compile(r"\?P?<([A-Za-z_]\w*)>", re.ASCII)
_COUNT: Final = re.compile(r"\{(\d{1,4})(,?)(\d{0,4})\}", re.ASCII)
MOST_REPEATS: Final = 255
_BRACE: Final = (
    "braces repeat what stands before them: {2}, {2,} or {2,5}; a part with a name is (?P<id>[^/]+), the character \\{"
)


@dataclass(frozen=True, slots=True)
class One:
    """One symbol of several."""

    symbols: Symbols


@remembered(2048)
def one(symbols: Symbols) -> One:
    """The same object for the same symbols: patterns have many of them, and few that differ."""
    return One(symbols)


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`part` from `least` to `most` times; None: any number of times. `lazy`: as few as will do."""

    part: Node
    least: int
    most: int | None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group with a name, whose text is captured."""

    name: str
    part: Node


Node: TypeAlias = One | Sequence | Choice | Repeat | Group


@dataclass(frozen=True, slots=True)
class Branch:
    """One of the alternatives of a whole pattern, and whether `^` and `$` bind it."""

    body: Node
    begins: bool
    ends: bool


def read_pattern(text: str, *, is_path: bool, ignores_case: bool = False) -> tuple[Branch, ...]:
    """The alternatives of a pattern. Raises ValueError, which says what to write instead."""
    return _Reader(text, is_path, ignores_case).read()


def group_names(node: Node) -> Iterator[str]:
    """The names of the groups in a tree, in order."""
    match node:
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from group_names(part)
        case Repeat(part=part):
            yield from group_names(part)
        case Group(name, part):
            yield name
            yield from group_names(part)


class _Reader:
    def __init__(self, text: str, is_path: bool, ignores_case: bool) -> None:
        self.text = text
        self.is_path = is_path
        self.ignores_case = ignores_case
        self.at = 0
        self.names: set[str] = set()

    def read(self) -> tuple[Branch, ...]:
        if not self.text:
            raise ValueError("a pattern is written after the ~, such as ~ ^/users/(?P<id>[0-9]+)$")
        if wrong := re.search(r"[^ -~]", self.text):
            written = "".join(f"%{byte:02X}" for byte in wrong[0].encode())
            raise ValueError(
                f"a pattern has ASCII only: write {written}" if self.is_path else "a pattern has ASCII only"
            )
        branches = [self._branch()]
        while self._take("|"):
            branches.append(self._branch())
        if self._next():
            raise ValueError("the pattern has a ) without its (")
        return tuple(branches)

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, wanted: str) -> bool:
        found = self.text.startswith(wanted, self.at)
        if found:
            self.at += len(wanted)
        return found

    def _branch(self) -> Branch:
        begins = self._take("^")
        parts = self._sequence().parts
        ends = parts[-1:] == (One(AT_END),)
        return Branch(Sequence(parts[:-1] if ends else parts), begins, ends)

    def _sequence(self) -> Sequence:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return Sequence(tuple(parts))

    def _atom(self) -> Node:
        character = self._next()
        self.at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return one(self._class())
        if character == ".":
            return One(ALL)
        if character == "$":
            if self._next() not in ("", "|", ")"):
                raise ValueError("$ stands at the end of a pattern or a group; the character itself is \\$")
            return One(AT_END)
        if character == "\\":
            return one(self._cased(self._escaped()))
        if character in "*+?":
            raise ValueError(f"{character} has nothing before it to repeat; the character itself is \\{character}")
        if character == "{":
            raise ValueError(_BRACE)
        if character == "^":
            raise ValueError("^ stands at the beginning of a pattern; the character itself is \\^")
        return one(self._cased(self._literal(character)))

    def _literal(self, character: str) -> Symbols:
        symbol = ord(character)
        if not self.is_path:
            return frozenset({symbol})
        if character == "%":
            digits = self.text[self.at : self.at + 2]
            if not re.fullmatch("[0-9A-Fa-f]{2}", digits):
                raise ValueError("a percent sign comes with two hexadecimal digits; the character itself is %25")
            self.at += 2
            byte = int(digits, 16)
            return frozenset({byte if byte in _UNRESERVED else ENCODED + byte})
        if symbol in _NOWHERE_IN_PATHS:
            detail = "write query: {name: value} beside it" if character == "?" else f"write %{symbol:02X}"
            raise ValueError(f"no path has {'a space' if character == ' ' else character} in it: {detail}")
        return frozenset({symbol})

    def _escaped(self) -> Symbols:
        character = self._next()
        self.at += 1
        if not character:
            raise ValueError("the pattern ends with a backslash")
        if character in _CLASSES:
            return _CLASSES[character]
        if character.isalnum():
            raise ValueError(f"\\{character} is not supported; of such words there are \\d, \\w, \\s, \\D, \\W and \\S")
        return self._literal(character)

    def _class(self) -> Symbols:
        negated = self._take("^")
        found: set[int] = set()
        first = True
        while first or self._next() != "]":
            found |= self._class_item()
            first = False
        self.at += 1
        symbols = self._cased(frozenset(found))
        return ALL - symbols if negated else symbols

    def _class_item(self) -> Symbols:
        start = self._class_symbols()
        if self._next() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return start
        self.at += 1
        end = self._class_symbols()
        if len(start) != 1 or len(end) != 1 or min(start) > min(end):
            raise ValueError(f"a range such as a-z goes from one character to a later one: {self.text}")
        return frozenset(range(min(start), min(end) + 1))

    def _class_symbols(self) -> Symbols:
        character = self._next()
        if not character:
            raise ValueError("the pattern has a [ without its ]")
        if character == "[" and self.text[self.at + 1 : self.at + 2] in (":", ".", "="):
            raise ValueError("[:name:] is not supported: write a-z, 0-9 or \\w")
        self.at += 1
        if character == "\\":
            return self._escaped()
        if self.is_path and character == "%":
            return self._literal(character)
        return frozenset({ord(character)})

    def _cased(self, symbols: Symbols) -> Symbols:
        if not self.ignores_case:
            return symbols
        letters = (chr(symbol) for symbol in symbols if symbol < 0x80 and chr(symbol).isalpha())
        return symbols | {ord(letter.swapcase()) for letter in letters}

    def _group(self) -> Node:
        name = None
        if not self._take("?:") and self._next() == "?":
            named = _NAME.match(self.text, self.at)
            if named is None:
                raise ValueError(_group_advice(self.text[self.at :]))
            name = named[1]
            self.at = named.end()
            if name in self.names:
                raise ValueError(f"the name {name} is in the pattern twice")
            self.names.add(name)
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        if not self._take(")"):
            raise ValueError("the pattern has a ( without its )")
        part: Node = options[0] if len(options) == 1 else Choice(tuple(options))
        return part if name is None else Group(name, part)

    def _repeated(self, part: Node) -> Node:
        least: int = 1
        most: int | None = 1
        if self._take("*"):
            least, most = 0, None
        elif self._take("+"):
            least, most = 1, None
        elif self._take("?"):
            least = 0
        elif self._next() == "{":
            least, most = self._count()
        else:
            return part
        lazy = self._take("?")
        if self._next() and self._next() in "*+?{":
            raise ValueError(f"two repeats follow each other in {self.text}; put what is repeated into a group: (?:…)")
        return Repeat(part, least, most, lazy)

    def _count(self) -> tuple[int, int | None]:
        count = _COUNT.match(self.text, self.at)
        if count is None:
            raise ValueError(_BRACE)
        self.at = count.end()
        least = int(count[1])
        most = int(count[3]) if count[3] else (None if count[2] else least)
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < max(least, 1)):
            raise ValueError(f"{count[0]}: a repeat goes from a number to a larger one, to {MOST_REPEATS} at most")
        return least, most


def _group_advice(text: str) -> str:
    if text.startswith(("?=", "?!", "?<=", "?<!")):
        return "a pattern cannot look ahead or behind; write a route of its own for the exception"
    if re.match(r"\?[a-z]*i", text):
        return "a pattern that ignores case begins with ~*"
    return f"({text[:2]} is not supported: a group is (…), (?:…) or (?P<name>…)"
