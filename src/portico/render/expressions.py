"""Patterns as regular expressions that all targets read alike: those of RE2, PCRE and Rust.

Each is written anew from what Portico has read (`core/patterns/syntax.py`), so that nothing in it depends on a dialect.
It is meant for paths as they are sent, with the hexadecimal digits of `%XX` in upper case and no letter encoded. An
encoded byte is one symbol: `.` and `[^/]` take all of `%2F`, and `[a-z]` nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from portico.core.caches import remembered
from portico.core.conditions import is_value_pattern, value_pattern_of
from portico.core.patterns.syntax import (
    AT_END,
    ENCODED,
    Branch,
    Choice,
    Group,
    Node,
    One,
    Repeat,
    Symbols,
    read_pattern,
)
from portico.core.patterns.syntax import Sequence as NodeSequence
from portico.core.route_paths import is_exact, is_pattern, literal_of

_HEX: Final = frozenset(map(ord, "0123456789ABCDEF"))
_PERCENT: Final = ord("%")
_ANY_ENCODED: Final = "%[0-9A-F]{2}"
_SPECIAL: Final = re.compile(r"[.\[\](){}*+?^$|\\]")
_TIMES: Final = {(0, None): "*", (1, None): "+", (0, 1): "?"}


def expression_of(path: str) -> str:
    """What finds the paths that a route's path takes. Named groups have none: they are numbered in their order."""
    if is_pattern(path):
        mark, _, text = path.partition(" ")  # it was checked when it was read: the tree alone is needed
        return _joined(read_pattern(text, is_path=True, ignores_case=mark == "~*"), is_path=True)
    if is_exact(path):
        return f"^{literal(literal_of(path))}$"
    return f"^{literal(path.rstrip('/'))}(?:/.*)?$"


def value_expression(condition: str) -> str:
    """What finds the values of fields and parameters that meet a condition."""
    if is_value_pattern(condition):
        return _joined(value_pattern_of(condition).branches, is_path=False)
    return f"^{literal(condition)}$"


