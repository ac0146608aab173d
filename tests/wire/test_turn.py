"""What was read is heard when all sockets were read from, and before anything else happens to its connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, cast

import pytest
import uvloop

from portico.wire.http1.server import ServerConnection
from portico.wire.turn import LARGE_READ, Turn, TurnProtocol
from portico.wire.writing import LARGE

from .world import FakeLoop, FakeTransport, ServerWorld

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Ear(TurnProtocol):
    """Notes what it hears, in the order of all."""

    def __init__(self, turn: Turn, loop: FakeLoop, heard: list[tuple[Ear, bytes]]) -> None:
        super().__init__(turn)
        self.transport = FakeTransport(loop, self)
        self.heard = heard

    def process(self, data: bytes, now: float) -> None:
        if data.startswith(b"fault"):
            raise RuntimeError
        if data == b"cancelled":
            raise asyncio.CancelledError
        self.heard.append((self, data))
        self.heard_at = now


class Room:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.turn = Turn(self.loop.as_loop())
        self.heard: list[tuple[Ear, bytes]] = []
        self.one, self.other = (Ear(self.turn, self.loop, self.heard) for _ in range(2))


def test_all_that_a_connection_has_read_is_heard_together_at_the_end_of_the_turn() -> None:
    room = Room()
    for ear, data in [(room.one, b"a"), (room.other, b"b"), (room.one, b"c")]:
        ear.data_received(data)
    assert room.heard == []
    room.loop.run()
    assert room.heard == [(room.one, b"ac"), (room.other, b"b")]


def test_one_connection_can_be_heard_before_the_others() -> None:
    room = Room()
    for ear, data in [(room.other, b"b"), (room.one, b"a"), (room.one, b"c")]:
        ear.data_received(data)
    room.turn.settle(room.one)
    assert room.heard == [(room.one, b"ac")]
    room.turn.settle(room.one)
    room.loop.run()
    assert room.heard == [(room.one, b"ac"), (room.other, b"b")]


def test_what_is_heard_together_is_heard_at_one_time() -> None:
    room = Room()
    before = time.monotonic()
    for ear in (room.one, room.other):
        ear.data_received(b"a")
    room.loop.run()
    assert before <= room.one.heard_at == room.other.heard_at <= time.monotonic()
    room.one.data_received(b"b")
    between = time.monotonic()
    room.turn.settle(room.one)
    room.other.data_received(bytes(LARGE_READ))
    assert between <= room.one.heard_at <= room.other.heard_at


def test_a_large_read_is_heard_at_once_but_behind_what_came_before_it() -> None:
    room = Room()
    room.one.data_received(b"a")
    room.one.data_received(bytes(LARGE_READ))
    assert [(ear, len(data)) for ear, data in room.heard] == [(room.one, 1), (room.one, LARGE_READ)]


class LateEar(Ear):
    turn_order = 2


class EarlyEar(Ear):
    turn_order = 0


def test_who_has_a_lower_place_is_heard_before_the_others() -> None:
    room = Room()
    late, early = (kind(room.turn, room.loop, room.heard) for kind in (LateEar, EarlyEar))
    for ear, data in [(late, b"a"), (room.one, b"b"), (early, b"c"), (room.other, b"d"), (early, b"e")]:
        ear.data_received(data)
    room.loop.run()
    assert room.heard == [(early, b"ce"), (room.one, b"b"), (room.other, b"d"), (late, b"a")]


def test_what_is_gathered_is_written_together_at_the_end_of_the_turn() -> None:
    room = Room()
    room.one.gather(b"a")
    room.other.gather(b"b")
    room.one.gather(b"c")
    written = [cast(FakeTransport, ear.transport) for ear in (room.one, room.other)]
    assert [each.sent for each in written] == [b"", b""]
    room.loop.run()
    assert [each.sent for each in written] == [b"ac", b"b"]


def test_what_is_gathered_while_others_write_is_written_too() -> None:
    room = Room()

    class Waking(FakeTransport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            room.other.gather(b"b")

    room.one.transport = Waking(room.loop, room.one)
    room.one.gather(b"a")
    room.loop.run()
    assert cast(FakeTransport, room.other.transport).sent == b"b"


def test_a_large_piece_is_written_at_once_but_behind_what_came_before_it() -> None:
    room = Room()
    room.one.put(b"a")
    room.one.put(bytes(LARGE))
    sent = b"a" + bytes(LARGE)
    assert cast(FakeTransport, room.one.transport).sent == sent
    room.one.put(b"b")
    room.loop.run()
    assert cast(FakeTransport, room.one.transport).sent == sent + b"b"


def test_each_kind_of_connection_has_code_of_its_own() -> None:
    """What the interpreter learns about one kind would be forgotten for the other."""
    assert EarlyEar.data_received.__code__ is not LateEar.data_received.__code__
    assert EarlyEar.process_all.__code__ is not LateEar.process_all.__code__
    assert EarlyEar.write_all.__code__ is not LateEar.write_all.__code__


@pytest.mark.parametrize("fault", [b"fault", b"cancelled"])
def test_a_fault_of_one_connection_is_not_the_others(caplog: pytest.LogCaptureFixture, fault: bytes) -> None:
    room = Room()
    room.one.data_received(fault)
    room.other.data_received(b"b")
    room.loop.run()
    assert room.heard == [(room.other, b"b")]
    assert room.one.transport.is_closing()
    assert not room.other.transport.is_closing()
    assert len(caplog.records) == 1


class Broken(FakeTransport):
    """Takes nothing."""

    def writelines(self, pieces: Any) -> None:
        raise RuntimeError

    def write(self, data: Any) -> None:
        raise RuntimeError


def test_a_fault_in_writing_is_not_the_others(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    third = Ear(room.turn, room.loop, room.heard)
    room.other.transport = Broken(room.loop, room.other)
    for ear in (room.one, room.other, third):
        ear.gather(b"first")
    room.loop.run()
    assert room.other.transport.is_closing()
    (record,) = caplog.records
    assert record.exc_info
    for ear in (room.one, third):
        ear.gather(b"second")
        ear.data_received(b"a")
    room.loop.run()
    assert [cast(FakeTransport, ear.transport).sent for ear in (room.one, third)] == [b"firstsecond"] * 2
    assert room.heard == [(room.one, b"a"), (third, b"a")]


def test_a_fault_in_what_is_written_while_others_are_heard_does_not_end_the_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The turn would count as planned for ever, and nobody would be heard any more."""
    room = Room()
    late = LateEar(room.turn, room.loop, room.heard)
    room.other.transport = Broken(room.loop, room.other)
    room.other.gather(b"x")
    room.one.data_received(b"a")
    late.data_received(b"b")
    room.loop.run()
    room.one.data_received(b"c")
    room.loop.run()
    assert room.heard == [(room.one, b"a"), (late, b"b"), (room.one, b"c")]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("how", ["settle", "large"])
