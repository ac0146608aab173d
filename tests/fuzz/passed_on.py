"""Towards the service: what reaches one is what clients sent, request by request, and nothing else.

Judged by a reader that is not the gateway's and by h11.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import h11

from .ends import ClientEnd, Service
from .plan import ADDRESS, GUARDED, REWRITES, TENANT
from .readers import Message, read_requests
from .simulation import Seen, Simulation

HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"expect", b"proxy-authorization"),
    }
)
"""What no service may be sent; a protocol that is asked for in Upgrade will be the exception."""
ONCE: Final = (
    *(b"host", b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-host"),
    *(b"x-request-id", b"traceparent"),
)
IDENTITY: Final = frozenset(
    {
        *ONCE,
        *(b"content-length", b"transfer-encoding", b"forwarded", b"tracestate", b"x-forwarded-prefix"),
        *(b"x-forwarded-server", b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-forwarded-by"),
        *(b"x-consumer-username", b"x-consumer-scopes"),
    }
)
"""Names that the gateway alone writes: in no other spelling, and not in the client's words."""
NEVER: Final = re.compile(rb"x-consumer-.*|proxy|script-name|path-info", re.DOTALL)
"""Plain names of what no service may get from anyone."""
REPORTS: Final = re.compile(
    rb"x-(?:forwarded|auth-request|remote|authenticated)-.*|remote-(?:user|name|email|groups?)|x-webauth-user"
    rb"|x-(?:script-name|original-url|rewrite-url|vhm-root)|x-anonymous-consumer|x-credential-(?:identifier|username)",
    re.DOTALL,
)
"""Plain names of what a service may get from a trusted proxy only."""


def plain_of(name: bytes) -> bytes:
    """A name as CGI and its like see it."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


def check_passed_on(simulation: Simulation) -> None:
    """Services got exactly the requests that were forwarded, each once per try and as its client meant it."""
    by_id: dict[str, list[tuple[Seen, Message | None]]] = {}
    attempts = sum(simulation.gateway.metrics.hedges.values())
    for client in simulation.clients:
        meant = read_requests(bytes(client.line.delivered))
        for index, seen in enumerate(simulation.seen_of(client)):
            exchange = seen.exchange or running(client)
            attempts += exchange.attempts
            message = meant[index] if index < len(meant) else None
            if seen.request is not None:
                assert message is not None, "the gateway read a request where there is none"
                assert seen.request.method == message.start[0], "another method than was sent"
            by_id.setdefault(exchange.request_id, []).append((seen, message))
    heads = 0
    for service in simulation.services:
        requests = check_service_bytes(service)
        heads += len(requests)
        for request in requests:
            check_head(request, simulation.case.trusted)
            candidates = by_id.get(one(request, b"x-request-id").decode(), [])
            faults = [_compare(request, seen, meant) for seen, meant in candidates]
            assert None in faults, f"a service got {request.start} that nobody sent: {faults}"
    assert heads + simulation.failed_dials <= attempts, "more requests to services than tries"


def check_service_bytes(service: Service) -> list[Message]:
    """All that a service read is whole requests, but for the last one where the connection broke."""
    data = bytes(service.line.received)
    requests = read_requests(data)
    assert all(request.fault is None for request in requests), f"a service got broken bytes: {requests[-1].fault}"
    whole = [request for request in requests if request.complete]
    unfinished = [request for request in requests if not request.complete]
    if not unfinished:
        assert not data or data.endswith(_end_of(requests)), "bytes behind the last request"
    _check_by_h11(data, whole, unfinished)
    return requests


def check_head(request: Message, trusted: bool) -> None:
    """A head as a service may get it: one Host, one framing, nothing of the hop before, nobody's claims but ours."""
    names = [name.lower() for name, _ in request.fields]
    for name in names:
        plain = plain_of(name)
        assert plain not in HOP_BY_HOP, f"{name!r} went on to the service"
        assert name in IDENTITY or not NEVER.fullmatch(plain), f"{name!r} went on to the service"
        assert name in IDENTITY or trusted or not REPORTS.fullmatch(plain), f"{name!r} went on to the service"
        assert plain == name or plain not in IDENTITY, f"{name!r} went on to the service"
    if one(request, b"host") == GUARDED:
        tenants = [(name, value) for name, value in request.fields if plain_of(name) == plain_of(TENANT)]
        assert tenants == [(TENANT, b"ann")], f"{tenants} went on to the service"
    for name in ONCE:
        wanted = (0, 1) if name == b"x-forwarded-host" else (1,)  # HTTP/1.0 may name no host
        assert names.count(name) in wanted, f"{names.count(name)} fields {name!r}"
    assert names.count(b"transfer-encoding") + names.count(b"content-length") <= 1, "more than one framing"
    assert b"forwarded" not in names, "Forwarded went on to the service"
    if not trusted:
        assert one(request, b"x-forwarded-for") == one(request, b"x-real-ip") == ADDRESS.encode()
        assert b"tracestate" not in names, "a trace of nobody we trust"


