"""Request heads that repeat: a client sends the same fields again and again, and the same bytes mean the same.

A head whose bytes after the target were received before on its connection is the same head with another target. One
that differs only in lines that decide nothing takes over what the other lines decided.
"""

from __future__ import annotations

from itertools import compress, count
from operator import ne
from typing import Final

from portico.core.errors import MessageError
from portico.core.messages import Fields, RequestHead
from portico.wire.http1.grammar import DECIDING, content_length, name_of

_END: Final = b"\r\n\r\n"
_LENGTH: Final = frozenset({b"content-length"})
_PLAIN: Final = bytes(byte if byte in b'!"' or b"$" <= bytes((byte,)) <= b"~" else byte ^ 0x80 for byte in range(256))
"""Maps each byte that a target may have to itself, and all others elsewhere."""
_ENTRIES: Final = 6
"""Heads with different fields that are cached per client: a browser's differ for a page, a script, an image."""
_ENTRY_SIZE: Final = 8192
"""Bytes of each of them, at most."""
_MISSES: Final = 24
"""Misses in a row after which no more heads are cached."""


class RequestHeads:
    """The recent heads of one connection's client."""

    __slots__ = ("_misses", "entries", "latest")

    def __init__(self) -> None:
        self.latest: RequestHead | None = None
        """The last request, if the next one may be recognized by its fields."""
        self.entries: dict[bytes, RequestHead] = {}
        """Earlier ones that had other fields, by their `tail`."""
        self._misses = 0
        """Requests in a row that matched none of these."""

    def find(self, data: bytes) -> RequestHead | None:
        """The request at the start of `data`, if its fields are known from one before it on this connection.

        It is the same head with another target. Where lines differ on which nothing depends but the length of its
        body, it is a new one. None where they do not, where the request line is unusual, and where more follows than
        its body. The length of the target is the caller's to check; `add` it if it is not the latest.
        """
        latest, entries = self.latest, self.entries
        if latest is None:
            if not entries:
                return None
            latest = next(reversed(entries.values()))
        try:
            method, target, tail = data.split(b" ", 2)
        except ValueError:
            return None
        request: RequestHead | None
        if tail == latest.tail:
            request = latest
        elif tail[-4:] == _END:
            request = (entries and entries.get(tail)) or _like(latest, tail)
        else:  # a body follows
            rest = len(tail)
            tail = tail[: tail.find(_END) + len(_END)]
            request = latest if tail == latest.tail else (entries and entries.get(tail)) or _like(latest, tail)
            if request is None or rest - len(tail) > request.framing:
                return None
        if request is None or method != request.method or target[:1] != b"/" or target.translate(_PLAIN) != target:
            return None
        request.target = target
        return request

    def add(self, request: RequestHead) -> None:
        """Cache the latest before `request` replaces it, unless nearly every head of this client is new."""
        latest, entries = self.latest, self.entries
        self._misses = 0 if request.tail in entries else self._misses + 1
        if self._misses > _MISSES:
            entries.clear()
        elif latest is not None and latest.tail not in entries and len(latest.tail) <= _ENTRY_SIZE:
            if len(entries) >= _ENTRIES:
                del entries[next(iter(entries))]
            entries[latest.tail] = latest
        self.latest = request if request.framing >= 0 and request.version == 11 else None

    def forget(self) -> None:
        """Have the next request parsed, even if it repeats an earlier one."""
        self.latest = None
        self.entries.clear()


def _like(latest: RequestHead, tail: bytes) -> RequestHead | None:
    """A head with this whole `tail`, except for its target, if all deciding lines but its body's length are equal."""
    if tail[:10] != b"HTTP/1.1\r\n":
        return None
    lines = tail[10:-4].split(b"\r\n")
    changed = changed_names(lines, latest.fields)
    if changed is None:
        return None
    request = RequestHead()
    request.method, request.method_name = latest.method, latest.method_name
    request.version = 11
    request.tail = tail
    request.known, request.known_by = latest.known, latest.known_by
    request.fields = fields = Fields(latest.fields.names, lines)
    fields.shape = shape = latest.fields.shape
    request.decide_like(latest)
    if not DECIDING.isdisjoint(changed):
        if not _LENGTH.issuperset(DECIDING.intersection(changed)) or b"expect" in latest.noted:
            return None
        try:
            request.framing = content_length(fields, "malformed_request")
        except MessageError:
            return None  # the error is found when it is read from the beginning
        assert shape is not None
        fields.shape = shape.of(lines)
    return request


def changed_names(lines: list[bytes], fields: Fields) -> list[bytes] | None:
    """The names of those lines that differ from earlier `fields`; None if names differ or a line is not valid."""
    names = fields.names
    if len(lines) != len(names):
        return None
    changed = []
    try:
        for index in compress(count(), map(ne, lines, fields.lines)):
            name = names[index]
            if name_of(lines[index]) != name:
                return None
            changed.append(name)
    except ValueError:
        return None
    return changed