def test_a_fault_before_the_turn_is_contained_too(caplog: pytest.LogCaptureFixture, how: str) -> None:
    room = Room()
    room.one.data_received(b"fault")
    if how == "settle":
        room.turn.settle(room.one)
    else:
        room.one.data_received(b"fault" * LARGE_READ)
    assert room.one.transport.is_closing()
    assert all(record.exc_info for record in caplog.records)
    room.other.data_received(b"b")
    room.loop.run()
    assert room.heard == [(room.other, b"b")]


def _requests(world: ServerWorld) -> list[bytes]:
    return [each.request.target for each in world.exchanges if each.request is not None]


def test_a_request_that_was_read_is_answered_though_its_client_is_gone_or_its_time_is_up() -> None:
    world = ServerWorld(connections=3)
    closed, lost, late = world.wires
    for number, wire in enumerate(world.wires):
        wire.protocol.data_received(GET % number)
    assert _requests(world) == []
    closed.protocol.eof_received()
    assert _requests(world) == [b"/0"]
    lost.protocol.connection_lost(None)
    assert _requests(world) == [b"/0", b"/1"]
    cast(ServerConnection, late.protocol).deadline = 0.0
    world.deadlines._tick()
    assert _requests(world) == [b"/0", b"/1", b"/2"]
    world.loop.run()
    assert late.transport.written.startswith(b"HTTP/1.1 200")


def test_a_request_that_was_read_is_answered_by_a_server_that_drains() -> None:
    world = ServerWorld()
    world.wire.feed([GET % 1])
    world.wire.protocol.data_received(GET % 2)
    world.server.draining = True
    world.server.close_idle()
    assert _requests(world) == [b"/1", b"/2"]
    assert world.written.count(b"HTTP/1.1 200") == 2
    assert world.is_ending


def test_a_loop_that_is_no_fake_plays_the_turn() -> None:
    async def play() -> list[bytes]:
        heard: list[bytes] = []

        class Listening(TurnProtocol):
            def process(self, data: bytes, now: float) -> None:
                heard.append(data)
                self.transport.write(data)

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)

        turn = Turn(asyncio.get_running_loop())
        server = await asyncio.get_running_loop().create_server(lambda: Listening(turn), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"word")
            assert await reader.readexactly(4) == b"word"
            writer.close()
            await writer.wait_closed()
        return heard

    assert asyncio.run(play()) == [b"word"]


class Writer(TurnProtocol):
    """One end of a pair of sockets, the other of which reads when it is told to."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn)
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def process(self, data: bytes, now: float) -> None:
        raise AssertionError(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def _writer(turn: Turn) -> tuple[Writer, socket.socket]:
    ours, other = socket.socketpair()
    other.setblocking(False)
    writer = Writer(turn)
    await turn.loop.connect_accepted_socket(lambda: writer, ours)
    return writer, other


async def _read(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        assert more
        data += more
    return bytes(data)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_the_socket_does_not_take_goes_through_the_transport_and_nothing_overtakes_it(run: Run) -> None:
    async def play() -> None:
        writer, other = await _writer(Turn(asyncio.get_running_loop()))
        pieces = [bytes([number]) * (1 << 20 if number == 1 else 9) for number in range(6)]
        for piece in pieces:
            writer.gather(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not writer.is_direct
        assert await _read(other, sum(map(len, pieces))) == b"".join(pieces)
        writer.gather(b"last")
        assert await _read(other, 4) == b"last"
        assert writer.is_direct
        writer.transport.close()
        other.close()

    run(play())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_write_to_a_reader_that_is_gone_loses_the_connection(run: Run) -> None:
    async def play() -> None:
        writer, other = await _writer(Turn(asyncio.get_running_loop()))
        writer.transport.pause_reading()  # only writing finds out
        other.close()
        writer.gather(b"data")
        assert isinstance(await writer.lost, ConnectionError)

    run(play())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_nothing_is_written_to_who_got_the_number_of_a_closed_socket(run: Run) -> None:
    async def play() -> None:
        turn = Turn(asyncio.get_running_loop())
        writer, other = await _writer(turn)
        writer.gather(b"first")
        assert await _read(other, 5) == b"first"
        writer.transport.abort()
        await writer.lost
        await asyncio.sleep(0)
        others = [one for _ in range(8) for one in socket.socketpair()]
        assert writer.descriptor in {one.fileno() for one in others}
        writer.gather(b"late")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for one in others:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
        for one in [*others, other]:
            one.close()

    run(play())
