"""What was read is processed when all sockets were read from, and before anything else happens to its connection."""

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


class Receiver(TurnProtocol):
    """Records what it receives, in the order of all."""

    def __init__(self, turn: Turn, loop: FakeLoop, received: list[tuple[Receiver, bytes]]) -> None:
        super().__init__(turn)
        self.transport = FakeTransport(loop, self)
        self.received = received

    def process(self, data: bytes, now: float) -> None:
        if data.startswith(b"fault"):
            raise RuntimeError
        if data == b"cancelled":
            raise asyncio.CancelledError
        self.received.append((self, data))
        self.received_at = now


class Scene:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.turn = Turn(self.loop.as_loop())
        self.received: list[tuple[Receiver, bytes]] = []
        self.one, self.other = (Receiver(self.turn, self.loop, self.received) for _ in range(2))


def test_reads_of_a_connection_are_processed_together_at_the_end_of_the_turn() -> None:
    scene = Scene()
    for receiver, data in [(scene.one, b"a"), (scene.other, b"b"), (scene.one, b"c")]:
        receiver.data_received(data)
    assert scene.received == []
    scene.loop.run()
    assert scene.received == [(scene.one, b"ac"), (scene.other, b"b")]


def test_one_connection_can_be_processed_before_the_others() -> None:
    scene = Scene()
    for receiver, data in [(scene.other, b"b"), (scene.one, b"a"), (scene.one, b"c")]:
        receiver.data_received(data)
    scene.turn.settle(scene.one)
    assert scene.received == [(scene.one, b"ac")]
    scene.turn.settle(scene.one)
    scene.loop.run()
    assert scene.received == [(scene.one, b"ac"), (scene.other, b"b")]


def test_reads_processed_together_share_one_time() -> None:
    scene = Scene()
    before = time.monotonic()
    for receiver in (scene.one, scene.other):
        receiver.data_received(b"a")
    scene.loop.run()
    assert before <= scene.one.received_at == scene.other.received_at <= time.monotonic()
    scene.one.data_received(b"b")
    between = time.monotonic()
    scene.turn.settle(scene.one)
    scene.other.data_received(bytes(LARGE_READ))
    assert between <= scene.one.received_at <= scene.other.received_at


def test_a_large_read_is_processed_at_once_but_behind_what_came_before_it() -> None:
    scene = Scene()
    scene.one.data_received(b"a")
    scene.one.data_received(bytes(LARGE_READ))
    assert [(receiver, len(data)) for receiver, data in scene.received] == [(scene.one, 1), (scene.one, LARGE_READ)]


class LateReceiver(Receiver):
    turn_order = 2


class EarlyReceiver(Receiver):
    turn_order = 0


def test_a_lower_turn_order_is_processed_before_the_others() -> None:
    scene = Scene()
    late, early = (kind(scene.turn, scene.loop, scene.received) for kind in (LateReceiver, EarlyReceiver))
    for receiver, data in [(late, b"a"), (scene.one, b"b"), (early, b"c"), (scene.other, b"d"), (early, b"e")]:
        receiver.data_received(data)
    scene.loop.run()
    assert scene.received == [(early, b"ce"), (scene.one, b"b"), (scene.other, b"d"), (late, b"a")]


def test_what_is_gathered_is_written_together_at_the_end_of_the_turn() -> None:
    scene = Scene()
    scene.one.gather(b"a")
    scene.other.gather(b"b")
    scene.one.gather(b"c")
    written = [cast(FakeTransport, receiver.transport) for receiver in (scene.one, scene.other)]
    assert [each.sent for each in written] == [b"", b""]
    scene.loop.run()
    assert [each.sent for each in written] == [b"ac", b"b"]


