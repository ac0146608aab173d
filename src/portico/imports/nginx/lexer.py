"""The words of an nginx file, with their lines.

As nginx's own reader has it: a word ends at white space, `;` or a brace that no dollar sign stands before; quotes count
at its beginning only; a backslash takes quotes and itself literally, makes white space of `\\t`, `\\r` and `\\n`, and
else stays.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from portico.imports.remarks import SourceError, Where, quoted

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|\#[^\n]*)
    | (?P<mark>[;{}])
    | "(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"
    | '(?P<single>[^'\\]*(?:\\.[^'\\]*)*)'
    | (?P<word>(?!["'])(?:[^ \t\r\n;{\\$]|\$\{|\$|\\.)+)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\([\"'\\trn])")
_ESCAPED: Final = {"t": "\t", "r": "\r", "n": "\n"}
_LUA: Final = re.compile(
    r"""
    --\[(?P<c>=*)\[.*?\](?P=c)\] | --[^\n]* | \[(?P<s>=*)\[.*?\](?P=s)\]
    | "[^"\\\n]*(?:\\.[^"\\\n]*)*" | '[^'\\\n]*(?:\\.[^'\\\n]*)*'
    | (?P<brace>[{}])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A word, or one of the marks `;`, `{` and `}`; the body of a block of Lua is one word, behind its `{`."""

    text: str
    line: int
    is_mark: bool = False


def tokens(text: str, file: str, first_line: int = 1) -> Iterator[Token]:
    """All of a file, whose lines count from `first_line`. Raises SourceError for what nginx would not read either."""
    ends = [found.start() for found in re.finditer("\n", text)]
    at, size = 0, len(text)
    head = ""  # the word that begins the statement
    while at < size:
        found = _TOKEN.match(text, at)
        line = bisect_right(ends, at - 1) + first_line
        if found is None:
            ending = "quotes are opened here, and not closed" if text[at] in "\"'" else "this is no word"
            raise SourceError(Where(file, line), f"{ending}: {quoted(text[at : at + 40])}")
        at = found.end()
        kind = found.lastgroup
        if kind == "space":
            continue
        if kind == "mark":
            yield Token(found[0], line, True)
            if found[0] == "{" and head.endswith("_by_lua_block"):
                end = _end_of_lua(text, at, Where(file, line))
                yield Token(text[at:end], line)
                at = end
            head = ""
            continue
        if kind != "word" and at < size and text[at] not in " \t\r\n;{)":
            raise SourceError(Where(file, line), f"a space is missing behind {quoted(found[0])}")
        word = found[kind or "word"]
        if "\\" in word:
            word = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), word)
        head = head or word
        yield Token(word, line)


def _end_of_lua(text: str, start: int, where: Where) -> int:
    """Where the brace is that ends a block of Lua."""
    depth = 0
    for found in _LUA.finditer(text, start):
        if found["brace"] == "{":
            depth += 1
        elif found["brace"]:
            if depth == 0:
                return found.start()
            depth -= 1
    raise SourceError(where, "the block of Lua that begins here is not closed")
