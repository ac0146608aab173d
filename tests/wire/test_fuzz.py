"""Whatever bytes come, however they are cut: no exception escapes, and every exchange that began ends once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.messages import CHUNKED, ResponseHead
from portico.wire.client import ResponseHeads
from portico.wire.frontend import Limits

from .world import Answered, ServerWorld, UpstreamWorld, corpus, decided, raw_bytes

some = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

REQUESTS = [raw_bytes(case["raw"]) for case in corpus("request") if "limits" not in case]
RESPONSES = [raw_bytes(case["raw"]) for case in corpus("response")]
REQUESTS, RESPONSES = ([raw for raw in raws if len(raw) < 1000] for raws in (REQUESTS, RESPONSES))
SPICE = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\x00",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\x0b",
        b"\x80",
        b"0\r\n\r\n",
        b"ffff",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"Connection: close\r\n",
        b"Host: b\r\n",
        b"HTTP/1.1",
    ),
]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One or two seeds in a row, with a few bytes taken out, put in or put elsewhere."""
    data = b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        spice = draw(st.one_of(st.sampled_from(SPICE), st.binary(max_size=4), st.just(data[start:end] * 2)))
        data = data[:start] + spice + data[end:]
    return data


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    marks = [0, *sorted({position % (len(data) + 1) for position in positions}), len(data)]
    return [data[a:b] for a, b in pairwise(marks) if a < b]


cuts = st.lists(st.integers(0, 2000), max_size=12)


def told(world: ServerWorld) -> list[Any]:
    """What a handler and a client would notice, without the statuses of refusals and what came before them."""
    return [
        (each.request.method, each.request.target, each.body if each.status is None else "refused", each.ended)
        if each.request
        else "refused"
        for each in world.exchanges
    ]


def check_over(world: ServerWorld) -> None:
    world.wire.end()
    assert [each.finishes for each in world.exchanges if len(each.finishes) != 1] == []
    assert (world.server.in_flight, world.server.connections) == (0, set())


@some
@given(st.one_of(st.binary(max_size=300), mutated(REQUESTS)), cuts)
def test_any_bytes_from_a_client(data: bytes, positions: list[int]) -> None:
    whole, parts = ServerWorld(), ServerWorld()
    whole.wire.feed([data] if data else [])
    parts.wire.feed(cut(data, positions))
    assert told(whole) == told(parts)
    assert whole.is_ending == parts.is_ending
    check_over(whole)
    check_over(parts)


BROWSER = (
    b"GET /a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nCookie: a=1; b=2\r\n"
    b'Connection: keep-alive\r\nX-Request-Id: 12\r\nIf-None-Match: "a"\r\n\r\n'
)
SCRIPT = (
    b"POST /a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: Script/1.0\r\nContent-Type: application/json\r\n"
    b'Content-Length: 11\r\nX-Request-Id: 12\r\n\r\n{"ab": "c"}'
)


@some
@given(st.lists(mutated([BROWSER, SCRIPT]), min_size=1, max_size=5), cuts)
def test_any_bytes_are_read_as_on_a_new_connection(requests: list[bytes], positions: list[int]) -> None:
    """What a connection remembers of the requests before changes nothing."""
    used = ServerWorld()
    used.wire.feed([BROWSER])
    used.wire.feed([SCRIPT])
    for data in requests:
        if used.is_ending:
            break
        seen, fresh = len(used.exchanges), ServerWorld()
        used.wire.feed(cut(data, positions))
        fresh.wire.feed(cut(data, positions))
        assert list(map(decided, used.exchanges[seen:])) == list(map(decided, fresh.exchanges))
        assert [each.body for each in used.exchanges[seen:]] == [each.body for each in fresh.exchanges]
        if used.connection.buffer or not used.connection.request_done:
            break  # the rest of a request that began
    check_over(used)


@some
@given(mutated(REQUESTS), cuts, st.integers(0, 3), st.booleans())
def test_any_bytes_while_answers_come_late_or_break_off(
    data: bytes, positions: list[int], skip: int, breaks: bool
) -> None:
    world = ServerWorld(Limits(body_size=100, header_size=400, url_length=100), respond=None)
    for index, piece in enumerate(cut(data, positions)):
        world.wire.feed([piece])
        if world.exchanges and not world.exchanges[-1].finishes and index >= skip:
            stream = world.exchanges[-1].stream
            stream.send_head(200, b"", [], CHUNKED)
            stream.send_body(b"x")
            if breaks:
                stream.abort("upstream_reset")
            else:
                stream.end()
            world.loop.run()
    check_over(world)


