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


def _lines(fields: Fields) -> zip[tuple[bytes, bytes]]:
    return zip(fields.names, fields.lines, strict=True)
