"""Numbers at known places of JSON texts that go by piece by piece: nothing is kept of the texts but where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil, isfinite
from typing import Final

import msgspec

from portico.core.json_text.pointers import Names, index_of, plain

MOST: Final = 10**12
"""The largest number that is believed: one beyond it is a mistake of its writer."""

_NUMBER: Final = re.compile(rb"(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_LONGEST_NUMBER: Final = 64
_TOKEN: Final = re.compile(rb'[\s,:]*+(?:(["{}\[\]])|([^\s,:"{}\[\]]++))')
_REST_OF_SCALAR: Final = re.compile(rb'[^\s,:"{}\[\]]*+')
_STRUCTURE: Final = re.compile(rb'"|[{\[]++|[}\]]++')
_PLAIN: Final = re.compile(rb'[^"{}\[\]]*+(?:(?:\[[^"{}\[\]]*+\]|\{[^"{}\[\]]*+\})[^"{}\[\]]*+)*+')
"""What has no string in it, with the arrays and objects that end there."""
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_ESCAPED: Final = 6
"""Bytes that one character of a name may take: `\\u0041`."""


def number_of(text: bytes) -> int | None:
    """A number from 0 up to `MOST`, rounded up; None for all else: a cost is never taken back, nor endless."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return ceil(value) if isfinite(value) and value <= MOST else None


class Places:
    """Where numbers are looked for: what a pointer's next name leads to, and which number stands here."""

    __slots__ = ("below", "has_elements", "index", "longest")

    def __init__(self) -> None:
        self.below: dict[bytes, Places] = {}
        self.has_elements = False
        """Whether one of the next names may be the number of an element."""
        self.index: int | None = None
        self.longest = 0
        """Bytes of the longest name anywhere, of the whole."""

    @classmethod
    def of(cls, pointers: Iterable[Names]) -> Places:
        """Those of pointers, whose numbers stand in their order. No pointer may begin with another one's names."""
        whole = cls()
        for index, names in enumerate(pointers):
            place = whole
            for name in names:
                place.has_elements = place.has_elements or index_of(name) is not None
                place = place.below.setdefault(name, cls())
                whole.longest = max(whole.longest, len(name))
            place.index = index
        return whole


