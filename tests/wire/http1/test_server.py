"""The client's side of the wire: how responses are delimited, and how connections end or live on."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from portico.core.fields import PASSES_OR_RAISES
from portico.core.messages import CHUNKED, UNTIL_CLOSE
from portico.wire.deadlines import NEVER
from portico.wire.frontend import Limits
from portico.wire.http1 import grammar
from portico.wire.http1 import server as server_module
from portico.wire.http1.server import ServerConnection
from wire.world import GET, Recorded, ServerWorld, decided, held, post, say, say_ok


@pytest.mark.parametrize(
    ("request_line", "fields", "framing", "head_ends", "body", "closes"),
    [
        ("GET / HTTP/1.1", "", 4, b"\r\n\r\n", b"abcd", False),
        (
            "GET / HTTP/1.1",
            "",
            CHUNKED,
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            False,
        ),
        ("GET / HTTP/1.1", "Connection: close\r\n", 4, b"Connection: close\r\n\r\n", b"abcd", True),
        (
            "GET / HTTP/1.1",
            "Connection: close\r\n",
            CHUNKED,
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            True,
        ),
        ("GET / HTTP/1.0", "", 4, b"Connection: close\r\n\r\n", b"abcd", True),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\n", 4, b"Connection: keep-alive\r\n\r\n", b"abcd", False),
        ("GET / HTTP/1.0", "", CHUNKED, b"Connection: close\r\n\r\n", b"abcd", True),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\n", CHUNKED, b"Connection: close\r\n\r\n", b"abcd", True),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\n", UNTIL_CLOSE, b"Connection: close\r\n\r\n", b"abcd", True),
        ("HEAD / HTTP/1.1", "", 0, b"\r\n\r\n", b"", False),
    ],
)
def test_response_is_delimited_as_the_version_allows(
    request_line: str, fields: str, framing: int, head_ends: bytes, body: bytes, closes: bool
) -> None:
    world = held(f"{request_line}\r\nHost: a\r\n{fields}\r\n".encode())
    stream = world.exchanges[0].stream
    stream.send_head(200, b"OK", [b"X: y"], framing)
    stream.send_body(b"ab")
    stream.send_body(b"cd")
    stream.end()
    world.loop.run()
    head, _, sent = world.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nX: y")
    assert (head + b"\r\n\r\n").endswith(head_ends)
    assert sent == body
    assert world.is_ending == closes
    assert world.exchanges[0].finishes == [None]


@pytest.mark.parametrize(
    ("status", "phrase", "line"),
    [
        (200, b"", b"HTTP/1.1 200 OK\r\n"),
        (200, b"OK", b"HTTP/1.1 200 OK\r\n"),
        (200, b"Fine", b"HTTP/1.1 200 Fine\r\n"),
        (404, b"Found", b"HTTP/1.1 404 Found\r\n"),
        (299, b"Odd", b"HTTP/1.1 299 Odd\r\n"),
        (299, b"", b"HTTP/1.1 299 \r\n"),
    ],
)
def test_phrase_is_sent_as_it_came(status: int, phrase: bytes, line: bytes) -> None:
    world = held(GET)
    world.exchanges[0].stream.send_head(status, phrase, [b"X: y"], 0)
    world.exchanges[0].stream.end()
    assert world.written.startswith(line)


def test_pieces_wait_for_the_end_of_the_turn() -> None:
    world = held(GET)
    stream = world.exchanges[0].stream
    stream.send_head(200, b"", [], 4)
    stream.send_body(b"ab")
    assert world.wire.transport.sent == b""
    world.loop.run()
    assert world.written == b"HTTP/1.1 200 OK\r\n\r\nab"
    assert (stream.bytes_out, stream.response_started) == (2, True)


@pytest.mark.parametrize(("version", "shown"), [(b"1.1", True), (b"1.0", False)])
def test_interim_responses_are_only_for_clients_that_know_them(version: bytes, shown: bool) -> None:
    world = held(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
    world.exchanges[0].stream.send_interim(103, b"Early Hints", [b"Link: </a>"])
    assert world.written == (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if shown else b"")


@pytest.mark.parametrize(
    ("data", "continued"),
    [
        (post(2, fields=b"Expect: 100-continue\r\n"), True),
        (post(2, b"hi", fields=b"Expect: 100-continue\r\n"), False),
        (post(0, fields=b"Expect: 100-continue\r\n"), False),
        (post(2), False),
        (b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", False),
    ],
)
def test_100_continue_is_sent_once_to_a_client_that_expects_it(data: bytes, continued: bool) -> None:
    world = held(data)
    world.exchanges[0].stream.read_body()
    assert world.written == (b"HTTP/1.1 100 Continue\r\n\r\n" if continued else b"")


@pytest.mark.parametrize(
    ("data", "rest", "next_is_read"),
    [
        (post(4, b"ab"), b"cd", True),
        (post(4), b"abcd", True),
        (post(300_000, b"ab"), b"c" * 1000, False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"0\r\n\r\n", False),
        (post(4, fields=b"Expect: 100-continue\r\n"), b"abcd", False),
    ],
)
def test_an_early_answer_and_the_rest_of_its_request(data: bytes, rest: bytes, next_is_read: bool) -> None:
    world = ServerWorld(early=True)
    world.wire.feed([data])
    assert world.exchanges[0].finishes == [None]
    assert (b"Connection: close" in world.written) != next_is_read
    world.wire.feed([rest, GET])
    assert len(world.exchanges) == (2 if next_is_read else 1)
    assert world.is_ending != next_is_read
    assert world.exchanges[0].pieces == []


def test_a_client_that_never_stops_sending_is_cut_off() -> None:
    world = ServerWorld()
    world.wire.feed([b"nonsense\r\n\r\n"])
    assert not world.wire.transport.aborted
    for _ in range(6):
        world.wire.feed([b"x" * 65_536])
    assert world.wire.transport.aborted


@pytest.mark.parametrize("count", [2, 16, 17, 50])
def test_pipelined_requests_are_answered_in_order(count: int) -> None:
    world = ServerWorld(respond=lambda each: say(each.stream, 200, each.request.target if each.request else b""))
    world.wire.feed([b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(count))])
    bodies = [part.split(b"\r\n\r\n")[1] for part in world.written.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"/%d" % number for number in range(count)]
    assert all(each.finishes == [None] for each in world.exchanges)


def test_a_pipelined_request_waits_for_the_answer_before_it() -> None:
    world = held(GET + GET)
    assert len(world.exchanges) == 1
    say_ok(world.exchanges[0])
    world.loop.run()
    assert len(world.exchanges) == 2


def test_too_much_pipelining_pauses_reading() -> None:
    world = held(GET)
    filler = b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 20_000)
    world.wire.feed([filler] * 4)
    assert world.wire.transport.paused
    for index in range(5):
        say_ok(world.exchanges[index])
        world.loop.run()
    assert not world.wire.transport.paused
    assert len(world.exchanges) == 5


@pytest.mark.parametrize(
    ("pieces", "finishes"),
    [
        ([GET], ["client_closed"]),
        ([post(4, b"ab")], ["client_closed"]),
        ([GET, GET], ["client_closed"]),
        ([GET[:10]], []),
        ([], []),
    ],
)
def test_a_client_that_leaves_ends_its_exchange_once(pieces: list[bytes], finishes: list[str]) -> None:
    world = ServerWorld(respond=None)
    world.wire.feed(pieces)
    world.wire.end(ConnectionResetError())
    assert [failure for each in world.exchanges for failure in each.finishes] == finishes
    assert (world.server.in_flight, world.server.connections) == (0, set())


# ---- what was not sent yet can be taken back


def started(*requests: bytes) -> ServerWorld:
    world = held(b"".join(requests))
    world.exchanges[0].stream.send_head(200, b"", [b"Content-Length: 10"], 10)
    world.exchanges[0].stream.send_body(b"half")
    return world


def test_a_response_of_which_nothing_is_sent_can_be_taken_back() -> None:
    world = started(GET)
    stream = world.exchanges[0].stream
    assert stream.take_back()
    assert (stream.response_started, stream.bytes_out) == (False, 0)
    say(stream, 502, b"another")
    world.loop.run()
    assert world.written.startswith(b"HTTP/1.1 502 ")
    assert world.written.endswith(b"\r\n\r\nanother")
    assert world.exchanges[0].finishes == [None]
    assert not world.is_ending


def test_what_was_sent_cannot_be_taken_back_and_goes_out_before_the_end() -> None:
    world = started(GET)
    world.loop.run()
    world.exchanges[0].stream.send_body(b"more")
    assert not world.exchanges[0].stream.take_back()
    world.exchanges[0].stream.abort("upstream_malformed")
    assert world.written.endswith(b"\r\n\r\nhalfmore")
    assert world.exchanges[0].finishes == ["upstream_malformed"]
    assert world.wire.transport.closing


def test_taking_back_leaves_earlier_responses() -> None:
    world = held(GET + GET)
    say_ok(world.exchanges[0])
    world.loop.run()
    stream = world.exchanges[1].stream
    stream.send_interim(103, b"Early Hints", [b"Link: </a>"])
    stream.send_head(200, b"", [b"Content-Length: 10"], 10)
    assert stream.take_back()
    say(stream, 502, b"no")
    world.loop.run()
    assert re.findall(rb"HTTP/1.1 (\d+)", world.written) == [b"200", b"103", b"502"]


# ---- the end of a drain


def test_the_end_of_a_drain_is_reported() -> None:
    """Who has had no response yet gets one, a response that has begun is broken off, and nobody else is blamed."""
    waiting, answering, idle = held(GET), started(GET), held(b"")
    answering.loop.run()
    for world in (waiting, answering, idle):
        world.server.cut()
        world.loop.run()
        assert world.is_ending
    assert waiting.exchanges[0].status == 503
    assert waiting.written.startswith(b"HTTP/1.1 503 ")
    assert answering.exchanges[0].finishes == ["drain_timeout"]
    assert idle.exchanges == []


@pytest.mark.parametrize("data", [b"", GET[:12], post(4, b"ab")])
def test_half_a_request_and_a_closed_side_end_the_connection(data: bytes) -> None:
    world = held(data)
    assert not world.connection.eof_received()


@pytest.mark.parametrize(
    ("data", "statuses", "finishes", "aborted"),
    [
        (b"", [], [], False),
        (b"GET / HT", [408], [[None]], False),
        (post(4, b"ab"), [408], [[None]], False),
        (GET, [None], [[]], False),
    ],
)
def test_a_deadline(data: bytes, statuses: list[int | None], finishes: list[list[str | None]], aborted: bool) -> None:
    world = held(data)
    world.connection.deadline_passed()
    world.loop.run()
    assert [each.status for each in world.exchanges] == statuses
    assert [each.finishes for each in world.exchanges] == finishes
    assert world.is_ending == (data != GET)
    assert world.wire.transport.aborted == aborted


def test_a_body_that_awaits_100_continue_has_no_deadline() -> None:
    """Its time begins with the 100, however long the handler has taken until then."""
    world, timeout = ServerWorld(), Limits().body_timeout
    world.handler.begin = Unhurried()  # type: ignore[method-assign]
    world.wire.feed([post(2, fields=b"Expect: 100-continue\r\n")])
    assert world.connection.deadline == NEVER
    world.connection.body_since = world.connection.paused_at = 0.0
    before = time.monotonic()
    world.connection.read_body()
    assert before + timeout <= world.connection.deadline <= time.monotonic() + timeout
    assert world.connection.body_since >= before, "nor does it count for the rate"


class Unhurried:
    """Begins an exchange, and wants nothing of its content for now."""

    def __call__(self, stream: Any, request: Any, content: bytes, now: float) -> None:
        stream.receiver = Recorded(stream, request)


def test_a_second_deadline_cuts_off_a_client_that_does_not_read_the_refusal() -> None:
    world = held(b"GET / HT")
    world.connection.deadline_passed()
    world.connection.deadline_passed()
    assert world.wire.transport.aborted


def test_a_client_that_stops_reading_is_cut_off() -> None:
    world = held(GET)
    stream = world.exchanges[0].stream
    stream.send_head(200, b"", [], 4)
    world.loop.run()
    world.connection.pause_writing()
    world.connection.deadline_passed()
    assert world.exchanges[0].finishes == ["client_stalled"]
    assert world.wire.transport.aborted


def test_a_response_that_breaks_off_is_seen_to_be_cut_short() -> None:
    world = held(GET + GET)
    stream = world.exchanges[0].stream
    stream.send_head(200, b"", [], CHUNKED)
    stream.send_body(b"half")
    stream.abort("upstream_reset")
    stream.abort("upstream_reset")
    world.loop.run()
    assert world.exchanges[0].finishes == ["upstream_reset"]
    assert world.wire.transport.aborted
    assert not world.written.endswith(b"0\r\n\r\n")
    assert len(world.exchanges) == 1


def test_a_broken_body_behind_a_response_that_began_cuts_it_short() -> None:
    world = held(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    stream = world.exchanges[0].stream
    stream.send_head(200, b"", [], CHUNKED)
    world.wire.feed([b"nonsense\r\n"])
    assert world.exchanges[0].finishes == ["malformed_request"]
    assert world.wire.transport.aborted


def test_draining_closes_idle_connections_and_lets_others_finish() -> None:
    world = ServerWorld(respond=None, connections=3)
    world.wire.feed([GET])
    world.wires[1].feed([GET])
    say_ok(world.exchanges[1])
    world.server.draining = True
    world.server.close_idle()
    assert [wire.transport.closing for wire in world.wires] == [False, True, False]
    world.wires[2].feed([GET])  # its first request was on the way
    say_ok(world.exchanges[2])
    say_ok(world.exchanges[0])
    world.loop.run()
    assert b"Connection: close\r\n" in world.written
    assert world.server.connections == set()


def test_connections_past_the_limit_get_a_503() -> None:
    world = ServerWorld(Limits(connections=1))
    late = world.connect()
    late.feed([GET])
    assert late.transport.written.startswith(b"HTTP/1.1 503 ")
    assert late.transport.closing or late.transport.eof_written
    world.wire.feed([GET])
    assert world.written.startswith(b"HTTP/1.1 200 ")
    late.end()
    world.wire.end()
    assert (world.server.connections, world.server.in_flight) == (set(), 0)


def test_backpressure_reaches_the_client() -> None:
    world = held(post(4, b"ab"))
    stream = world.exchanges[0].stream
    stream.pause_reading()
    assert world.wire.transport.paused
    stream.resume_reading()
    assert not world.wire.transport.paused
    world.wire.feed([b"cd"])
    assert (world.exchanges[0].body, world.exchanges[0].ended, stream.bytes_in) == (b"abcd", 1, 4)


class Parses:
    """Counts the heads that are read field by field."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._parse = grammar.parse_request_head
        monkeypatch.setattr(server_module, "parse_request_head", self)

    def __call__(self, *arguments: Any) -> Any:
        self.count += 1
        return self._parse(*arguments)


