"""Which responses are compressed, by what their head says, and what it says then."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from portico.core.caches import remembered
from portico.policies.compress.settings import DEFAULT, CompressSettings
from portico.policies.compress.tags import coded_tag, known_tag

DEFAULT_TYPES: Final = (
    *("text/*", "*+json", "*+xml", "*+yaml", "application/json", "application/javascript", "application/x-javascript"),
    *("application/xml", "application/yaml", "application/x-yaml", "application/toml", "application/x-ndjson"),
    *("application/jsonl", "application/sql", "application/graphql", "application/wasm", "application/rtf"),
    *("application/openmetrics-text", "application/vnd.ms-fontobject", "font/ttf", "font/otf", "font/collection"),
    *("image/bmp", "image/x-icon", "image/vnd.microsoft.icon"),
)
"""What `default` stands for: text in the wide sense, and what is known to be stored uncompressed."""
EVENTS: Final = b"text/event-stream"
"""Has to be named itself: `text/*` does not cover it."""

DIGESTS: Final = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_UNTRUE: Final = DIGESTS | {b"content-length", b"accept-ranges", b"etag"}
"""Fields about bytes that are not those that are sent."""
_TRUE: Final = re.compile(rb"\?1(?: *;.*)?")
_PARTIAL: Final = 206
_VARY: Final = b"Vary: Accept-Encoding"
_AT_ONCE: Final = 64 << 10
_AT_ONCE_SLOWLY: Final = 8 << 10
_USUAL_LEVELS: Final = {b"zstd": 6, b"br": 5, b"gzip": 7}
"""Up to these a coding takes less than a millisecond for `_AT_ONCE` bytes."""


class Head(NamedTuple):
    """The head of a response as it is sent; `lines` are its field lines, `coding` what is applied to its body."""

    lines: list[bytes]
    coding: bytes | None = None
    flushes: bool = False
    """Whether each piece is to reach the client as it comes."""


class Rules:
    """The settings of a route, compiled."""

    def __init__(self, settings: CompressSettings) -> None:
        self.offered = tuple(name.encode() for name in settings.encodings)
        self.min_size = settings.min_size
        self.levels: Mapping[bytes, int] = {
            name.encode(): level for name, level in settings.levels.model_dump().items()
        }
        self.at_once = {
            coding: _AT_ONCE if level <= _USUAL_LEVELS[coding] else _AT_ONCE_SLOWLY
            for coding, level in self.levels.items()
        }
        """Bytes that are compressed at once: more of them would keep other requests waiting."""
        self.pieces = {coding: size * 2 if coding == b"zstd" else size // 2 for coding, size in self.at_once.items()}
        """Bytes that a thread compresses without a pause."""
        self.cookies = settings.cookies
        self.incremental = settings.incremental
        self.has_events = EVENTS.decode() in settings.types
        self.covers = remembered(1024)(_covering(settings.types))

    def head_of(
        self, status: int, lines: list[bytes], size: int | None, coding: bytes | None, *, always: bool = False
    ) -> Head:
        """The head of a response with a body of this size, None where that is not known, for a client that wants a
        `coding`; None where it wants none. With `always`, none is too small.
        """
        names = [line.partition(b":")[0].lower() for line in lines]
        if not self._is_eligible(names, lines) or (size is not None and size < self.min_size and not always):
            return Head(lines)
        added = [] if _varies(values_of(b"vary", names, lines)) else [_VARY]
        if coding is None or status == _PARTIAL or b"content-range" in names:
            return Head([*lines, *added])
        added += [b"ETag: " + coded_tag(tag, coding) for tag in values_of(b"etag", names, lines)]
        added.append(b"Content-Encoding: " + coding)
        kept = [line for name, line in zip(names, lines) if name not in _UNTRUE]  # noqa: B905 - equal by construction
        return Head([*kept, *added], coding, self._flushes(names, lines))

    def _flushes(self, names: Sequence[bytes], lines: Sequence[bytes]) -> bool:
        return (
            _is_true(values_of(b"incremental", names, lines))
            or values_of(b"x-accel-buffering", names, lines) == [b"no"]
            or (self.has_events and _kind(values_of(b"content-type", names, lines)[0]) == EVENTS)
        )

    def _is_eligible(self, names: Sequence[bytes], lines: Sequence[bytes]) -> bool:
        """Whether a response is compressed for those who want that, by what it says of itself."""
        if b"content-type" not in names or b"content-encoding" in names:
            return False
        if not self.covers(values_of(b"content-type", names, lines)[0]):
            return False
        if b"set-cookie" in names and not self.cookies:
            return False
        if b"cache-control" in names and forbids(values_of(b"cache-control", names, lines)):
            return False
        return self.incremental or b"incremental" not in names or not _is_true(values_of(b"incremental", names, lines))

    def not_modified(self, lines: list[bytes], known: Mapping[bytes, bytes]) -> list[bytes]:
        """The field lines of a 304, with the tags that its client knows (RFC 9110, section 15.4.5)."""
        names = [line.partition(b":")[0].lower() for line in lines]
        changed = [
            b"ETag: " + known_tag(line[5:].strip(), known) if name == b"etag" else line
            for name, line in zip(names, lines, strict=True)
        ]
        if changed != lines and not _varies(values_of(b"vary", names, lines)):
            changed.append(_VARY)
        return changed


def values_of(name: bytes, names: Sequence[bytes], lines: Sequence[bytes]) -> list[bytes]:
    """The values of all lines with a lower-cased name."""
    start, count = len(name) + 1, names.count(name)
    if count < 2:
        return [lines[names.index(name)][start:].strip(b" \t")] if count else []
    return [line[start:].strip(b" \t") for own, line in zip(names, lines, strict=True) if own == name]


def forbids(cache_control: Sequence[bytes]) -> bool:
    """Whether a Cache-Control says that nobody on the way may change the content (RFC 9111, section 5.2.2.6)."""
    return any(part.strip(b" \t").lower() == b"no-transform" for value in cache_control for part in value.split(b","))


def _varies(values: Sequence[bytes]) -> bool:
    if not values:
        return False
    members = {part.strip(b" \t").lower() for value in values for part in value.split(b",")}
    return b"*" in members or b"accept-encoding" in members


def _is_true(values: Sequence[bytes]) -> bool:
    """Whether a field that is a Boolean says yes (RFC 9651, section 3.3.6)."""
    return len(values) == 1 and _TRUE.fullmatch(values[0]) is not None


def _kind(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip(b" \t").lower()


def _covering(types: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a Content-Type is among some types."""
    named = {kind for each in types for kind in (DEFAULT_TYPES if each == DEFAULT else (each,))}
    exact = {kind.encode() for kind in named if "*" not in kind}
    kinds = {kind[:-1].encode() for kind in named if kind.endswith("/*")}
    suffixes = tuple(kind[1:].encode() for kind in named if kind.startswith("*+"))

    def covers(content_type: bytes) -> bool:
        kind = _kind(content_type)
        if kind in exact:
            return True
        return kind != EVENTS and (kind[: kind.find(b"/") + 1] in kinds or kind.endswith(suffixes))

    return covers
