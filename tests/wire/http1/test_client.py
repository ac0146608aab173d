"""The service's side of the wire beyond single responses: reuse, early answers, backpressure, deadlines."""

from __future__ import annotations

import time

import pytest

from portico.core.errors import UpstreamError
from portico.wire.deadlines import NEVER
from portico.wire.http1 import client as client_module
from portico.wire.http1.chunked import ChunkedDecoder
from wire.world import Answered, Timeouts, UpstreamWorld

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_connection_carries_one_exchange_after_another() -> None:
    world = UpstreamWorld()
    for _ in range(3):
        answered = world.start()
        world.wire.feed([OK])
        assert (answered.body, answered.reusable) == (b"hi", True)
        assert world.connection.is_alive()
    assert world.wire.transport.written == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3


@pytest.mark.parametrize(("chunked", "sent"), [(False, b"abcd"), (True, b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")])
def test_a_request_with_a_body(chunked: bool, sent: bytes) -> None:
    world = UpstreamWorld()
    answered = world.start(b"POST", chunked, body_done=False)
    world.connection.send_body(b"ab")
    world.connection.send_body(b"cd")
    world.connection.end_body()
    world.loop.run()
    assert world.wire.transport.written.endswith(b"\r\n\r\n" + sent)
    world.wire.feed([OK])
    assert answered.reusable


@pytest.mark.parametrize("unasked", [b"x", b"\r\n", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
@pytest.mark.parametrize("used", [False, True])
def test_bytes_on_an_idle_connection_close_it(unasked: bytes, used: bool) -> None:
    world = UpstreamWorld()
    answered: Answered | None = None
    if used:
        answered = world.start()
        world.wire.feed([OK])
    world.wire.feed([unasked])
    assert not world.connection.is_alive()
    assert not world.connection.is_reusable()
    assert world.wire.transport.closing
    assert answered is None or (answered.ends, answered.errors) == (1, [])


def test_bytes_that_were_there_before_a_request_are_not_its_response() -> None:
    world = UpstreamWorld()
    world.start()
    world.wire.feed([OK])
    second = Answered(world.connection)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    world.connection.start(second, b"GET", head, False, Timeouts(), time.monotonic(), NEVER)
    world.connection.end_body()
    world.connection.data_received(OK)
    world.loop.run()
    assert second.head is None
    assert [error.phase for error in second.errors] == ["reset"]
    assert world.wire.transport.written.count(b"GET") == 1, "the second request was not sent"
    assert world.wire.transport.closing


def test_the_end_of_an_idle_connection_makes_it_dead() -> None:
    world = UpstreamWorld()
    world.wire.end()
    assert not world.connection.is_alive()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_response_before_the_request_is_complete_is_delivered_but_ends_the_connection(chunked: bool) -> None:
    world = UpstreamWorld()
    answered = world.start(b"POST", chunked, body_done=False)
    world.connection.send_body(b"ab")
    world.loop.run()
    world.wire.feed([OK])
    assert (answered.body, answered.ends, answered.reusable) == (b"hi", 1, False)
    assert not world.connection.is_reusable()


def test_a_request_may_go_on_while_its_response_streams() -> None:
    world = UpstreamWorld()
    answered = world.start(b"POST", chunked=True, body_done=False)
    world.wire.feed([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"])
    world.connection.send_body(b"ab")
    world.connection.end_body()
    world.loop.run()
    world.wire.feed([b"0\r\n\r\n"])
    assert (answered.body, answered.reusable) == (b"hi", True)
    assert world.wire.transport.written.endswith(b"2\r\nab\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("before", "error", "body", "failed"),
    [
        (b"", None, b"", True),
        (b"", ConnectionResetError(), b"", True),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", None, b"hi", False),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", ConnectionResetError(), b"hi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", ConnectionResetError(), b"hi", True),
    ],
)
def test_how_a_lost_connection_ends_a_response(
    before: bytes, error: Exception | None, body: bytes, failed: bool
) -> None:
    world = UpstreamWorld()
    answered = world.start()
    world.wire.feed([before] if before else [])
    world.wire.end(error)
    assert answered.body == body
    assert (answered.ends, [each.phase for each in answered.errors]) == ((0, ["reset"]) if failed else (1, []))
    assert not world.connection.is_alive()


@pytest.mark.parametrize(
    ("before", "over", "phase"),
    [
        (b"", False, "timeout"),
        (b"HTTP/1.1 200 O", False, "timeout"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", False, "timeout"),
        (OK, True, None),
    ],
)
def test_a_deadline(before: bytes, over: bool, phase: str | None) -> None:
    world = UpstreamWorld()
    answered = world.start()
    world.wire.feed([before] if before else [])
    world.connection.deadline_passed()
    world.loop.run()
    assert [each.phase for each in answered.errors] == ([phase] if phase else [])
    assert answered.ends == int(over)
    assert world.wire.transport.closing


def test_backpressure_passes_in_both_directions() -> None:
    world = UpstreamWorld()
    answered = world.start(b"POST", body_done=False)
    world.connection.pause_writing()
    world.connection.resume_writing()
    world.wire.feed([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi"])
    world.connection.pause_reading()
    assert world.wire.transport.paused
    world.connection.resume_reading()
    assert not world.wire.transport.paused
    assert answered.signals == ["pause", "resume"]


def test_a_response_that_ends_while_paused_leaves_the_connection_reading() -> None:
    world = UpstreamWorld()
    answered = world.start()
    world.connection.pause_reading()
    world.connection.data_received(OK)
    world.loop.run()
    assert answered.ends == 1
    assert not world.wire.transport.paused


class Hands:
    """Stands in for `Splice`, and notes how many pass content on at once."""

    def __init__(self) -> None:
        self.busy: list[Hands.Hand] = []

    class Hand:
        def __init__(self, hands: Hands) -> None:
            self.hands = hands
            hands.busy.append(self)

        def close(self) -> None:
            self.hands.busy.remove(self)

    def __call__(self, *_: object) -> Hand:
        return Hands.Hand(self)


@pytest.mark.parametrize("pauses", [0, 1, 2])
@pytest.mark.parametrize("after", ["at once", "a turn later"])
def test_either_one_hand_of_the_kernel_passes_a_long_response_on_or_the_transport_reads(
    monkeypatch: pytest.MonkeyPatch, pauses: int, after: str
) -> None:
    """Also where a client is full and empty again while others have their turn: else later bytes come first."""
    hands = Hands()
    monkeypatch.setattr(client_module, "Splice", hands)
    world = UpstreamWorld()
    answered = world.start()
    monkeypatch.setattr(answered, "response_sink", lambda: answered)
    connection, transport = world.connection, world.wire.transport
    connection.descriptor = 1 << 20  # nothing is written to it any more
    connection.process(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(20_000), 0.0)
    for _ in range(pauses):
        connection.pause_reading()
        if after != "at once":
            world.loop.run()
            assert (len(hands.busy), transport.paused) == (0, True)
        connection.resume_reading()
        assert transport.paused
    world.loop.run()
    assert (len(hands.busy), transport.paused) == (1, True)
    connection.pause_reading()
    assert (len(hands.busy), transport.paused) == (0, True)
    connection.resume_reading()
    world.loop.run()
    assert (len(hands.busy), transport.paused) == (1, True)
    connection.read_again()
    assert not transport.paused


def test_a_receiver_that_closes_gets_no_more_calls() -> None:
    world = UpstreamWorld()
    answered = world.start()
    world.wire.feed([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"])
    world.connection.close()
    world.loop.run()
    assert (answered.ends, answered.errors, world.wire.transport.aborted) == (0, [], True)


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("connect", "upstream_refused"),
        ("connect_timeout", "upstream_timeout"),
        ("reset", "upstream_reset"),
        ("timeout", "upstream_timeout"),
        ("protocol", "upstream_malformed"),
    ],
)
def test_reason_of_each_phase(phase: str, reason: str) -> None:
    assert UpstreamError(phase, "detail").reason == reason


# ---- faults: exceptions that nobody foresaw


@pytest.mark.parametrize("call", ["response_whole", "response_started", "response_body", "response_ended"])
@pytest.mark.parametrize("is_free", [False, True])
def test_a_fault_of_the_receiver_ends_the_connection_and_is_reported_to_the_receiver(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, is_free: bool
) -> None:
    def fail(*_: object) -> None:
        if is_free:
            world.connection.receiver = None  # as `free` leaves it
        raise RuntimeError

    world = UpstreamWorld()
    answered = world.start()
    if call != "response_whole":
        monkeypatch.setattr(answered, "response_whole", lambda *_: False)
    monkeypatch.setattr(answered, call, fail)
    world.wire.feed([OK])
    assert answered.faults == 1
    assert world.wire.transport.aborted
    (record,) = caplog.records
    assert record.exc_info


@pytest.mark.parametrize("how", ["loss", "time-out", "pause", "resume", "rest"])
def test_so_does_a_fault_in_what_the_loop_calls(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    world = UpstreamWorld()
    answered = world.start()
    connection = world.connection
    for name in ("upstream_failed", "upstream_pause_writing", "upstream_resume_writing", "response_body"):
        monkeypatch.setattr(answered, name, fail)
    match how:
        case "loss":
            world.wire.end()
        case "time-out":
            connection.awaited = connection.timeouts.response
            connection.deadline_passed()
        case "pause":
            connection.pause_writing()
        case "resume":
            connection.resume_writing()
        case "rest":
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            world.wire.feed([head])
            connection.decoder = ChunkedDecoder("upstream_malformed")
            connection.decoder._pending = b"2\r\nhi\r\n"
            connection.decoder.has_more = True
            connection._yield_turn()
            world.loop.run()
    assert answered.faults == 1
    assert not connection.is_alive()
    assert any(record.exc_info for record in caplog.records)
