"""The messages of a forwarding: what is forwarded of a request to the service, and of its response to the client."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Final

from portico.core.caches import remembered
from portico.core.exchange import Exchange
from portico.core.fields import REPORTED, RESPONSE_DROP, REWRITTEN
from portico.core.messages import (
    CHUNKED,
    WITHOUT_LENGTH,
    Fields,
    RequestHead,
    ResponseHead,
    passes_unchanged,
    where_absent,
)
from portico.policies.headers import RequestChanges, ResponseChanges
from portico.proxy.answer import date_line
from portico.proxy.headers.forwarded import VIA, announced_trailers, believed_lines, believed_trace_id
from portico.proxy.rewriting import rewritten
from portico.proxy.routing.route import Compose, Handling, ResponseLines
from portico.upstreams.instance import Instance

HEAD_END: Final = b"\r\n\r\n"
"""What follows the last line of a head."""
_HOST_LINE: Final = b" HTTP/1.1\r\nHost: %b\r\n"
LENGTH: Final = frozenset({b"content-length"})
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_SERVER_TIMING: Final = b"server-timing"
REQUEST_ID: Final = b"\r\nX-Request-ID: "
TIMING: Final = b"\r\nServer-Timing: gateway;dur="
TIMING_UPSTREAM: Final = b", upstream;dur="
_MILLISECONDS: Final = [b"%.2f" % (number / 100) for number in range(10_000)]
"""The common durations, formatted in advance: in hundredths of a millisecond."""


# ---- to the service


def request_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
    """The request's head as sent to an instance of the service; `upgrade` is the protocol offered to it."""
    request = exchange.request
    assert request is not None
    match = exchange.match
    own_id = exchange.id = exchange.request_id.encode()
    added = exchange.request_lines
    if upgrade:
        added = (b"Connection: Upgrade\r\nUpgrade: " + upgrade, *added)
    end = b"\r\n%b\r\n\r\n" % b"\r\n".join(added) if added else HEAD_END
    if exchange.trusted:
        passed, line_end = _passed(request, handling), _line_end(request, handling, instance)
        lines = b"\r\n".join((*_believed_lines(exchange, request), b"X-Request-ID: "))
        return b"".join((request.method, b" ", match.target, exchange.query, line_end, passed, lines, own_id, end))
    fields, peer = request.fields, exchange.stream.client.peer
    if fields.passed_by is not peer or handling.trailers:
        _join_passed(exchange, request, handling, instance)  # fields that repeat are one object: computed once
    line_end = fields.line_end
    if handling.preserve_host is not None or not instance.is_internal:
        line_end = _line_end(request, handling, instance)
    # fmt: off
    pieces = (
        request.method, b" ", match.target, exchange.query, line_end, fields.passed, match.forwarded,
        b"traceparent: 00-", own_id, b"-", own_id[16:], b"-00\r\nX-Request-ID: ", own_id, end,
    )
    # fmt: on
    return b"".join(pieces)


def _line_end(request: RequestHead, handling: Handling, instance: Instance) -> bytes:
    """How the request line ends, and the client's Host or the instance's own."""
    preserves = instance.is_internal if handling.preserve_host is None else handling.preserve_host
    return _HOST_LINE % request.host if preserves and request.host else instance.line_end


def _join_passed(exchange: Exchange, request: RequestHead, handling: Handling, instance: Instance) -> None:
    """The client's fields that are forwarded, its Host among them, and what the service is sent about the client."""
    peer, fields, host = exchange.stream.client.peer, request.fields, request.host
    if peer.host is not host:  # requests whose Host was read once share it
        peer.host = host
        host_lines = (b"X-Forwarded-Host: " + host,) if host else ()  # HTTP/1.0 need not name one
        peer.host_line = _HOST_LINE % host
        peer.lines_for_host = b"\r\n".join((VIA, *host_lines, peer.lines, b""))
    fields.passed = _passed(request, handling) + peer.lines_for_host
    fields.line_end = peer.host_line if host else instance.line_end
    fields.passed_by = peer if host and not handling.trailers else None


def _passed(request: RequestHead, handling: Handling) -> bytes:
    """The same as `_passed_lines`, each with its CRLF."""
    framing = request.framing
    if request.hop_by_hop or framing < 0 or handling.trailers:
        return b"\r\n".join((*_passed_lines(request, handling), b""))
    if framing or b"content-length" in request.noted:
        return b"%bContent-Length: %d\r\n" % (request.fields.passing(), framing)
    return request.fields.passing()


def _passed_lines(request: RequestHead, handling: Handling) -> list[bytes]:
    """The client's field lines that are forwarded to the service, and how the body is framed there."""
    fields = request.fields
    lines = fields.unnoted(request.hop_by_hop)
    if request.framing == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.framing or b"content-length" in request.noted:
        lines.append(b"Content-Length: %d" % request.framing)
    if handling.trailers:
        lines += announced_trailers(fields, handling.trailers)
        if takes_trailers(request):
            lines.append(b"Connection: TE\r\nTE: trailers")
    return lines


def _believed_lines(exchange: Exchange, request: RequestHead) -> list[bytes]:
    """What a trusted proxy reports, and this hop."""
    fields, peer, prefix = request.fields, exchange.stream.client.peer, exchange.match.route.prefix
    lines = believed_lines(fields, peer, exchange.client_ip, request.host, prefix)
    if believed_trace_id(fields) is None:
        trace_id = exchange.trace_id.encode()
        lines.append(b"traceparent: 00-%b-%b-00" % (trace_id, trace_id[16:]))
    return [VIA, *lines, *_reported_lines(fields)]


