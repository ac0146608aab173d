"""Which codings a service may use where rules have to read its responses: a client's choice is no way around them."""

from __future__ import annotations

from typing import Final

from portico.core.caches import remembered
from portico.core.codings import DECODED
from portico.core.exchange import Exchange

_ACCEPT: Final = b"accept-encoding"
_OTHERS: Final = frozenset({b"available-dictionary", b"dictionary-id", b"a-im"})
"""Fields by which a client asks for what depends on a response that it has (RFC 9842, RFC 3229)."""
_READABLE: Final = frozenset({*DECODED, b"identity"})


def accept_readable(exchange: Exchange) -> None:
    """Leave out of `Accept-Encoding` the codings that cannot be undone, and `*` (RFC 9110, section 12.5.3)."""
    request = exchange.request
    assert request is not None
    fields = request.fields
    asked = fields.get(_ACCEPT)
    readable = b"" if asked is None else _readable(asked) if len(asked) > _REMEMBERED_SIZE else _remembered(asked)
    if not readable and _OTHERS.isdisjoint(fields.names):
        return
    if fields.edited_by is not accept_readable:
        lines = [b"Accept-Encoding: " + (readable or asked or b"identity")]
        drops = {_ACCEPT, *_OTHERS}
        fields.edited = fields.changed(drops.__contains__, [] if asked is None else lines)
        fields.edited_by = accept_readable
    exchange.request = request.with_fields(fields.edited)


def _readable(asked: bytes) -> bytes:
    """What is left of an `Accept-Encoding`; nothing where all of it may stay."""
    members = [member.strip() for member in asked.split(b",")]
    readable = [member for member in members if member.partition(b";")[0].strip().lower() in _READABLE]
    if len(readable) == len(members):
        return b""
    return b", ".join(readable) or b"identity"


_REMEMBERED_SIZE: Final = 128
_remembered: Final = remembered(256)(_readable)
