"""Which codings a service may use where rules have to read its responses: a client's choice is no way around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portico.core.codings import DECODED
from portico.core.exchange import Exchange
from portico.core.messages import Fields

_ACCEPT: Final = b"accept-encoding"
_OTHERS: Final = frozenset({b"available-dictionary", b"dictionary-id", b"a-im"})
"""Fields by which a client asks for what depends on a response that it has (RFC 9842, RFC 3229)."""
_READABLE: Final = frozenset({*DECODED, b"identity"})


def readable_only() -> Callable[[Exchange], None]:
    """What leaves out of `Accept-Encoding` the codings that cannot be undone, and `*` (RFC 9110, section 12.5.3)."""

    def accept_readable(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        fields = request.fields
        if fields.edited_by is not accept_readable:
            kept = _changed(fields)
            if kept is None:
                return
            fields.edited, fields.edited_by = kept, accept_readable
        exchange.request = request.changed(fields=fields.edited)

    return accept_readable


def _changed(fields: Fields) -> Fields | None:
    """The fields without what asks for other codings; None where nothing does."""
    asked = fields.get(_ACCEPT)
    members = [] if asked is None else [member.strip() for member in asked.split(b",")]
    readable = [member for member in members if member.partition(b";")[0].strip().lower() in _READABLE]
    if len(readable) == len(members) and _OTHERS.isdisjoint(fields.names):
        return None
    lines = [] if asked is None else [b"Accept-Encoding: " + (b", ".join(readable) or b"identity")]
    return fields.changed(lambda name: name == _ACCEPT or name in _OTHERS, lines)