def _reported_lines(fields: Fields) -> list[bytes]:
    """What a proxy reports of users in fields that are not the gateway's."""
    shape = fields.shape
    assert shape is not None
    reported = shape.reported
    if reported is None:
        both = zip(map(REPORTED, fields.names), shape.unnoted, strict=True)
        reported = shape.reported = [is_reported and not passes for is_reported, passes in both]
    return list(compress(fields.lines, reported)) if True in reported else []


def with_attempt_lines(compose: Compose, attempts: Sequence[Callable[[Exchange], bytes | None]]) -> Compose:
    """The same composing, with the lines that policies add to each attempt when it is sent."""

    def head_of_attempt(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head = compose(exchange, handling, instance, upgrade)
        lines = [line for attempt in attempts if (line := attempt(exchange)) is not None]
        return edited_head(head, _NO_NAMES, lines) if lines else head

    return head_of_attempt


def with_changes(compose: Compose, changes: RequestChanges) -> Compose:
    """The same composing, with the fields changed that the configuration names."""

    def changed_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head = compose(exchange, handling, instance, upgrade)
        return edited_head(head, changes.drops, changes.lines.of(exchange))

    return changed_head


def with_edits(compose: Compose) -> Compose:
    """The same composing, with what hooks set and remove."""

    def head_with_edits(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        head, view = compose(exchange, handling, instance, upgrade), exchange.view
        if view is None or view.upstream is None:
            return head
        return edited_head(head, frozenset(view.upstream.dropped), view.upstream.added)

    return head_with_edits


def edited_head(head: bytes, drops: frozenset[bytes], lines: Sequence[bytes]) -> bytes:
    """A composed head without the fields named in `drops`, and with `lines` at its end.

    `drops` are in lower case. A name also drops those that servers which make variables of names take for it, such as
    `x_tenant` for `x-tenant`: what a client sends under them would stand in for what is set here.
    """
    if drops:
        head = _pattern_of(drops).sub(b"", head)
    return b"\r\n".join((head[: -len(HEAD_END)], *lines, b"", b""))


@remembered(256)
def _pattern_of(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """The lines of these fields in a head, each with the line end before it."""
    forms = (re.escape(name).replace(rb"\-", rb"[^0-9a-z:\r\n]") for name in sorted(names))
    return re.compile(rb"\r\n(?:%b):[^\r\n]*" % b"|".join(forms), re.IGNORECASE)


def takes_trailers(request: RequestHead) -> bool:
    """Whether the client asked for trailer fields (RFC 9110, section 6.5.1)."""
    return b"te" in request.noted and b"trailers" in request.fields.tokens(b"te")


# ---- to the client


def response_lines(exchange: Exchange, head: ResponseHead) -> list[bytes]:
    """The service's field lines that are forwarded to the client, and those that policies add."""
    fields: Fields = head.fields
    drop = exchange.response_drop
    names_service = not head.noted.isdisjoint(REWRITTEN)
    has_date = b"date" in fields.names
    if drop or head.hop_by_hop or head.status in WITHOUT_LENGTH:
        drop = (drop or _NO_NAMES) | RESPONSE_DROP | head.hop_by_hop
        lines = fields.without(drop | LENGTH if head.status in WITHOUT_LENGTH else drop)
    else:
        lines = fields.without(RESPONSE_DROP)
        if passes_unchanged(head):
            head.passed = b"\r\n".join((head.line, *lines))
    if names_service:
        lines = rewritten(exchange, lines)
    lines += exchange.response_lines
    if not has_date:
        lines.append(date_line())
    return lines


def editing(changes: ResponseChanges) -> ResponseLines:
    """`response_lines` for routes that change more of responses than which fields are dropped and added."""
    hidden = changes.hidden

    def edited_lines(exchange: Exchange, head: ResponseHead) -> list[bytes]:
        lines = where_absent(response_lines(exchange, head), set(head.fields.names) - head.hop_by_hop)
        if hidden:
            lines = [line for line in lines if line.partition(b":")[0].lower() not in hidden]
        return [*lines, *changes.lines.of(exchange)]

    return edited_lines


def hides_timing(exchange: Exchange) -> bool:
    """Whether a policy drops `Server-Timing`, the gateway's own too."""
    return exchange.response_drop is not None and _SERVER_TIMING in exchange.response_drop


def timing_lines(exchange: Exchange, own_seconds: float) -> bytes:
    """`X-Request-ID` and `Server-Timing` for the client; the latter not where a policy drops it."""
    if hides_timing(exchange):
        return REQUEST_ID[2:] + exchange.id
    own, upstream = milliseconds(own_seconds, exchange.upstream_seconds or 0.0)
    if exchange.upstream_seconds is None:  # no service was called
        return b"".join((REQUEST_ID[2:], exchange.id, TIMING, own))
    return b"".join((REQUEST_ID[2:], exchange.id, TIMING, own, TIMING_UPSTREAM, upstream))


def milliseconds(own_seconds: float, upstream_seconds: float) -> tuple[bytes, bytes]:
    """Both formatted in milliseconds."""
    try:
        return _MILLISECONDS[int(own_seconds * 1e5)], _MILLISECONDS[int(upstream_seconds * 1e5)]
    except IndexError:
        return b"%.2f" % (own_seconds * 1000), b"%.2f" % (upstream_seconds * 1000)
