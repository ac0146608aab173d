"""The last policy of routes that answer themselves: once all others let a request pass, it says what was written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.patterns.pattern import Pattern
from portico.core.placeholders import PATH, QUERY
from portico.policies.policy import Policy
from portico.proxy.headers.forwarded import Peer
from portico.proxy.routing.captured import Pieces, filled
from portico.proxy.routing.route import Rewrite

_QUERY: Final = b"\0"
"""Stands in a target for the query of the request: no path has it."""
_HOST: Final = b"{host}"
_IN_QUERY: Final = {ord("&"): b"%26", ord("+"): b"%2B", ord(";"): b"%3B"}
_HOST_NAME: Final = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


def responding(status: int, lines: Sequence[bytes], body: bytes) -> Policy:
    """Answers with what is written."""
    return lambda exchange: Answer(status, lines, body)  # noqa: ARG005


def redirecting(status: int, origin: bytes, *, keeps_query: bool = True) -> Policy:
    """Sends clients to the target that their request's path has become, at `origin` or, without one, where they are.

    Their query goes along, where the target has none of its own and it `keeps_query`.
    """

    def redirect(exchange: Exchange) -> Answer:
        target = exchange.match.target
        if _QUERY in target:
            target = _with_query(target, exchange.query[1:])
        elif keeps_query and b"?" not in target:
            path, mark, fragment = target.partition(b"#")
            target = path + exchange.query + mark + fragment
        start = _start(origin, exchange)
        if start is None:
            return Refusal("malformed_request", "without Host there is nowhere to redirect to")
        return Answer(status, (b"Location: " + start + target,))

    return redirect


def _with_query(target: bytes, query: bytes) -> bytes:
    """The target with the request's query, and without the `&` or `?` beside it if there is none."""
    if query:
        return target.replace(_QUERY, query)
    return (
        target.replace(_QUERY + b"&", b"").replace(b"&" + _QUERY, b"").replace(b"?" + _QUERY, b"").replace(_QUERY, b"")
    )


def _start(origin: bytes, exchange: Exchange) -> bytes | None:
    """What stands before the target; None where that needs a host, and the request has none, as HTTP/1.0 allows."""
    request, peer = exchange.request, exchange.stream.client.peer
    assert request is not None
    assert isinstance(peer, Peer)
    asked = peer.asked_at(request)
    if not origin:
        return asked.prefix
    if _HOST not in origin:
        return origin
    name = _HOST_NAME.fullmatch(asked.host)
    return origin.replace(_HOST, name[1]) if name else None


@dataclass(frozen=True, slots=True)
class LocationRewrite(Rewrite):
    """What the path of a request becomes in the Location that its client is sent."""

    path: Pieces = ()
    end: Pieces = ()
    """The query and the fragment."""
    pattern: Pattern | None = None
    has_origin: bool = False

    @classmethod
    def by(cls, path: Pieces, end: Pieces, pattern: Pattern | None, *, has_origin: bool) -> LocationRewrite:
        """`path` and what follows it, as they are written; `pattern` is the route's, if it has one."""
        return cls(b"", keeps_path=False, path=path, end=end, pattern=pattern, has_origin=has_origin)

    def apply(self, path: bytes, depth: int) -> bytes:
        """Without an origin it begins with one slash: `//elsewhere` would be another host."""
        if self.pattern is None:
            rest = path.split(b"/", depth + 1)[depth + 1 :]
            parts = [b"".join(rest) if piece == PATH else _of(piece) for piece in self.path]
            target, end = b"".join(parts), b"".join(_of(piece) for piece in self.end)
        else:
            target = filled(self.path, self.pattern, path)
            end = b"".join(self._in_query(piece, path) for piece in self.end)
        if not self.has_origin:
            target = b"/" + target.lstrip(b"/\\")
        return target + end

    def _in_query(self, piece: bytes | str, path: bytes) -> bytes:
        """A piece of the query: what is captured is one value there, whatever characters it has."""
        if isinstance(piece, bytes) or piece == QUERY:
            return _of(piece)
        assert self.pattern is not None
        captured = filled((piece,), self.pattern, path)
        return b"".join(_IN_QUERY.get(byte, bytes((byte,))) for byte in captured)


def _of(piece: bytes | str) -> bytes:
    return piece if isinstance(piece, bytes) else _QUERY
