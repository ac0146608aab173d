"""Back to the client: one response for each request, in order, each what its service meant."""

from __future__ import annotations

from typing import Final

import h11

from .ends import ClientEnd
from .passed_on import HOP_BY_HOP, one
from .readers import Message, read_requests, read_responses
from .simulation import Seen, Simulation

NOT_BACK: Final = HOP_BY_HOP - {b"connection", b"expect", b"proxy-authorization"}
"""What no client may be sent; `Connection` is the gateway's own then."""


def method_of(seen: Seen) -> bytes:
    """The method that an exchange's client used, also where the gateway understood nothing else."""
    if seen.request is not None:
        return seen.request.method
    return b"HEAD" if seen.exchange is not None and seen.exchange.method == "HEAD" else b"GET"


def responses_of(simulation: Simulation, client: ClientEnd) -> list[Message]:
    """The responses that a client got, whose requests the gateway understood."""
    methods = [method_of(seen) for seen in simulation.seen_of(client)]
    line = client.line
    ended = line.is_over() and not line.cut
    found, rest = read_responses(bytes(line.received), methods, ended)
    assert not rest, f"bytes that answer nothing: {rest[:60]!r}"
    assert all(message.fault is None for message in found), f"a client got broken bytes: {found[-1].fault}"
    return found


def check_client(simulation: Simulation, client: ClientEnd) -> None:
    """One client's connection: a response to each request in order, each what its service meant."""
    check_order(simulation, client)
    entries = simulation.seen_of(client)
    for message, seen in zip(responses_of(simulation, client), entries, strict=False):
        _check_response(simulation, message, seen, client.line.eof_delivered)


def check_order(simulation: Simulation, client: ClientEnd) -> None:
    """One client's connection: a response to each request in order, whatever it says."""
    entries = simulation.seen_of(client)
    line = client.line
    responses = responses_of(simulation, client)
    whole = [message for message in responses if message.complete]
    _check_by_h11_client(bytes(line.received), entries, whole, line.is_over() and not line.cut)
    finished = [seen for seen in entries if seen.ends == [None]]
    torn = line.cut or client.deaf or not line.peer_reads
    assert len(whole) <= len(finished), "a whole response to a request that did not end well"
    owed = len(finished) - _left_within_a_request(client)
    assert torn or len(whole) >= owed, f"{len(finished)} responses sent, {len(whole)} arrived"
    assert all(len(seen.ends) <= 1 for seen in entries), "an exchange that ended twice"
    for seen in entries[:-1]:
        assert seen.ends == [None], f"a request was taken up although the one before it ended as {seen.ends}"
    for message in responses[:-1]:
        assert not _says_close(message), "a response behind the one that says close"
    _check_unanswered(client, entries, responses)


def _left_within_a_request(client: ClientEnd) -> bool:
    """Whether a client ended its side before its last request was whole: then it is owed no answer to that."""
    meant = read_requests(bytes(client.line.delivered))
    return client.line.eof_delivered and bool(meant) and not meant[-1].complete


def _check_response(simulation: Simulation, message: Message, seen: Seen, hung_up: bool) -> None:
    exchange = seen.exchange
    assert exchange is not None or not message.complete
    for interim in message.interims:
        assert not interim.all(b"content-length"), "an interim response with a length"
        waits = seen.request and seen.request.expects_continue
        assert interim.status != 100 or waits or hung_up, "100 for a client that neither waits nor hung up"
    assert not (message.status == 204 and message.all(b"content-length")), "204 with a length"
    for name, _ in message.fields:
        plain = name.lower()
        assert plain not in NOT_BACK, f"{name!r} went back to the client"
    if exchange is None:
        return
    assert message.all(b"x-request-id") == [exchange.request_id.encode()], "another request's response"
    assert not message.complete or message.status == exchange.status, "another status than was observed"
    if exchange.attempts and (exchange.reason is None or not message.complete):
        meant = meant_by_services(simulation, exchange.request_id)
        if message.complete:
            right = any(each.complete and each.status == message.status and each.body == message.body for each in meant)
        else:
            right = any(each.status == message.status and each.body.startswith(message.body) for each in meant)
        assert right, f"{message.status} {bytes(message.body[:40])!r} is no service's answer to this request: {meant}"


def meant_by_services(simulation: Simulation, request_id: str) -> list[Message]:
    """What services answered to the tries of one request, by a reading of its own."""
    found = []
    for service in simulation.services:
        asked = service.requests
        line = service.line
        ended = line.lost and not line.cut
        answers, _ = read_responses(bytes(line.delivered), [request.start[0] for request in asked], ended)
        found += [
            answer
            for request, answer in zip(asked, answers, strict=False)
            if one(request, b"x-request-id") == request_id.encode()
        ]
    return found


def _check_unanswered(client: ClientEnd, entries: list[Seen], responses: list[Message]) -> None:
    """A connection that the gateway closes in good order left no whole request unanswered without a word.

    Behind the end of the client's own side it owes an answer to the request that is under way, no more.
    """
    line = client.line
    if (
        not line.closing
        or line.cut
        or line.eof_delivered
        or not line.peer_reads
        or any(seen.request is None for seen in entries)
    ):
        return
    if responses and (_says_close(responses[-1]) or not responses[-1].complete or len(responses) < len(entries)):
        return
    if entries and entries[-1].request and entries[-1].request.version == 10 and not entries[-1].request.keep_alive:
        return
    meant = [message for message in read_requests(bytes(line.delivered)) if message.complete]
    assert len(meant) <= len(entries), f"closed with {len(meant) - len(entries)} whole requests unanswered"


def _check_by_h11_client(data: bytes, entries: list[Seen], whole: list[Message], ended: bool) -> None:
    """h11, as a client, reads the same whole responses."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 22)
    connection.receive_data(data)
    if ended:
        connection.receive_data(b"")
    for message, seen in zip(whole, entries, strict=False):
        method = method_of(seen)
        connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
        connection.send(h11.EndOfMessage())
        while isinstance(event := connection.next_event(), h11.InformationalResponse):
            pass
        assert isinstance(event, h11.Response), f"h11 reads {event} where a response is"
        assert event.status_code == message.status, "h11 reads another response"
        body = bytearray()
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        assert body == message.body, "h11 reads another body"
        assert isinstance(event, h11.EndOfMessage), f"h11 reads {event} where a response ends"
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            assert message is whole[-1], "h11 expects no response behind this one"
            return
        connection.start_next_cycle()


def _says_close(message: Message) -> bool:
    return any(value.lower() == b"close" for value in message.all(b"connection"))
