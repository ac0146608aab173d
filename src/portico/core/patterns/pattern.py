"""One pattern: what is known of it beforehand, and what its groups capture."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Final

from portico.core.caches import remembered
from portico.core.paths import segments_of
from portico.core.patterns.automaton import Automaton, automaton_of
from portico.core.patterns.safety import backtracks_in_linear_time
from portico.core.patterns.syntax import (
    ALL,
    AT_END,
    ENCODED,
    Branch,
    Choice,
    Group,
    Node,
    One,
    Repeat,
    Symbols,
    group_names,
    read_pattern,
)
from portico.core.patterns.syntax import Sequence as NodeSequence

_ENCODED: Final = re.compile(r"%([0-9A-F]{2})")
_UNITS: Final = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """One pattern. It matches a text in which it is found, from the beginning with a `^`, to the end with a `$`.

    `change` is what it takes for its symbols, where the texts are not those that it was written for.
    """

    text: str
    branches: tuple[Branch, ...]
    change: Callable[[Symbols], Symbols] | None = None

    def automaton(self) -> Automaton:
        """The automaton that matches its texts. Raises ValueError if it is too large."""
        automaton = automaton_of(self.branches)
        return automaton if self.change is None else automaton.changed(self.change)

    def decoded(self) -> Pattern:
        """The same for paths that are decoded."""
        return replace(self, change=_decoded)

    def folded(self) -> Pattern:
        """The same for paths that are decoded, and folded; of letters beyond ASCII, any stands for any."""
        return replace(self, change=_folded)

    # ---- what is known beforehand

    @cached_property
    def prefix(self) -> str:
        """The whole segments with which every path begins that it matches, as in a route's prefix; `/` for none."""
        return self.beginning or "/"

    @property
    def beginning(self) -> str:
        """The same as it stands in paths: empty for none."""
        return "".join(map(_shown, self._beginning))

    @cached_property
    def rest(self) -> Pattern:
        """The pattern of what follows them; of a path that ends there it is nothing."""
        length = len(self._beginning)
        if not length:
            return self
        (branch,) = self.branches
        rest = NodeSequence(_parts(branch)[length:])
        return Pattern(_written(rest) + "$" * branch.ends, (Branch(rest, True, branch.ends),), self.change)

    @property
    def opening(self) -> str:
        """The literal text with which every text begins that it matches."""
        branch = self.branches[0]
        if len(self.branches) > 1 or not branch.begins:
            return ""
        return "".join(takewhile(bool, map(_only_symbol, _parts(branch))))

    @cached_property
    def _beginning(self) -> str:
        """The same, with one character for each symbol."""
        branch, opening = self.branches[0], self.opening
        is_all = branch.ends and len(opening) == len(_parts(branch))
        return opening if is_all and not opening.endswith("/") else opening[: max(opening.rfind("/"), 0)]

    @cached_property
    def outline(self) -> tuple[str | Group, ...] | None:
        """Its literal parts and named groups in order, if it consists of nothing else; None for all others."""
        branch = self.branches[0]
        if len(self.branches) > 1 or not (branch.begins and branch.ends):
            return None
        return _outline(_parts(branch))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its groups."""
        return tuple(name for branch in self.branches for name in group_names(branch.body))

    # ---- what it captures

    def captured(self, path: bytes) -> dict[str, bytes] | None:
        """What each named group captured of a path, byte for byte as it was sent; None where it does not match.

        It may be asked only of a pattern that begins with `^` and does not backtrack (`safety`). Raises MessageError
        for an ambiguous path.
        """
        is_plain = b"%" not in path
        text = path.decode("latin-1") if is_plain else path_text(segments_of(path))
        beginning = self._beginning
        found = self.expression.match(text, len(beginning)) if text.startswith(beginning) else None
        if found is None:
            return None
        if is_plain:
            return {name: part.encode("latin-1") for name, part in found.groupdict("").items()}
        units = _UNITS.findall(path)
        return {name: b"".join(units[slice(*found.span(name))]) for name in self.names}

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """What matches behind the beginning; patterns that differ in that alone share it."""
        rest = self.rest.branches
        return _compiled("|".join(_written(branch.body) + (r"\Z" if branch.ends else "") for branch in rest))


_compiled: Final = remembered(2048)(re.compile)


def _parts(branch: Branch) -> tuple[Node, ...]:
    return branch.body.parts if isinstance(branch.body, NodeSequence) else (branch.body,)


def path_pattern(text: str, *, ignores_case: bool = False) -> Pattern:
    """A pattern for normalised paths. Raises ValueError."""
    pattern = _pattern(text, is_path=True, ignores_case=ignores_case)
    if pattern.names and not all(branch.begins for branch in pattern.branches):
        raise ValueError(f"a pattern with named groups begins with ^: ^/.*{text}")
    if pattern.names and not backtracks_in_linear_time(pattern.branches):
        raise ValueError(
            "what its groups capture could take very long to find: two of its repeats may take the same text; "
            "say where each ends, as [^/]+ does, or leave the names out"
        )
    return pattern


def value_pattern(text: str, *, ignores_case: bool = False) -> Pattern:
    """A pattern for values of header fields and query parameters. Raises ValueError."""
    return _pattern(text, is_path=False, ignores_case=ignores_case)


def _pattern(text: str, *, is_path: bool, ignores_case: bool) -> Pattern:
    pattern = Pattern(text, read_pattern(text, is_path=is_path, ignores_case=ignores_case))
    pattern.automaton()  # is not kept: it is large, and of use once
    return pattern


# ---- texts


def path_text(segments: Sequence[bytes]) -> str:
    """A normalised path, or what follows a prefix, as patterns see it: one character for each symbol."""
    if not segments:
        return ""
    text = "/" + b"/".join(segments).decode("latin-1")
    return _ENCODED.sub(_one_character, text) if "%" in text else text


def _one_character(match: re.Match[str]) -> str:
    return chr(ENCODED + int(match[1], 16))


def _decoded(symbols: Symbols) -> Symbols:
    if symbols == AT_END:
        return symbols
    return frozenset(symbol % ENCODED for symbol in symbols) if max(symbols, default=0) >= ENCODED else symbols


def _folded(symbols: Symbols) -> Symbols:
    if symbols == AT_END:
        return symbols
    found = {ord(chr(symbol).lower()) for symbol in _decoded(symbols) if symbol < 0x80}
    return (
        frozenset(found | set(range(0x80, ENCODED))) if any(symbol >= 0x80 for symbol in symbols) else frozenset(found)
    )


# ---- what is written of a tree


def _written(node: Node) -> str:
    """A part of a pattern in the words of `re`."""
    match node:
        case One(symbols):
            return _class(symbols)
        case NodeSequence(parts):
            return "".join(map(_written, parts))
        case Choice(options):
            return f"(?:{'|'.join(map(_written, options))})"
        case Group(name, part):
            return f"(?P<{name}>{_written(part)})"
        case Repeat(part, least, most, lazy):
            times = f"{{{least},{'' if most is None else most}}}{'?' if lazy else ''}"
            return f"(?:{_written(part)}){times}"


def _class(symbols: Symbols) -> str:
    if symbols == ALL:
        return "(?s:.)"
    if symbols == AT_END:
        return r"\Z"
    ordered = sorted(symbols)
    starts = [symbol for symbol in ordered if symbol - 1 not in symbols]
    ends = [symbol for symbol in ordered if symbol + 1 not in symbols]
    ranges = "".join(f"\\u{start:04x}-\\u{end:04x}" for start, end in zip(starts, ends, strict=True))
    return f"[{ranges}]" if ranges else "(?!)"


def _outline(parts: Sequence[Node]) -> tuple[str | Group, ...] | None:
    found: list[str | Group] = []
    for part in parts:
        symbol = part if isinstance(part, Group) else _only_symbol(part)
        if not symbol:
            return None
        if isinstance(symbol, Group):
            found.append(symbol)
        elif found and isinstance(found[-1], str):
            found[-1] += _shown(symbol)
        else:
            found.append(_shown(symbol))
    return tuple(found)


def _only_symbol(node: Node) -> str:
    """The one symbol that a node takes, as a character; empty for others."""
    is_one = isinstance(node, One) and len(node.symbols) == 1 and node.symbols != AT_END
    return chr(min(node.symbols)) if is_one and isinstance(node, One) else ""


def _shown(symbol: str) -> str:
    """A symbol as it is written in a path."""
    return symbol if ord(symbol) < ENCODED else f"%{ord(symbol) - ENCODED:02X}"
