"""Browsers at a bare prefix: the page there would look for what it links to one level too high."""

from __future__ import annotations

import re
from typing import Final

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import Fields

_READS: Final = ("GET", "HEAD")
_PAGES: Final = frozenset({b"text/html", b"application/xhtml+xml"})
_WEIGHT: Final = re.compile(rb";[ \t]*q=([^;]*)")


def redirect_to_slash(exchange: Exchange) -> Answer | None:
    """The last policy of a request for a bare prefix: a browser's navigation goes to `/prefix/`, others pass.

    307 and no permanent redirect: browsers keep those for ever, and the configuration may change. The Location is
    relative, so that it is right whatever a proxy in front took off the path.
    """
    request = exchange.request
    assert request is not None
    if exchange.method not in _READS:
        return None
    if not prefers_page(request.fields):
        exchange.response_lines += (b"Vary: Accept",)
        return None
    path = request.target.partition(b"?")[0]
    location = b"./" + path.rpartition(b"/")[2] + b"/" + exchange.query
    return Answer(307, (b"Location: " + location, b"Vary: Accept"))


def prefers_page(fields: Fields) -> bool:
    """Whether what Accept wants most, the first of equals, is a page (RFC 9110, section 12.5.1)."""
    wanted, most = b"", 0.0
    for item in b",".join(fields.all(b"accept")).split(b","):
        kind, weight = item.partition(b";")[0].strip().lower(), _weight(item)
        if kind and weight > most:
            wanted, most = kind, weight
    return wanted in _PAGES


def _weight(item: bytes) -> float:
    match = _WEIGHT.search(item.lower())
    try:
        return float(match[1]) if match else 1.0
    except ValueError:
        return 0.0
