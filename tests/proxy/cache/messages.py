"""Requests, responses and rules of a cache, from what is written about them."""

from __future__ import annotations

from typing import Any, Final

from portico.core.fields import RESPONSE_NOTED, RESPONSE_RULES
from portico.core.messages import Fields, RequestHead, ResponseHead
from portico.policies.cache import CacheSettings
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.freshness import Arrival
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.stored import PIECE, Body, Stored
from portico.proxy.cache.storing import Decision, decide
from portico.proxy.cache.variants import Asking
from portico.wire.http1.grammar import parse_response_head

WALL: Final = 1_800_000_000.0
"""The time in these tests: Fri, 15 Jan 2027 08:00:00 GMT."""
DATE: Final = "Date: Fri, 15 Jan 2027 08:00:00 GMT"
NOW: Final = 1000.0
"""The same by the monotonic clock."""
ARRIVAL: Final = Arrival(NOW, WALL)


def fields(*lines: str) -> Fields:
    encoded = [line.encode("latin-1") for line in lines]
    return Fields([line.partition(b":")[0].lower() for line in encoded], encoded)


def asked(*lines: str, connection: str = "") -> Asked:
    """What a request with these fields asks; `connection` are names that its Connection takes away."""
    return Asked.of(request(*lines, connection=connection))


def request(*lines: str, connection: str = "", method: bytes = b"GET", framing: int = 0) -> RequestHead:
    head = RequestHead()
    head.fields = fields(*lines)
    head.hop_by_hop = frozenset(name.encode() for name in connection.split())
    head.method, head.framing, head.noted = method, framing, frozenset()
    return head


def response(*lines: str, status: int = 200) -> ResponseHead:
    raw = "\r\n".join((f"HTTP/1.1 {status} Whatever", *lines)).encode("latin-1")
    return parse_response_head(raw, 100, RESPONSE_NOTED | RESPONSE_RULES, False)


def rules(changes: frozenset[bytes] = frozenset(), **settings: Any) -> Rules:
    return Rules.of(CacheSettings.model_validate(settings), b"shop", "shop", changes)


def decided(head: ResponseHead, *request_lines: str, **settings: Any) -> Decision:
    """About a response to a GET without credentials."""
    return decide(rules(**settings), Asking(asked(*request_lines)), head, ARRIVAL)


def stored(*lines: str, status: int = 200, content: bytes = b"", to: tuple[str, ...] = (), **settings: Any) -> Stored:
    """A response that was just stored."""
    decision = decided(response(*lines, status=status), *to, **settings)
    assert decision.stored is not None, decision.reason
    return decision.stored.with_body(body(content))


def body(content: bytes) -> Body:
    return Body([content[start : start + PIECE] for start in range(0, len(content), PIECE)], len(content))


def content_of(found: Stored, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(found.body.pieces)[start:stop]


def values(head: ResponseHead, name: str) -> list[str]:
    return [value.decode("latin-1") for value in head.fields.all(name.lower().encode())]