class Scan:
    """Reads texts that follow each other, in pieces cut anywhere; `found` has the last number seen at each place.

    What is no JSON does no harm: it may be that nothing is found in it, nor in what follows it. Memory is bounded,
    whatever comes: a name is kept as far as it may be one of those looked for, and depth is a number.
    """

    # fmt: off
    __slots__ = (
        "_below", "_counts", "_escaped", "_is_key", "_kept", "_next", "_path", "_scalar", "_string", "_whole", "found",
    )
    # fmt: on

    def __init__(self, whole: Places, count: int) -> None:
        self.found: list[int | None] = [None] * count
        self._whole = whole
        self.restart()

    def restart(self) -> None:
        """Another text begins."""
        self._path: list[Places] = []
        """The objects and arrays that lead to a place, around what comes next."""
        self._counts: list[int] = []
        """For each of these: the element that came last, or -1 before the first, of an array; -2 for an object."""
        self._below = 0
        """How many others are open, of which nothing is looked for."""
        self._next: Places | None = self._whole
        """What the value that comes next leads to; None: nothing, or a name comes first."""
        self._is_key = False
        """Whether a name of an object comes next that leads to a place."""
        self._string = self._escaped = self._scalar = False
        """Whether the last piece ended in a string, behind its backslash, or in another scalar."""
        self._kept: bytearray | None = None
        """What came of a name, or of a number, so far."""

    @property
    def is_between(self) -> bool:
        """Whether nothing of a text has come yet, or all of it."""
        return not self._path and not self._below and not self._string and self._next is self._whole

    def feed(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        """Read a piece, or a part of it."""
        end = len(data) if end is None else end
        while at < end:
            if self._string:
                at = self._read_string(data, at, end)
            elif self._scalar:
                at = self._read_scalar(data, at, end)
            elif self._below:
                at = self._read_over(data, at, end)
            else:
                at = self._read_token(data, at, end)

    def end(self) -> None:
        """No more comes of the text: a number that stood alone at its end is one."""
        if self._scalar:
            self._end_scalar()

    # ---- parts

    def _read_token(self, data: bytes, at: int, end: int) -> int:
        match = _TOKEN.match(data, at, end)
        if match is None:
            return end
        token = match[1]
        if token is None:
            self._begin_value()
            self._scalar = True
            self._kept = bytearray() if self._next is not None and self._next.index is not None else None
            return match.start(2)
        if token in b"}]":
            self._close()
        elif token == b'"':
            if not self._is_key:
                self._begin_value()
            self._kept = bytearray() if self._is_key else None
            self._string = True
        else:
            self._open(token == b"[")
        return match.end()

    def _read_over(self, data: bytes, at: int, end: int) -> int:
        """Read to the end of what leads to no place, or as far as the piece goes."""
        below, skip, find, read = self._below, _PLAIN.match, _STRUCTURE.match, _STRING.match
        while (plain := skip(data, at, end)) and (match := find(data, plain.end(), end)):
            start, at = match.span()
            token = data[start]
            if token == _QUOTE:
                string = read(data, at, end)
                assert string is not None  # it matches nothing, too
                at = string.end()
                if at == end or data[at] == _BACKSLASH:
                    self._below, self._string, self._escaped = below, True, at < end
                    return end
                at += 1
            elif token in b"{[":
                below += at - start
            elif below > at - start:
                below -= at - start
            else:
                self._below = 0
                self._end_value()
                return start + below
        self._below = below
        return end

    def _read_string(self, data: bytes, at: int, end: int) -> int:
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        match = _STRING.match(data, at, end)
        assert match is not None  # it matches nothing, too
        at = match.end()
        if self._kept is not None:
            self._keep(data[start:at], self._whole.longest * _ESCAPED)
        if at == end:
            return at
        if data[at] == _BACKSLASH:  # the last byte of the piece
            self._escaped = True
            if self._kept is not None:
                self._kept += b"\\"
            return at + 1
        self._string = False
        if not self._below:
            self._end_string()
        return at + 1

    def _read_scalar(self, data: bytes, at: int, end: int) -> int:
        match = _REST_OF_SCALAR.match(data, at, end)
        assert match is not None  # it matches nothing, too
        if self._kept is not None:
            self._keep(match[0], _LONGEST_NUMBER)
        if match.end() < end:
            self._end_scalar()
        return match.end()

    def _keep(self, data: bytes, most: int) -> None:
        assert self._kept is not None
        self._kept += data[: most + 1 - len(self._kept)] if len(self._kept) <= most else b""

    # ---- what they mean

    def _begin_value(self) -> None:
        """In an array the place of an element is its number."""
        if self._counts and self._counts[-1] > _OF_OBJECT:
            self._counts[-1] += 1
            self._next = self._path[-1].below.get(b"%d" % self._counts[-1])

    def _open(self, is_array: bool) -> None:
        self._begin_value()
        place = self._next
        self._is_key = False
        if place is None or not (place.has_elements if is_array else place.below):
            self._below = 1
            return
        self._path.append(place)
        self._counts.append(-1 if is_array else _OF_OBJECT)
        self._next = None
        self._is_key = not is_array

    def _close(self) -> None:
        if self._path:
            self._path.pop()
            self._counts.pop()
        self._end_value()

    def _end_value(self) -> None:
        """Go on behind a value."""
        if not self._path:
            self.restart()
            return
        self._next = None
        self._is_key = self._counts[-1] == _OF_OBJECT

    def _end_string(self) -> None:
        if not self._is_key:
            self._end_value()
            return
        self._is_key = False
        name, self._kept = bytes(self._kept or b""), None
        self._next = self._path[-1].below.get(_plain_name(name) if b"\\" in name else name)

    def _end_scalar(self) -> None:
        text, self._kept, self._scalar = self._kept, None, False
        if text is not None and self._next is not None and self._next.index is not None:
            number = number_of(bytes(text))
            if number is not None:
                self.found[self._next.index] = number
        self._end_value()


_BACKSLASH: Final = ord("\\")
_QUOTE: Final = ord('"')
_OF_OBJECT: Final = -2


def _plain_name(name: bytes) -> bytes:
    try:
        return plain(msgspec.json.decode(b'"' + name + b'"', type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
