"""What every response of a version says of it: which it is, since when it is deprecated, and when it ends.

`Deprecation` is that of RFC 9745, `Sunset` that of RFC 8594, and the links are those of RFC 5829, section 3.3, and of
these two.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_plus

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.policy import Policy

_UNSAFE: Final = re.compile(rb"[^!#-;=?-~]")
"""What may not stand in a link (RFC 3986), although a path that is passed on may have it."""


@dataclass(frozen=True, slots=True)
class Successor:
    """Where the same is found in a later version.

    Below `prefix` in place of `own`, or where it is already, with another value of `parameter` if one chooses the
    version. `attributes` describe it (RFC 8288, section 3.4).
    """

    version: str
    own: bytes = b""
    prefix: bytes = b""
    parameter: str | None = None
    attributes: bytes = b""

    def line(self, exchange: Exchange) -> bytes:
        """The `Link` to it."""
        request, peer = exchange.request, exchange.stream.client.peer
        assert request is not None
        path = exchange.match.path.encode()
        if self.own:
            path = self.prefix + (path[len(self.own) :] if path.startswith(self.own) else b"")
        query = exchange.query if self.parameter is None else self._query(exchange.query, self.parameter)
        target = _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], peer.asked_at(request).prefix + path + query)
        return b'Link: <%b>; rel="successor-version"%b' % (target, self.attributes)

    def _query(self, query: bytes, parameter: str) -> bytes:
        pairs = [pair for pair in query[1:].split(b"&") if pair and _name_of(pair) != parameter]
        return b"?" + b"&".join([*pairs, f"{quote(parameter)}={self.version}".encode()])


def _name_of(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[0].decode("latin-1"))


def announcing(
    lines: Sequence[bytes], drops: frozenset[bytes] = frozenset(), successor: Successor | None = None
) -> Policy:
    """Adds lines to every response; `drops` are the fields, in lower case, that they replace."""
    fixed = tuple(lines)

    def announce(exchange: Exchange) -> None:
        exchange.response_lines += fixed
        if drops:
            known = exchange.response_drop
            exchange.response_drop = drops if known is None else known | drops
        if successor is not None:
            exchange.response_lines += (successor.line(exchange),)

    return announce


def ending(end: float, detail: str, marks: Sequence[Policy]) -> Policy:
    """Refuses requests from `end` on (seconds since the epoch), after the `marks` of the route's other policies."""

    def refuse_gone(exchange: Exchange) -> Answer | None:
        if time.time() < end:
            return None
        for mark in marks:
            if isinstance(verdict := mark(exchange), Answer):
                return verdict
        return Refusal("version_gone", detail)

    return refuse_gone
