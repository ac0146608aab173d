"""Whatever bytes come, however they are cut: no exception escapes, and every exchange that began ends once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.core.messages import CHUNKED, ResponseHead
from portico.wire.frontend import Limits
from portico.wire.http1.response_forms import ResponseForms
from portico.wire.http1.response_heads import ResponseHeads
from support.corpus import corpus, raw_bytes

from .world import Answered, ServerWorld, UpstreamWorld, decided

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
    """One or two seeds in a row, with a few bytes removed, inserted or put elsewhere."""
    return spoil(draw, b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=2))))


@st.composite
def spoilt(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message that is mostly left as it is."""
    data = draw(messages)
    return spoil(draw, data) if draw(st.integers(0, 2)) == 0 else data


def spoil(draw: st.DrawFn, data: bytes) -> bytes:
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


def outcome(world: ServerWorld) -> list[Any]:
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
    assert outcome(whole) == outcome(parts)
    assert whole.is_ending == parts.is_ending
    check_over(whole)
    check_over(parts)


@st.composite
def worded(draw: st.DrawFn, start: bytes, lines: dict[bytes, list[bytes]], contents: list[bytes]) -> bytes:
    """A message with the same names, of whose lines each says one thing or another; mostly what comes first."""
    said = [
        name + b": " + draw(st.one_of(st.just(values[0]), st.sampled_from(values))) for name, values in lines.items()
    ]
    return b"\r\n".join((start, *said, b"", draw(st.sampled_from(contents))))


BROWSER = worded(
    b"GET /a HTTP/1.1",
    {
        b"Host": [b"a.example", b"b.example", b"a b"],
        b"User-Agent": [b"Mozilla/5.0"],
        b"Cookie": [b"a=1; b=2", b"a=1; b=3", b""],
        b"Connection": [b"keep-alive", b"close", b"cookie"],
        b"X-Request-Id": [b"12", b"123", b"\x00"],
    },
    [b"", b"", b"x"],
)
SCRIPT = worded(
    b"POST /a HTTP/1.1",
    {
        b"Host": [b"a.example", b"b.example"],
        b"Connection": [b"keep-alive", b"close"],
        b"Content-Type": [b"text/plain", b"a/b"],
        b"Content-Length": [b"11", b"0", b"5", b"x", b"1, 1"],
    },
    [b"hello world", b"hello", b"", b"0\r\n\r\n"],
)
EXPECTING = worded(
    b"PUT /a HTTP/1.1",
    {b"Host": [b"a.example"], b"Content-Length": [b"0", b"5", b"5"], b"Expect": [b"100-continue", b"nothing"]},
    [b"", b"hello"],
)
CLIENTS = st.one_of(BROWSER, SCRIPT, EXPECTING)


@some
@given(st.lists(CLIENTS, min_size=1, max_size=3), st.lists(spoilt(CLIENTS), min_size=1, max_size=5), cuts)
def test_any_bytes_are_read_as_on_a_new_connection(
    first: list[bytes], requests: list[bytes], positions: list[int]
) -> None:
    """What a connection remembers of the requests before changes nothing."""
    used = ServerWorld()
    for data in first:
        if not (used.is_ending or used.connection.buffer or not used.connection.request_done):
            used.wire.feed([data])
    for data in requests:
        if used.is_ending or used.connection.buffer or not used.connection.request_done:
            break  # the rest of a request that began
        seen, continues, fresh = len(used.exchanges), used.written.count(b"100 Continue"), ServerWorld()
        used.wire.feed(cut(data, positions))
        fresh.wire.feed(cut(data, positions))
        assert list(map(decided, used.exchanges[seen:])) == list(map(decided, fresh.exchanges))
        assert [each.body for each in used.exchanges[seen:]] == [each.body for each in fresh.exchanges]
        assert used.written.count(b"100 Continue") - continues == fresh.written.count(b"100 Continue")
        assert used.connection.buffer == fresh.connection.buffer
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
        phases = [error.phase for error in answered.errors]
        outcomes.append((head and head.status, answered.interims, body, answered.ends, phases))
        assert not (world.connection.is_reusable() and answered.errors)
    assert outcomes[0] == outcomes[1]


FIELDS = {
    b"Date": [b"Mon, 23 Nov 2026 06:00:00 GMT", b"Mon, 23 Nov 2026 06:00:01 GMT"],
    b"ETag": [b"a", b"bb"],
    b"Connection": [b"keep-alive", b"close", b"etag"],
    b"Keep-Alive": [b"timeout=5", b"timeout=60"],
}
LENGTHS = {b"Content-Length": [b"5", b"0", b"15", b"x"]}
CONTENTS = [b"hello", b"hello", b"", b"hello world, all"]
SERVICES = st.one_of(
    worded(b"HTTP/1.1 200 OK", {**FIELDS, **LENGTHS}, CONTENTS),
    worded(b"HTTP/1.1 404 Not Found", {**FIELDS, **LENGTHS}, CONTENTS),
    worded(b"HTTP/1.1 304 Not Modified", {**FIELDS, **LENGTHS}, [b"", b"hello"]),
    worded(
        b"HTTP/1.1 200 OK",
        {**FIELDS, b"Transfer-Encoding": [b"chunked", b"gzip"]},
        [b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"0\r\n\r\n0\r\n\r\n"],
    ),
)


def understood(answered: Answered) -> object:
    """All that was found in a response, or at which phase it failed."""
    head, names = answered.head, [name for name in ResponseHead.__slots__ if name not in ("fields", "passed")]
    found = head and [*(getattr(head, name) for name in names), head.fields.names, head.fields.lines]
    phases = [error.phase for error in answered.errors]
    return found, answered.interims, answered.body, answered.ends, answered.reusable, phases


@some
@given(
    st.lists(SERVICES, min_size=1, max_size=3),
    st.lists(spoilt(SERVICES), min_size=1, max_size=5),
    cuts,
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_any_bytes_are_read_as_from_a_new_instance(
    first: list[bytes], responses: list[bytes], positions: list[int], method: bytes
) -> None:
    """What is remembered of an instance's responses changes nothing."""
    heads = ResponseHeads(forms=ResponseForms(often=1, pause=0.0))
    for data in first:
        warm = UpstreamWorld(heads)
        warm.start()
        warm.wire.feed([data])
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