@some
@given(st.one_of(st.binary(max_size=300), mutated(RESPONSES)), cuts, st.sampled_from([b"GET", b"HEAD"]), st.booleans())
def test_any_bytes_from_a_service(data: bytes, positions: list[int], method: bytes, ends: bool) -> None:
    outcomes = []
    for pieces in ([data] if data else [], cut(data, positions)):
        world = UpstreamWorld()
        answered = world.start(method)
        world.wire.feed(pieces)
        if ends:
            world.wire.end()
            assert answered.ends + len(answered.errors) == 1
            assert not world.connection.is_alive()
        head = answered.head
        body = answered.body if not answered.errors else None
        legs = [error.leg for error in answered.errors]
        outcomes.append((head and head.status, answered.interims, body, answered.ends, legs))
        assert not (world.connection.is_reusable() and answered.errors)
    assert outcomes[0] == outcomes[1]


SERVICE = (
    b'HTTP/1.1 200 OK\r\nServer: a\r\nDate: Mon, 23 Nov 2026 06:00:00 GMT\r\nETag: "12"\r\nContent-Length: 5\r\n'
    b"Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\nhello"
)
CHUNKS = SERVICE.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked").replace(
    b"hello", b"5\r\nhello\r\n0\r\n\r\n"
)
NOTHING_NEW = SERVICE.replace(b"200 OK", b"304 Not Modified").removesuffix(b"hello")


def understood(answered: Answered) -> object:
    """All that was found in a response, or at which leg it failed."""
    head, names = answered.head, [name for name in ResponseHead.__slots__ if name != "fields"]
    found = head and [*(getattr(head, name) for name in names), head.fields.names, head.fields.lines]
    legs = [error.leg for error in answered.errors]
    return found, answered.interims, answered.body, answered.ends, answered.reusable, legs


@some
@given(
    st.sampled_from([SERVICE, CHUNKS, NOTHING_NEW]),
    st.lists(mutated([SERVICE, CHUNKS, NOTHING_NEW]), min_size=1, max_size=5),
    cuts,
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_any_bytes_are_read_as_from_a_new_instance(
    first: bytes, responses: list[bytes], positions: list[int], method: bytes
) -> None:
    """What is remembered of an instance's responses changes nothing."""
    heads = ResponseHeads()
    warm = UpstreamWorld(heads)
    warm.start()
    warm.wire.feed([first])
    for data in responses:
        outcomes = []
        for world in (UpstreamWorld(heads), UpstreamWorld()):
            answered = world.start(method)
            world.wire.feed(cut(data, positions))
            outcomes.append((understood(answered), world.connection.is_alive()))
        assert outcomes[0] == outcomes[1]


# ---- what a valid message says, by a model that shares nothing with the parser


@dataclass(frozen=True)
class Sent:
    method: str
    target: str
    chunks: list[bytes]
    chunked: bool

    def encoded(self, upper: bool) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: a"]
        body = b"".join(self.chunks)
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            sizes = [format(len(chunk), "X" if upper else "x").encode() for chunk in self.chunks]
            pairs = zip(sizes, self.chunks, strict=True)
            body = b"".join(size + b"\r\n" + chunk + b"\r\n" for size, chunk in pairs) + b"0\r\n\r\n"
        elif body or self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


messages = st.builds(
    Sent,
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.text("abc/?&=%25", max_size=10).map("/".__add__),
    st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\r\n", b"0\r\n\r\n"])), max_size=4),
    st.booleans(),
)


@some
@given(st.lists(messages, min_size=1, max_size=4), cuts, st.booleans())
def test_valid_requests_are_read_as_they_were_meant(sent: list[Sent], positions: list[int], upper: bool) -> None:
    world = ServerWorld()
    world.wire.feed(cut(b"".join(each.encoded(upper) for each in sent), positions))
    got = [
        (each.request.method.decode(), each.request.target.decode(), each.body) if each.request else None
        for each in world.exchanges
    ]
    assert got == [(each.method, each.target, b"".join(each.chunks)) for each in sent]
    assert not world.is_ending
    check_over(world)


@some
@given(messages, cuts)
def test_valid_responses_are_read_as_they_were_meant(sent: Sent, positions: list[int]) -> None:
    body = b"".join(sent.chunks)
    fields = b"Transfer-Encoding: chunked" if sent.chunked else b"Content-Length: %d" % len(body)
    content = sent.encoded(upper=False).partition(b"\r\n\r\n")[2]
    world = UpstreamWorld()
    answered = world.start()
    world.wire.feed(cut(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + content, positions))
    assert (answered.body, answered.ends, answered.reusable) == (body, 1, True)