def asked(target: bytes, accept: bytes, method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: a\r\nAccept: %b\r\n\r\n" % (method, target, accept)


def test_fields_that_come_again_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parses, accepts = Parses(monkeypatch), [b"text/html", b"text/css", b"image/*"]
    world, kept = ServerWorld(respond=None), set()
    for number in range(12):
        accept = accepts[number % 3]
        world.wire.feed([asked(b"/%d" % number, accept)])
        request = world.exchanges[-1].request
        assert request is not None
        assert (request.target, request.fields.get(b"accept")) == (b"/%d" % number, accept)
        kept.add(id(request.fields))
        say_ok(world.exchanges[-1])
        world.loop.run()
    assert (parses.count, len(kept)) == (1, 3)
    assert world.written.count(b"HTTP/1.1 200") == 12


@pytest.mark.parametrize(
    "other",
    [
        b"GET / HTTP/1.1\r\nHost: b\r\nAccept: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nAccept: b\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAccepts: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nAccept: b\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n",
    ],
)
def test_fields_on_which_something_depends_are_read(monkeypatch: pytest.MonkeyPatch, other: bytes) -> None:
    world, fresh, parses = ServerWorld(), ServerWorld(), Parses(monkeypatch)
    world.wire.feed([asked(b"/", b"a")])
    world.wire.feed([other])
    fresh.wire.feed([other])
    assert parses.count == 3
    assert decided(world.exchanges[1]) == decided(fresh.exchanges[0])


def test_fields_are_remembered_over_requests_with_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    parses, world = Parses(monkeypatch), ServerWorld()
    for _ in range(5):
        world.wire.feed([GET])
        world.wire.feed([post(1, b"x")])
    assert parses.count == 2
    assert [each.body for each in world.exchanges] == [b"", b"x"] * 5


@pytest.mark.parametrize("size", [5, 12, 0])
def test_a_body_of_another_length_under_the_same_fields(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    parses, world = Parses(monkeypatch), ServerWorld()
    contents = [b"x" * 5, b"y" * size, b"z" * 5]
    for content in contents:
        world.wire.feed([post(len(content), content)])
    assert [each.body for each in world.exchanges] == contents
    assert [each.request.framing for each in world.begun if each.request] == [5, size, 5]
    assert parses.count == 1


@pytest.mark.parametrize("first", [0, 1, 4])
def test_the_remaining_body_comes_later(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    parses, world = Parses(monkeypatch), held(post(5, b"abcde"))
    say_ok(world.exchanges[0])
    head, content = post(5), b"fghij"
    world.wire.feed([head + content[:first]])
    assert not world.exchanges[1].ended
    world.wire.feed([content[first:]])
    assert (world.exchanges[1].body, world.exchanges[1].ended, world.connection.bytes_in) == (content, 1, 5)
    say_ok(world.exchanges[1])
    world.wire.feed([head + b"klmno"])
    assert (world.exchanges[2].body, world.exchanges[2].ended, world.connection.bytes_in) == (b"klmno", 1, 5)
    assert parses.count == 1


def test_what_follows_a_body_is_another_request() -> None:
    world = ServerWorld()
    world.wire.feed([post(1, b"a")])
    world.wire.feed([post(1, b"b") + post(2, b"cd") + GET])
    assert [each.body for each in world.exchanges] == [b"a", b"b", b"cd", b""]
    assert world.written.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("length", [b"-1", b"5, 5", b"x", b"", b"99999999999999999999"])
def test_a_length_that_is_none_is_refused_where_the_fields_are_known(length: bytes) -> None:
    world, fresh = ServerWorld(), ServerWorld()
    world.wire.feed([post(1, b"a")])
    bad = post(1, b"a").replace(b"Content-Length: 1", b"Content-Length: " + length)
    world.wire.feed([bad])
    fresh.wire.feed([bad])
    assert [decided(each) for each in world.exchanges[1:]] == [decided(each) for each in fresh.exchanges]
    assert [each.status for each in world.exchanges] == [None, 400]


@pytest.mark.parametrize("again", [post(20, b"x" * 20), post(21, b"x" * 21)])
def test_a_lower_body_limit_holds_for_known_fields(again: bytes) -> None:
    world = ServerWorld(Limits(body_size=20))
    world.wire.feed([post(20, b"x" * 20)])
    world.server.limits = Limits(body_size=19)
    world.wire.feed([again])
    assert [each.status for each in world.exchanges] == [None, 413]


def test_a_lower_number_of_fields_holds_for_known_fields() -> None:
    """For those of the request before, and for those of one before that."""
    world = ServerWorld(connections=2)
    for wire in world.wires:
        wire.feed([asked(b"/", b"a")])
    world.wires[1].feed([GET])
    world.server.change(Limits(header_count=1))
    for wire in world.wires:
        wire.feed([asked(b"/", b"a")])
    assert [each.status for each in world.exchanges] == [None, None, None, 431, 431]


def test_limits_that_change_while_a_request_is_answered_leave_its_response_alone() -> None:
    world = held(GET)
    world.server.change(Limits(header_count=1))
    world.exchanges[0].stream.send_whole(200, (b"HTTP/1.1 200 OK", b"\r\n\r\n", b"ab"), 2, 0.0)
    world.wire.feed([GET])
    assert world.written == b"HTTP/1.1 200 OK\r\n\r\nab"
    assert [each.finishes for each in world.exchanges] == [[None], []]


@pytest.mark.parametrize("known", [b"", GET])
def test_a_request_with_a_word_for_the_gateway_is_not_taken_for_the_one_before_it(known: bytes) -> None:
    """One of HTTP/1.0 gets no chunks, whatever came before it, and those after it are of their own version."""
    world = held()
    world.server.change(Limits(), PASSES_OR_RAISES)
    if known:
        world.wire.feed([known])
        say_ok(world.exchanges[-1])
    before = len(world.written)
    world.wire.feed([b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nX-Portico-Explain: 1\r\n\r\n"])
    world.exchanges[-1].stream.send_whole(200, (b"HTTP/1.1 200 OK", b"\r\n\r\n", b"ab"), CHUNKED, 0.0)
    assert world.written[before:] == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab"
    assert world.is_ending


def test_known_fields_behind_a_request_with_a_word_for_the_gateway() -> None:
    world = held()
    world.server.change(Limits(), PASSES_OR_RAISES)
    aside = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nX-Portico-Explain: 1\r\n\r\n"
    for raw in (GET, aside, GET):
        world.wire.feed([raw])
        assert world.connection.takes_interim() is (raw is GET)
        say_ok(world.exchanges[-1])
        world.loop.run()


def test_expect_100_continue_under_known_fields() -> None:
    world = held()
    for length, content in ((0, b""), (2, b""), (2, b"ab"), (2, b""), (3, b"efg"), (2, b"")):
        world.wire.feed([post(length, content, b"Expect: 100-continue\r\n")])
        if len(content) < length:
            assert world.written.endswith(b"100 Continue\r\n\r\n")
            world.wire.feed([b"cd"])
        say_ok(world.exchanges[-1])
        world.loop.run()
    assert [each.body for each in world.exchanges] == [b"", b"cd", b"ab", b"cd", b"efg", b"cd"]
    assert world.written.count(b"100 Continue") == 3


def test_the_same_fields_with_another_method_are_another_request() -> None:
    world = ServerWorld(respond=None)
    for method, accept in [(b"GET", b"a"), (b"GET", b"b"), (b"PUT", b"a"), (b"GET", b"b"), (b"GET", b"a")]:
        world.wire.feed([asked(b"/", accept, method)])
        request = world.exchanges[-1].request
        assert request is not None
        assert (request.method, request.fields.get(b"accept")) == (method, accept)
        say_ok(world.exchanges[-1])
        world.loop.run()


def test_what_stands_behind_remembered_fields_is_a_request_of_its_own() -> None:
    world = ServerWorld()
    for data in (asked(b"/1", b"a"), asked(b"/2", b"b"), asked(b"/3", b"a") + asked(b"/4", b"b"), asked(b"/5", b"a")):
        world.wire.feed([data])
    assert [each.request.target for each in world.exchanges if each.request] == [b"/%d" % n for n in range(1, 6)]


def test_a_client_whose_fields_are_always_new_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    parses, world = Parses(monkeypatch), ServerWorld()
    connection = world.wire.protocol
    assert isinstance(connection, server_module.ServerConnection)
    for number in range(100):
        world.wire.feed([asked(b"/", b"%d" % number)])
        assert len(connection.heads.entries) <= 6
    assert parses.count == 1
    assert connection.heads.entries == {}


# ---- faults: exceptions that nobody foresaw


def _raise(*_: object) -> None:
    raise RuntimeError


def test_a_drain_closes_the_others_where_one_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = ServerWorld(connections=5)
    for wire in world.wires:
        wire.feed([GET])
    close_if_idle = ServerConnection.close_if_idle
    faulty = world.wires[2].protocol

    def close(connection: ServerConnection) -> None:
        if connection is faulty:
            raise RuntimeError
        close_if_idle(connection)

    monkeypatch.setattr(ServerConnection, "close_if_idle", close)
    world.server.draining = True
    world.server.close_idle()
    world.loop.run()
    assert not world.server.connections
    (record,) = caplog.records
    assert record.exc_info


def test_an_exchange_that_cannot_be_ended_as_it_should_costs_nobody_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = ServerWorld()
    world.wire.feed([GET])

    def respond(recorded: Recorded) -> None:
        recorded.finished = _raise  # type: ignore[method-assign,assignment]
        say_ok(recorded)

    world.handler.respond = respond
    world.wire.feed([GET, GET + GET])
    assert world.written.count(b"HTTP/1.1 200") == 4
    assert not world.is_ending
    assert world.server.in_flight == 0
    assert len(caplog.records) == 3


@pytest.mark.parametrize("call", ["body_received", "body_ended", "pause_writing", "resume_writing", "going_away"])
def test_a_fault_of_the_handler_ends_connection_and_exchange(caplog: pytest.LogCaptureFixture, call: str) -> None:
    world = ServerWorld(respond=None, connections=2)
    connection = world.connection
    upload = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    world.wire.feed([upload])
    (recorded,) = world.exchanges
    setattr(recorded, call, _raise)
    world.wire.feed([b"abc"])
    match call:
        case "body_ended":
            world.wire.feed([b"def"])
        case "pause_writing":
            connection.pause_writing()
        case "resume_writing":
            connection.pause_writing()
            connection.resume_writing()
        case "going_away":
            connection.state = server_module._TUNNEL
            world.server.close_idle()
    world.loop.run()
    assert world.wire.transport.aborted
    assert recorded.finishes == ["internal_error"]
    assert world.server.in_flight == 0
    assert [connection.transport for connection in world.server.connections] == [world.wires[1].transport]
    assert any(record.exc_info for record in caplog.records)


def test_a_fault_after_an_answer_does_not_bring_a_second_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler would get the failure reported, and answer once more."""
    answered: list[Exception] = []

    def respond(recorded: Recorded) -> None:
        try:
            say_ok(recorded)
        except Exception as error:
            answered.append(error)

    world = ServerWorld(respond=respond)
    monkeypatch.setattr(ServerConnection, "_next", _raise)
    world.wire.feed([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"])
    (recorded,) = world.exchanges
    assert (recorded.finishes, answered) == ([None], [])
    assert world.wire.transport.aborted
    assert len(caplog.records) == 1


def test_a_connection_that_could_not_begin_is_closed_and_forgotten(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = ServerWorld()
    monkeypatch.setattr(server_module, "client_at", _raise)
    wire = world.connect()
    assert wire.transport.aborted
    assert [connection.transport for connection in world.server.connections] == [world.wire.transport]
    assert len(caplog.records) == 1
