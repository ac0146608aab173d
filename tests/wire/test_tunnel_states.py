"""Both sides of the wire after a 101: what passes, what is reported to which side, and how it ends."""

from __future__ import annotations

import time

import pytest

from portico.core.messages import TUNNEL, ResponseHead
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import UpstreamConnection
from support import frames

from .world import Answered, Recorded, ServerWorld, Timeouts, UpstreamWorld

KEY, ACCEPT = frames.KEY.encode(), frames.ACCEPT.encode()
OFFER = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Carried(Recorded):
    """What a server connection reports while it is a tunnel."""

    def __init__(self, recorded: Recorded) -> None:
        super().__init__(recorded.stream, recorded.request)
        self.events: list[str] = []

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def going_away(self) -> None:
        self.events.append("going away")


def opened(early: bytes = b"", draining: bool = False, ended: bool = False) -> tuple[ServerWorld, Carried]:
    """A client's connection that has become a tunnel; `early` came before the 101."""
    world = ServerWorld(respond=None)
    world.wire.feed([OFFER + early[:5], *([early[5:]] if early[5:] else [])])
    if ended:
        assert world.connection.eof_received()
    carried = Carried(world.exchanges[0])
    world.server.draining = draining
    carried.stream.receiver = carried
    carried.stream.send_head(101, b"", [b"Upgrade: websocket"], TUNNEL)
    world.loop.run()
    return world, carried


# ---- the client's side


def test_bytes_pass_both_ways_as_they_come() -> None:
    world, carried = opened()
    assert world.written == SWITCHED
    assert world.server.tunnels == 1
    world.wire.feed([b"GET / HTTP/1.1\r\n\r\n", b"\x00"])
    carried.stream.send_body(b"\r\n")
    assert carried.pieces == [b"GET / HTTP/1.1\r\n\r\n", b"\x00"]
    assert world.written == SWITCHED + b"\r\n"
    assert (carried.stream.bytes_in, carried.stream.bytes_out) == (19, 2)
    assert len(world.exchanges) == 1


@pytest.mark.parametrize("early", [b"ab", b"x" * 60_000, b"x" * 200_000])
def test_what_came_before_the_101_is_not_lost(early: bytes) -> None:
    world, carried = opened(early)
    assert carried.body == early
    assert not world.wire.transport.paused
    world.wire.feed([b"more"])
    assert carried.body == early + b"more"


def test_a_client_that_ends_its_direction_may_listen_on() -> None:
    world, carried = opened()
    assert world.connection.eof_received()
    carried.stream.send_body(b"more")
    carried.stream.end()
    assert (carried.ended, carried.finishes) == (1, [None])
    assert world.written == SWITCHED + b"more"
    assert world.wire.transport.closing


def test_a_client_that_ended_before_the_101() -> None:
    _, carried = opened(b"ab", ended=True)
    assert (carried.body, carried.ended) == (b"ab", 1)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_a_client_that_is_gone_ends_it_once(error: Exception | None) -> None:
    world, carried = opened()
    world.wire.end(error)
    assert carried.finishes == ["client_closed"]
    assert (world.server.in_flight, world.server.tunnels, world.server.connections) == (0, 0, set())


def test_the_end_leaves_the_client_time_to_read_whatever_it_is_sending() -> None:
    world, carried = opened()
    carried.stream.send_body(b"bye")
    carried.stream.end()
    assert world.written == SWITCHED + b"bye"
    assert world.wire.transport.eof_written
    assert (carried.finishes, world.server.tunnels) == ([None], 0)
    for _ in range(40):
        world.wire.feed([b"x" * 65_536])
    assert not world.wire.transport.closing
    world.connection.deadline_passed()
    world.loop.run()
    assert world.wire.transport.closing
    assert not world.wire.transport.aborted
    assert carried.pieces == []


def test_the_end_when_the_client_is_just_gone() -> None:
    world, carried = opened()
    world.wire.transport.abort()
    carried.stream.end()
    world.loop.run()
    assert not world.wire.transport.eof_written
    assert carried.finishes == [None]


def test_a_client_that_does_not_read_is_cut_off_whatever_else_moves() -> None:
    world, carried = opened()
    world.connection.pause_writing()
    deadline = world.connection.deadline
    assert deadline != NEVER
    carried.stream.pause_reading()
    carried.stream.resume_reading()
    assert world.connection.deadline == deadline
    world.connection.deadline_passed()
    assert (carried.events, carried.finishes) == (["pause"], ["client_stalled"])
    assert world.wire.transport.aborted


def test_a_client_that_catches_up_has_no_deadline() -> None:
    world, carried = opened()
    world.connection.pause_writing()
    world.connection.resume_writing()
    assert world.connection.deadline == NEVER
    assert carried.events == ["pause", "resume"]


def test_backpressure_on_what_the_client_sends() -> None:
    world, carried = opened()
    carried.stream.pause_reading()
    assert world.wire.transport.paused
    carried.stream.resume_reading()
    assert not world.wire.transport.paused


