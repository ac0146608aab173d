"""Patterns of paths as Kong compares them: decoded but for what is reserved, with named groups, by Rust's rules.

Each is written anew from what Portico has read: `\\d` and `\\w` are other characters in Rust, and an escape that means
nothing is an error there. PCRE, by which Kong checks them first, reads them alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

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
)
from portico.core.patterns.syntax import Sequence as NodeSequence
from portico.core.route_paths import pattern_of
from portico.render.expressions import literal

_IN_CLASS: Final = frozenset(r"\]^-[&~")
RESERVED: Final = frozenset(b"!*'();:@&=+$,/?%#[]")
"""Bytes that stay encoded where a path is decoded (RFC 3986, section 2.2, and the percent sign)."""
_LEAST_RANGE: Final = 3


def expression_of(path: str) -> str:
    """A route's pattern without the `^` that Kong puts in front. Raises ValueError where Kong has no words for it."""
    found = [_branch(branch) for branch in pattern_of(_with_case(path)).branches]
    text = found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"
    if path.startswith("~*"):
        text = f"{text[:1]}(?i){text[1:]}" if text.startswith("/") else f"(?i){text}"
    if not text.startswith("/"):  # Kong demands a slash in front: one that may be left out asks for nothing
        text = f"/{text}" if text.startswith(".*") and _begins_behind_slash(path) else f"/?{text}"
    if "//" in text:
        raise ValueError("Kong has no expressions with two slashes in a row")
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("Kong has no expressions with a percent sign that encodes nothing")
    return text


def _with_case(path: str) -> str:
    return "~" + path.removeprefix("~*") if path.startswith("~*") else path


def _branch(branch: Branch) -> str:
    return ("" if branch.begins else ".*") + _node(branch.body) + ("$" if branch.ends else "")


def _begins_behind_slash(path: str) -> bool:
    """Whether what it looks for cannot be found at the first slash."""
    branches = pattern_of(path).branches
    return len(branches) == 1 and not _may_begin_with_slash(branches[0].body)


def _may_begin_with_slash(node: Node) -> bool:
    match node:
        case One(symbols):
            return ord("/") in symbols or symbols == AT_END
        case NodeSequence(parts):
            return not parts or _may_begin_with_slash(parts[0])
        case Choice(options):
            return any(map(_may_begin_with_slash, options))
        case Repeat(part=part, least=least):
            return least == 0 or _may_begin_with_slash(part)
        case Group(part=part):
            return _may_begin_with_slash(part)


def _node(node: Node) -> str:
    match node:
        case One(symbols):
            return _one(symbols)
        case NodeSequence(parts):
            return "".join(_joined(parts))
        case Choice(options):
            return f"(?:{'|'.join(map(_node, options))})"
        case Group(name, part):
            return f"(?<{name}>{_node(part)})"
        case Repeat(part, least, most, lazy):
            return _repeated(_node(part), part, least, most) + ("?" if lazy else "")


def _joined(parts: Sequence[Node]) -> Iterator[str]:
    """Parts one behind the other; encoded bytes that are one character are joined."""
    pending = b""
    for part in parts:
        byte = _byte(part)
        if byte is not None:
            pending += byte
            continue
        if pending:
            yield literal(_text(pending))
            pending = b""
        yield _node(part)
    if pending:
        yield literal(_text(pending))


def _byte(node: Node) -> bytes | None:
    """The byte of an encoded symbol that is decoded."""
    if isinstance(node, One) and len(node.symbols) == 1 and node.symbols != AT_END:
        (symbol,) = node.symbols
        if symbol >= ENCODED and symbol - ENCODED not in RESERVED:
            return bytes([symbol - ENCODED])
    return None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("it has bytes that are no UTF-8") from None


def _repeated(text: str, part: Node, least: int, most: int | None) -> str:
    if not isinstance(part, (One, Choice, Group)) or text[:1] == "%":
        text = f"(?:{text})"
    marks = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    if (least, most) in marks:
        return text + marks[least, most]
    return text + (f"{{{least}}}" if most == least else f"{{{least},{'' if most is None else most}}}")


def _one(symbols: Symbols) -> str:
    if symbols == AT_END:
        return "$"
    if symbols == ALL:
        return "."
    plain = frozenset(symbol for symbol in symbols if symbol < ENCODED)
    encoded = frozenset(symbol - ENCODED for symbol in symbols - plain)
    if len(encoded) == ENCODED:
        return f"[^{_ranges(frozenset(range(ENCODED)) - plain)}]"
    if not encoded:
        return _plain(plain)
    if plain or len(encoded) > 1 or not encoded <= RESERVED:
        raise ValueError("Kong compares decoded paths, and this tells encoded characters apart")
    return f"%{min(encoded):02X}"


def _plain(symbols: Symbols) -> str:
    if len(symbols) == 1:
        return literal(chr(min(symbols)))
    return f"[{_ranges(frozenset(symbol for symbol in symbols if symbol < 0x80))}]"


def _ranges(symbols: Iterable[int]) -> str:
    ordered = sorted(symbols)
    found, at = "", 0
    while at < len(ordered):
        end = at
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        run = ordered[at : end + 1]
        found += (
            f"{_in_class(run[0])}-{_in_class(run[-1])}" if len(run) >= _LEAST_RANGE else "".join(map(_in_class, run))
        )
        at = end + 1
    return found


def _in_class(symbol: int) -> str:
    letter = chr(symbol)
    if letter in _IN_CLASS:
        return "\\" + letter
    return letter if letter.isprintable() and letter != " " else f"\\x{symbol:02x}"
