"""Reading a cost from a response's content, piece by piece; the pieces are not kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Final, Protocol

from portico.core.codings import CodingError, codings_of
from portico.core.errors import MessageError
from portico.core.json_text.pointers import inner_names_of
from portico.core.json_text.scan import MOST, Places, Scan, number_of
from portico.policies.costs.settings import CostSettings
from portico.policies.decompress import Decoding

_MOST_DECODED: Final = 1 << 40
_MOST_RATIO: Final = 100
_AT_ANY_RATIO: Final = 16 << 20
"""So much larger than what came may what a coding makes of it be, before the rest of it is not looked at; and so many
bytes more, for a client may have a model repeat a word as often as it can.
"""
_MOST_CODINGS: Final = 2


class Pointers:
    """Pointers with their weights, compiled."""

    __slots__ = ("places", "quoted", "weights")

    def __init__(self, weights: Mapping[str, float]) -> None:
        pointers = [inner_names_of(pointer) for pointer in weights]
        self.places = Places.of(pointers)
        self.weights = tuple(weights.values())
        self.quoted = _quoted(names[-1] for names in pointers)
        """The last names as JSON has them: text without any of them has no cost in it. None where there are several
        ways to write one."""

    def scan(self) -> Scan:
        """What reads one response."""
        return Scan(self.places, len(self.weights))

    def cost_of(self, scan: Scan) -> int | None:
        """What was found, weighed and added up; None where nothing was."""
        scan.end()
        if all(number is None for number in scan.found):
            return None
        total = sum(weight * (number or 0) for weight, number in zip(self.weights, scan.found, strict=True))
        return min(max(0, ceil(total)), MOST)


def _quoted(names: Iterable[bytes]) -> tuple[bytes, ...] | None:
    names = set(names)
    return tuple(b'"%b"' % name for name in names) if all(map(_PLAIN_NAME.fullmatch, names)) else None


_PLAIN_NAME: Final = re.compile(rb"[A-Za-z0-9_.:$@-]+")


class Reader(Protocol):
    """Reads one body."""

    def feed(self, data: bytes) -> None:
        """Read a further piece."""

    def cost(self) -> int | None:
        """What it cost, as far as it has come; None where it does not say."""


class JsonReader:
    """Of one JSON text, or of several, a line each."""

    __slots__ = ("_pointers", "_scan")

    def __init__(self, pointers: Pointers) -> None:
        self._pointers = pointers
        self._scan = pointers.scan()

    def feed(self, data: bytes) -> None:
        """Read a further piece."""
        self._scan.feed(data)

    def cost(self) -> int | None:
        """What it cost."""
        return self._pointers.cost_of(self._scan)


class EventReader:
    """Of an event stream (WHATWG HTML, section 9.2.6), whose lines end in LF or CRLF.

    Most events are only searched for the names of pointers: those without any of them are passed over.
    """

    __slots__ = ("_field", "_is_data", "_pointers", "_scan")

    def __init__(self, pointers: Pointers) -> None:
        self._pointers = pointers
        self._scan = pointers.scan()
        self._field: bytes | None = b""
        """What has come of the name of a line's field, with its colon; None: the name is over."""
        self._is_data = False

    def feed(self, data: bytes) -> None:
        """Read a further piece."""
        at, end = 0, len(data)
        hits = None if self._pointers.quoted is None else dict.fromkeys(self._pointers.quoted, -1)
        while at < end:
            if hits is not None and self._field == b"" and self._scan.is_between:
                at = _passed_over(data, at, hits)
                if at == end:
                    return
            stop = data.find(b"\n", at)
            if stop < 0:
                stop = end
            self._read(data, at, stop)
            if stop < end:
                self._end_line()
            at = stop + 1

    def _read(self, data: bytes, at: int, stop: int) -> None:
        """Read a line, or a part of one."""
        if self._field is not None:
            taken = data[at : min(stop, at + len(_DATA) - len(self._field))]
            self._field += taken
            at += len(taken)
            if len(self._field) < len(_DATA):
                return
            self._is_data, self._field = self._field == _DATA, None
        if self._is_data:
            self._scan.feed(data, at, stop)

    def _end_line(self) -> None:
        """An empty line ends an event."""
        if self._field is not None and self._field.strip(b"\r") == b"":
            self._scan.end()
            self._scan.restart()
        elif self._is_data:
            self._scan.feed(b"\n")
        self._field, self._is_data = b"", False

    def cost(self) -> int | None:
        """What it cost."""
        return self._pointers.cost_of(self._scan)


_DATA: Final = b"data:"


def _passed_over(data: bytes, at: int, hits: dict[bytes, int]) -> int:
    """Where the next event begins that may have a cost, or the last one, which is not all there.

    `hits` says where each name comes next, as far as is known.
    """
    nearest = end = len(data)
    for name, hit in hits.items():
        if hit < at:
            found = data.find(name, at)
            hits[name] = hit = found if found >= 0 else end
        nearest = min(nearest, hit)
    for blank in (b"\n\n", b"\n\r\n"):
        found = data.rfind(blank, at, nearest)
        if found >= 0:
            at = found + len(blank)
    return at


class DecodingReader:
    """Of a body with codings, which are undone for it alone; one that is damaged is read as far as it is not."""

    __slots__ = ("_decoding", "_reader")

    def __init__(self, codings: Sequence[bytes], reader: Reader) -> None:
        self._decoding: Decoding | None = Decoding(codings, _MOST_DECODED, _MOST_RATIO, _AT_ANY_RATIO)
        self._reader = reader

    def feed(self, data: bytes) -> None:
        """Read a further piece."""
        if self._decoding is None:
            return
        try:
            self._reader.feed(self._decoding.feed(data))
        except (MessageError, CodingError):
            self._decoding = None

    def cost(self) -> int | None:
        """What it cost."""
        return self._reader.cost()


class CostReading:
    """How the cost of responses is read: the settings, compiled."""

    __slots__ = ("_header", "_in_events", "_in_json", "default")

    def __init__(self, settings: CostSettings) -> None:
        self._in_json = Pointers(settings.json_) if settings.json_ else None
        self._in_events = Pointers(settings.in_streams) if settings.in_streams else None
        self._header = settings.header.lower().encode() if settings.header is not None else None
        self.default = settings.default

    def in_fields(self, values: Sequence[bytes]) -> int | None:
        """The cost that the values of the field say, if it is one number."""
        return number_of(values[0].strip()) if len(values) == 1 else None

    @property
    def header(self) -> bytes | None:
        """The name of the field that has it, in lower case."""
        return self._header

    def reader(self, media_type: bytes, codings: Sequence[bytes]) -> Reader | None:
        """What reads a body of this kind; None where there is nothing to be found in it."""
        reader = self._plain_reader(media_type.partition(b";")[0].strip().lower())
        if reader is None or not codings:
            return reader
        return DecodingReader(codings, reader) if set(codings) <= _KNOWN and len(codings) <= _MOST_CODINGS else None

    def _plain_reader(self, media_type: bytes) -> Reader | None:
        if media_type == b"text/event-stream":
            return EventReader(self._in_events) if self._in_events is not None else None
        if media_type in _LINES:
            return JsonReader(self._in_events) if self._in_events is not None else None
        if media_type == b"application/json" or media_type.endswith(b"+json"):
            return JsonReader(self._in_json) if self._in_json is not None else None
        return None


_KNOWN: Final = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"})
_LINES: Final = frozenset(
    {
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/json-lines",
        b"application/json-seq",
    }
)

__all__ = ["CostReading", "EventReader", "JsonReader", "Pointers", "Reader", "codings_of"]
