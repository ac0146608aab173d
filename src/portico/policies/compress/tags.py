"""Entity tags of compressed responses (RFC 9110, section 8.8.3).

The bytes of a compressed response are not those of which a service's strong tag `"a"` speaks: clients get `W/"a-gzip"`
in its place. When they send that back, the service gets the tag that it knows, so that it still answers 304; and what
it answers names the tag that the client knows. A weak tag holds for what means the same, in whatever coding: it stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from portico.core.messages import Fields, RequestHead

_OWN: Final = re.compile(rb'W/("[^"]*)-(?:zstd|br|gzip)"')
_STRONG: Final = re.compile(rb'"[^"]*"')
CONDITIONS: Final = frozenset({b"if-none-match", b"if-match"})
"""The fields in which services compare tags. In If-Range only a strong one counts: what has been compressed does not go
on from a part (section 13.1.5)."""
_PARTS: Final = frozenset({b"range", b"if-range"})
_NONE: Final[Mapping[bytes, bytes]] = {}


def coded_tag(tag: bytes, coding: bytes) -> bytes:
    """The tag of a response to which a coding was applied."""
    return b'W/%b-%b"' % (tag[:-1], coding) if _STRONG.fullmatch(tag) else tag


def with_known_tags(request: RequestHead) -> tuple[RequestHead, Mapping[bytes, bytes]]:
    """The request as its service has to see it, and by each tag that was changed the one that the client knows."""
    fields = request.fields
    if not any(name in CONDITIONS and _OWN.search(line) for name, line in _lines(fields)):
        return request, _NONE
    known: dict[bytes, bytes] = {}

    def replaced(match: re.Match[bytes]) -> bytes:
        tag = match[1] + b'"'
        known.setdefault(tag, match[0])
        return tag

    lines = [_OWN.sub(replaced, line) if name in CONDITIONS else line for name, line in _lines(fields)]
    changed = Fields(fields.names, lines)
    changed.shape = fields.shape
    return request.changed(fields=changed), known


def known_tag(tag: bytes, known: Mapping[bytes, bytes]) -> bytes:
    """The tag that a client knows in place of one in a 304, which a policy behind may have made weak."""
    return known.get(tag.removeprefix(b"W/"), tag)


def without_dated_range(request: RequestHead) -> RequestHead:
    """The request without a range that its client wants if nothing has changed since a date.

    The date does not say whether what it has of the response was compressed: a part of a plain one would not go on
    from there.
    """
    condition = request.fields.get(b"if-range")
    if condition is None or condition.endswith(b'"'):
        return request
    return request.changed(fields=request.fields.changed(_PARTS.__contains__, ()))


def _lines(fields: Fields) -> zip[tuple[bytes, bytes]]:
    return zip(fields.names, fields.lines, strict=True)