def _compare(request: Message, seen: Seen, meant: Message | None) -> str | None:
    """What differs between a request at a service and what its client sent; None where nothing does."""
    exchange, head = seen.exchange, seen.request
    if head is None or meant is None or (exchange is None and not head):
        return "it is no request"
    if len(meant.all(b"host")) > 1:
        return "more than one Host"
    method, target, _ = meant.start
    if request.start[0] != method or request.start[2] != b"HTTP/1.1":
        return f"method or version, {meant.start}"
    wanted, host = _rewritten(target, _value(meant, b"host"))
    if request.start[1] not in wanted:
        return f"target, {wanted}"
    if one(request, b"host") != host and not one(request, b"host").partition(b":")[0].endswith((b".test", b"portico")):
        return f"host, {host!r}"
    if request.complete and (not meant.complete or request.body != meant.body):
        return f"body, {len(request.body)} bytes where {len(meant.body)} were meant"
    if not meant.body.startswith(request.body):
        return "the beginning of its body"
    named = {name.strip().lower() for value in meant.all(b"connection") for name in value.split(b",")}
    passed = {name.lower() for name, _ in request.fields} - IDENTITY - {b"via"}
    if named & passed:
        return f"fields of one hop, {named & passed}"
    return _compare_fields(request, meant, named)


def _compare_fields(request: Message, meant: Message, named: set[bytes]) -> str | None:
    """All other fields go on in order as they came, and none beside them."""
    dropped = HOP_BY_HOP | IDENTITY | named
    if one(request, b"host") == GUARDED:
        dropped |= {plain_of(TENANT)}

    def others(message: Message) -> list[tuple[bytes, bytes]]:
        plain = [(plain_of(name), (name, value)) for name, value in message.fields]
        return [
            each
            for name, each in plain
            if name not in dropped
            and each[0].lower() not in named
            and not NEVER.fullmatch(name)
            and not REPORTS.fullmatch(name)
        ]

    wanted, got = others(meant), others(request)
    if (b"Via", b"1.1 portico") in got:
        got.reverse()
        got.remove((b"Via", b"1.1 portico"))
        got.reverse()
    return None if got == wanted else f"fields, {got} where {wanted} were sent"


def _rewritten(target: bytes, host: bytes) -> tuple[set[bytes], bytes]:
    """The targets that a service may be sent for this one, by the routes as written; and the host asked for."""
    if not target.startswith(b"/"):
        rest = target.partition(b"://")[2]
        authority = rest.replace(b"?", b"/").partition(b"/")[0]
        host, target = host or authority, rest[len(authority) :] or b"/"
        target = b"/" + target if target.startswith(b"?") else target
    path, mark, query = target.partition(b"?")
    parts = path.split(b"/")[1:]
    plain = [unquote_to_bytes(part) for part in parts]
    found = set()
    for prefix, template in REWRITES.values():
        depth = len(prefix)
        if tuple(plain[:depth]) == prefix:
            found.add(template.replace(b"{path}", b"/".join(parts[depth:])) + mark + query)
    return found, host


def _check_by_h11(data: bytes, whole: list[Message], unfinished: list[Message]) -> None:
    """h11, as a server, reads the same requests."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 22)
    if data:  # to h11, no bytes are the end
        connection.receive_data(data)
    for message in [*whole, *unfinished]:
        event = connection.next_event()
        assert isinstance(event, h11.Request), f"h11 reads {event} where a request is"
        assert (event.method, event.target) == (message.start[0], message.start[1]), "h11 reads another request"
        body = bytearray()
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        assert body == message.body, "h11 reads another body"
        if not message.complete:
            assert event is h11.NEED_DATA, f"h11 reads {event} where more is to come"
            return
        assert isinstance(event, h11.EndOfMessage), f"h11 reads {event} where a request ends"
        connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()
    assert connection.next_event() in (h11.NEED_DATA, h11.PAUSED), "h11 reads bytes behind the last request"


def _end_of(requests: list[Message]) -> bytes:
    last = requests[-1]
    if last.all(b"transfer-encoding"):
        return b"0\r\n\r\n"
    return bytes(last.body) or b"\r\n\r\n"


def running(client: ClientEnd) -> Any:
    """The exchange that a client's connection is in the middle of."""
    receiver: Any = client.line.protocol.receiver  # type: ignore[attr-defined]
    return getattr(receiver, "exchange", receiver)


def one(message: Message, name: bytes) -> bytes:
    """The only value of a field that has to be there once."""
    values = message.all(name)
    assert len(values) == 1, f"{len(values)} fields {name!r}"
    return values[0]


def _value(message: Message, name: bytes) -> bytes:
    return next(iter(message.all(name)), b"")