def test_what_is_gathered_while_others_write_is_written_too() -> None:
    scene = Scene()

    class Waking(FakeTransport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            scene.other.gather(b"b")

    scene.one.transport = Waking(scene.loop, scene.one)
    scene.one.gather(b"a")
    scene.loop.run()
    assert cast(FakeTransport, scene.other.transport).sent == b"b"


def test_a_large_piece_is_written_at_once_but_behind_what_came_before_it() -> None:
    scene = Scene()
    scene.one.put(b"a")
    scene.one.put(bytes(LARGE))
    sent = b"a" + bytes(LARGE)
    assert cast(FakeTransport, scene.one.transport).sent == sent
    scene.one.put(b"b")
    scene.loop.run()
    assert cast(FakeTransport, scene.one.transport).sent == sent + b"b"


def test_each_kind_of_connection_has_code_of_its_own() -> None:
    """What the interpreter learns about one kind would be forgotten for the other."""
    assert EarlyReceiver.data_received.__code__ is not LateReceiver.data_received.__code__
    assert EarlyReceiver.process_all.__code__ is not LateReceiver.process_all.__code__
    assert EarlyReceiver.write_all.__code__ is not LateReceiver.write_all.__code__


@pytest.mark.parametrize("fault", [b"fault", b"cancelled"])
def test_a_fault_of_one_connection_is_not_the_others(caplog: pytest.LogCaptureFixture, fault: bytes) -> None:
    scene = Scene()
    scene.one.data_received(fault)
    scene.other.data_received(b"b")
    scene.loop.run()
    assert scene.received == [(scene.other, b"b")]
    assert scene.one.transport.is_closing()
    assert not scene.other.transport.is_closing()
    assert len(caplog.records) == 1


class Broken(FakeTransport):
    """Takes nothing."""

    def writelines(self, pieces: Any) -> None:
        raise RuntimeError

    def write(self, data: Any) -> None:
        raise RuntimeError


def test_a_fault_in_writing_is_not_the_others(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    third = Receiver(scene.turn, scene.loop, scene.received)
    scene.other.transport = Broken(scene.loop, scene.other)
    for receiver in (scene.one, scene.other, third):
        receiver.gather(b"first")
    scene.loop.run()
    assert scene.other.transport.is_closing()
    (record,) = caplog.records
    assert record.exc_info
    for receiver in (scene.one, third):
        receiver.gather(b"second")
        receiver.data_received(b"a")
    scene.loop.run()
    assert [cast(FakeTransport, receiver.transport).sent for receiver in (scene.one, third)] == [b"firstsecond"] * 2
    assert scene.received == [(scene.one, b"a"), (third, b"a")]


def test_a_fault_in_writing_while_others_are_processed_does_not_end_the_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The turn would count as planned for ever, and nothing would be processed any more."""
    scene = Scene()
    late = LateReceiver(scene.turn, scene.loop, scene.received)
    scene.other.transport = Broken(scene.loop, scene.other)
    scene.other.gather(b"x")
    scene.one.data_received(b"a")
    late.data_received(b"b")
    scene.loop.run()
    scene.one.data_received(b"c")
    scene.loop.run()
    assert scene.received == [(scene.one, b"a"), (late, b"b"), (scene.one, b"c")]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("how", ["settle", "large"])
def test_a_fault_before_the_turn_is_contained_too(caplog: pytest.LogCaptureFixture, how: str) -> None:
    scene = Scene()
    scene.one.data_received(b"fault")
    if how == "settle":
        scene.turn.settle(scene.one)
    else:
        scene.one.data_received(b"fault" * LARGE_READ)
    assert scene.one.transport.is_closing()
    assert all(record.exc_info for record in caplog.records)
    scene.other.data_received(b"b")
    scene.loop.run()
    assert scene.received == [(scene.other, b"b")]


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
        received: list[bytes] = []

        class Listening(TurnProtocol):
            def process(self, data: bytes, now: float) -> None:
                received.append(data)
                self.transport.write(data)

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)

        turn = Turn(asyncio.get_running_loop())
        server = await asyncio.get_running_loop().create_server(lambda: Listening(turn), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                writer.write(b"word")
                assert await reader.readexactly(4) == b"word"
            finally:
                writer.close()
                await writer.wait_closed()
        return received

    assert asyncio.run(play()) == [b"word"]


class Writer(TurnProtocol):
    """One end of a pair of sockets, the other of which reads on command."""

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
def test_nothing_is_written_to_a_new_socket_with_the_number_of_a_closed_one(run: Run) -> None:
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