def literal(text: str) -> str:
    """What finds just this text."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _joined(branches: Sequence[Branch], *, is_path: bool) -> str:
    return "|".join(_branch(branch, is_path) for branch in branches)


def _branch(branch: Branch, is_path: bool) -> str:
    text = _Writer(is_path).written(branch.body, ends_here=True)
    begins = "^" if branch.begins else ""
    if is_path and not begins and _may_begin_with_digit(branch.body):
        begins = f"^(?:[^%]|{_ANY_ENCODED})*?"  # else it would be found within an encoded byte
    return begins + text + ("$" if branch.ends else "")


class _Writer:
    """Writes parts of a tree; in the pattern of a path, encoded bytes are symbols."""

    def __init__(self, is_path: bool) -> None:
        self._is_path = is_path

    def written(self, node: Node, *, ends_here: bool) -> str:
        """A part; `ends_here` says that nothing follows it that could begin with a digit of an encoded byte."""
        match node:
            case One(symbols):
                return self._symbols(symbols)
            case NodeSequence(parts):
                return "".join(self._parts(parts, ends_here))
            case Choice(options):
                return f"(?:{'|'.join(self.written(each, ends_here=ends_here) for each in options)})"
            case Group(_, part):
                return f"({self.written(part, ends_here=ends_here)})"
            case Repeat():
                return self._repeated(node, ends_here)

    def _parts(self, parts: Sequence[Node], ends_here: bool) -> Iterable[str]:
        for index, part in enumerate(parts):
            after = parts[index + 1 :]
            ends = not _may_begin_with_digit(NodeSequence(tuple(after))) and (ends_here or _takes_something(after))
            yield self.written(part, ends_here=ends)

    def _repeated(self, node: Repeat, ends_here: bool) -> str:
        part = node.part
        times = _TIMES.get((node.least, node.most)) or _counted(node.least, node.most)
        lazy = "?" if node.lazy else ""
        if isinstance(part, One):
            plain = _plain_class(part.symbols, with_percent=True)
            if self._is_path and ends_here and node.most is None and node.least < 2 and _takes_encoded(part.symbols):
                return plain + times + lazy
            text = self._symbols(part.symbols)
            return (text if _is_one_atom(text) else f"(?:{text})") + times + lazy
        body = self.written(part, ends_here=ends_here and not _may_begin_with_digit(part))
        return (body if isinstance(part, Choice) else f"(?:{body})") + times + lazy

    def _symbols(self, symbols: Symbols) -> str:
        if symbols == AT_END:
            return "$"
        if not self._is_path:
            return _plain_class(symbols, with_percent=True)
        plain = _plain_class(symbols, with_percent=False)
        encoded = _encoded(symbols)
        if not encoded:
            return plain
        return encoded if plain == _NOTHING else f"(?:{plain}|{encoded})"


# ---- symbols

_NOTHING: Final = r"[^\x00-\xff]"
"""What takes no byte: targets have no shorter way to say that in common."""


@remembered(2048)
def _plain_class(symbols: Symbols, *, with_percent: bool) -> str:
    """A class of characters. A percent sign is there in no path by itself."""
    wanted = frozenset(symbol for symbol in symbols if symbol < ENCODED and (with_percent or symbol != _PERCENT))
    everything = frozenset(range(ENCODED))
    if wanted == everything:
        return "."
    if len(wanted) == 1:
        (symbol,) = wanted
        return _one(symbol)
    if len(wanted) > ENCODED // 2:
        return f"[^{_ranges(everything - wanted)}]"
    return f"[{_ranges(wanted)}]" if wanted else _NOTHING


def _one(symbol: int) -> str:
    character = chr(symbol)
    if 0x20 < symbol < 0x7F:
        return "\\" + character if _SPECIAL.match(character) else character
    return f"\\x{symbol:02x}"


def _ranges(symbols: frozenset[int]) -> str:
    ordered = sorted(symbols)
    starts = [symbol for symbol in ordered if symbol - 1 not in symbols]
    ends = [symbol for symbol in ordered if symbol + 1 not in symbols]
    parts = []
    for start, end in zip(starts, ends, strict=True):
        first, last = _in_class(start), _in_class(end)
        parts.append(first if start == end else first + last if start + 1 == end else f"{first}-{last}")
    return "".join(parts)


def _in_class(symbol: int) -> str:
    character = chr(symbol)
    if character.isascii() and (character.isalnum() or character in "/_%.:;,=@!~"):
        return character
    return f"\\{character}" if character in "-]\\^[" else f"\\x{symbol:02x}"


@remembered(2048)
def _encoded(symbols: Symbols) -> str:
    """An expression for encoded bytes; those of letters and the like are never there, so they may be in it or not."""
    values = {symbol - ENCODED for symbol in symbols if symbol >= ENCODED}
    wanted = {f"{value:02X}" for value in values}
    if not wanted:
        return ""
    missing = {value for value in range(256) if value not in values and chr(value) not in _NEVER}
    if not missing:
        return _ANY_ENCODED
    by_first: dict[str, str] = {}
    for text in sorted(wanted):
        by_first[text[0]] = by_first.get(text[0], "") + text[1]
    by_second: dict[str, str] = {}
    for first, second in by_first.items():
        by_second[second] = by_second.get(second, "") + first
    parts = [_digits(firsts) + _digits(seconds) for seconds, firsts in by_second.items()]
    return "%" + (parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})")


_NEVER: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _digits(text: str) -> str:
    if len(text) == 1:
        return text
    return f"[{_ranges(frozenset(map(ord, text)))}]"


@remembered(2048)
def _takes_encoded(symbols: Symbols) -> bool:
    """Whether it takes every byte of an encoded one, if it takes some of them, and every encoded byte."""
    has_all = all(ENCODED + value in symbols or chr(value) in _NEVER for value in range(256))
    return has_all and symbols >= _HEX | {_PERCENT}


# ---- what may follow


def _may_begin_with_digit(node: Node) -> bool:
    """Whether its first symbol may be one that could be a digit of an encoded byte."""
    match node:
        case One(symbols):
            return symbols != AT_END and not symbols.isdisjoint(_HEX)
        case NodeSequence(parts):
            for part in parts:
                if _may_begin_with_digit(part):
                    return True
                if _takes_something((part,)):
                    return False
            return False
        case Choice(options):
            return any(map(_may_begin_with_digit, options))
        case Group(part=part) | Repeat(part=part):
            return _may_begin_with_digit(part)


def _takes_something(parts: Iterable[Node]) -> bool:
    """Whether no text is so short that these take nothing of it."""
    for node in parts:
        match node:
            case One():
                return True
            case NodeSequence(inner):
                found = _takes_something(inner)
            case Choice(options):
                found = all(_takes_something((each,)) for each in options)
            case Group(part=part):
                found = _takes_something((part,))
            case Repeat(part=part, least=least):
                found = least > 0 and _takes_something((part,))
        if found:
            return True
    return False


def _counted(least: int, most: int | None) -> str:
    if least == most:
        return f"{{{least}}}"
    return f"{{{least},{'' if most is None else most}}}"


def _is_one_atom(text: str) -> bool:
    return len(text) == 1 or (text[0] == "\\" and len(text) in (2, 4)) or text[0] == "[" or text.startswith("(?:")