def test_a_drain_is_reported_to_a_tunnel() -> None:
    world, carried = opened()
    world.server.close_idle()
    assert carried.events == ["going away"]
    assert not world.wire.transport.closing


def test_a_drain_is_reported_at_once_to_a_tunnel_that_opens_during_it() -> None:
    _, carried = opened(draining=True)
    assert carried.events == ["going away"]


# ---- the service's side


class Switched(Answered):
    """What an upstream connection reports about an upgrade."""

    def response_started(self, head: ResponseHead) -> None:
        super().response_started(head)
        assert self.connection.is_reusable() is False


def offered(protocol: bytes = b"websocket", key: bytes | None = KEY) -> tuple[UpstreamWorld, Answered]:
    world = UpstreamWorld()
    answered = Switched(world.connection)
    world.connection.start(answered, b"GET", b"HEAD\r\n\r\n", False, Timeouts(), time.monotonic(), NEVER, protocol, key)
    world.connection.end_body()
    world.loop.run()
    return world, answered


def switching(
    accept: bytes = ACCEPT, upgrade: bytes = b"WebSocket", connection: bytes = b"keep-alive, upgrade"
) -> bytes:
    lines = (b"HTTP/1.1 101 X", b"Upgrade: " + upgrade, b"Connection: " + connection)
    return b"\r\n".join((*lines, *([b"Sec-WebSocket-Accept: " + accept] if accept else []), b"", b""))


def test_an_honest_101_makes_a_tunnel() -> None:
    world, answered = offered()
    world.wire.feed([switching() + b"\x81\x01x", b"HTTP/1.1 200 OK\r\n\r\n"])
    assert answered.head is not None
    assert (answered.head.status, answered.head.framing) == (101, TUNNEL)
    assert answered.pieces == [b"\x81\x01x", b"HTTP/1.1 200 OK\r\n\r\n"]
    world.connection.send_body(b"any\r\n")
    assert world.wire.transport.written == b"HEAD\r\n\r\nany\r\n"
    assert world.connection.deadline == NEVER


@pytest.mark.parametrize(
    ("protocol", "key", "answer"),
    [
        (b"websocket", KEY, switching(accept=b"")),
        (b"websocket", KEY, switching(accept=ACCEPT.upper())),
        (b"websocket", None, switching()),
        (b"websocket", KEY, switching(upgrade=b"h2c")),
        (b"websocket", KEY, switching(upgrade=b"websocket, h2c")),
        (b"websocket", KEY, switching(upgrade=b"")),
        (b"websocket", KEY, switching(connection=b"close")),
        (b"foo", None, switching()),
        (b"", None, switching()),
    ],
)
def test_a_101_that_answers_another_question(protocol: bytes, key: bytes | None, answer: bytes) -> None:
    world, answered = offered(protocol, key)
    world.wire.feed([answer + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    assert (answered.head, [error.phase for error in answered.errors]) == (None, ["protocol"])
    assert world.wire.transport.aborted


def test_another_protocol_needs_no_key() -> None:
    world, answered = offered(b"foo", None)
    world.wire.feed([switching(accept=b"", upgrade=b"Foo")])
    assert answered.head is not None
    assert answered.head.framing == TUNNEL


@pytest.mark.parametrize(("error", "ends", "phases"), [(None, 1, []), (ConnectionResetError(), 0, ["reset"])])
def test_how_a_service_ends_a_tunnel(error: Exception | None, ends: int, phases: list[str]) -> None:
    world, answered = offered()
    world.wire.feed([switching(), b"last"])
    world.wire.end(error)
    assert (answered.body, answered.ends, [each.phase for each in answered.errors]) == (b"last", ends, phases)
    assert not world.connection.is_alive()


def in_tunnel() -> tuple[UpstreamWorld, Answered, UpstreamConnection]:
    world, answered = offered()
    world.wire.feed([switching()])
    return world, answered, world.connection


def test_hanging_up_sends_what_is_left_and_waits_no_longer_than_a_service_may_be_silent() -> None:
    world, answered, connection = in_tunnel()
    connection.send_body(b"last")
    connection.hang_up()
    assert world.wire.transport.sent.endswith(b"last")
    assert world.wire.transport.closing
    assert not world.wire.transport.aborted
    assert connection.deadline != NEVER
    connection.deadline_passed()
    world.loop.run()
    assert world.wire.transport.aborted
    assert not answered.is_over


def test_a_client_that_ended_its_direction_ends_it_towards_the_service() -> None:
    world, answered, connection = in_tunnel()
    connection.send_body(b"last")
    connection.end_tunnel()
    assert world.wire.transport.sent.endswith(b"last")
    assert world.wire.transport.eof_written
    world.wire.feed([b"answer"])
    assert answered.body == b"answer"


def test_backpressure_has_no_deadline() -> None:
    world, answered, connection = in_tunnel()
    connection.pause_reading()
    assert (world.wire.transport.paused, connection.deadline) == (True, NEVER)
    connection.resume_reading()
    connection.pause_writing()
    connection.resume_writing()
    assert (answered.signals, connection.deadline) == (["pause", "resume"], NEVER)
