"""The kernel moves content from socket to socket; what is out of the ordinary is left to their owners."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from portico.wire.paced import Paced
from portico.wire.splice import Pipe, Splice

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="splice is Linux's")

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]

MEBIBYTE = bytes(range(256)) * 4096


class Ends:
    """A service's socket and a client's, each with its other side."""

    def __init__(self, stack: ExitStack) -> None:
        self.service, self.source = map(stack.enter_context, socket.socketpair())
        self.sink, self.client = map(stack.enter_context, socket.socketpair())
        for own in (self.service, self.source, self.sink, self.client):
            own.setblocking(False)

    def serve(self, data: bytes) -> int:
        """Send what there is room for."""
        return self.service.send(data)

    def received(self) -> bytes:
        """What has reached the client."""
        data = b""
        try:
            while piece := self.client.recv(1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data

    def fill(self) -> None:
        """Have the client's socket take nothing more."""
        try:
            while True:
                self.sink.send(b"-" * 65536)
        except BlockingIOError:
            pass


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def test_what_there_is_goes_on(ends: Ends) -> None:
    pipe = Pipe()
    sent = ends.serve(MEBIBYTE[:50_000])
    assert pipe.move(ends.source.fileno(), ends.sink.fileno(), 1 << 20) == (sent, b"")
    assert ends.received() == MEBIBYTE[:sent]
    assert pipe.is_of_use


def test_no_more_than_was_asked_for(ends: Ends) -> None:
    pipe = Pipe()
    ends.serve(b"0123456789")
    assert pipe.move(ends.source.fileno(), ends.sink.fileno(), 4) == (4, b"")
    assert ends.received() == b"0123"
    assert ends.source.recv(10) == b"456789"


def test_what_the_sink_does_not_take_is_given_back(ends: Ends) -> None:
    pipe = Pipe()
    ends.fill()
    sent = ends.serve(MEBIBYTE[:60_000])
    taken, rest = pipe.move(ends.source.fileno(), ends.sink.fileno(), 1 << 20)
    came = ends.received().lstrip(b"-")
    assert taken == sent
    assert came + rest == MEBIBYTE[:sent]
    ends.serve(b"next")
    assert pipe.move(ends.source.fileno(), ends.sink.fileno(), 1 << 20) == (4, b""), "nothing was left in the pipe"
    assert ends.received() == b"next"


def test_so_is_what_a_closed_sink_does_not_take(ends: Ends) -> None:
    pipe = Pipe()
    ends.client.close()
    ends.serve(b"in vain")
    assert pipe.move(ends.source.fileno(), ends.sink.fileno(), 100) == (7, b"in vain")


def test_a_source_without_anything_is_no_fault_of_the_kernel(ends: Ends) -> None:
    pipe = Pipe()
    with pytest.raises(BlockingIOError):
        pipe.move(ends.source.fileno(), ends.sink.fileno(), 100)
    assert pipe.is_of_use


def test_a_kernel_that_can_not_is_not_asked_again(ends: Ends) -> None:
    pipe = Pipe()
    counter = os.eventfd(1)  # readable, but nothing that could be spliced
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            pipe.move(counter, ends.sink.fileno(), 8)
    finally:
        os.close(counter)
    assert not pipe.is_of_use


def test_what_is_left_in_a_pipe_by_a_fault_reaches_nobody(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError

    pipe = Pipe()
    ends.fill()
    ends.serve(b"one client's own")
    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(RuntimeError, match="lost"):
        pipe.move(ends.source.fileno(), ends.sink.fileno(), 100)
    assert not pipe.is_of_use


class FakeTransport(asyncio.Transport):
    """Says whether it is closing."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing


class End:
    """A source, or a sink, that records its calls."""

    def __init__(self, sock: socket.socket, left: int = 0) -> None:
        self.descriptor = sock.fileno()
        self.fake = FakeTransport()
        self.transport: asyncio.Transport = self.fake
        self.left = left
        self.rest = b""
        self.moved = 0
        self.again = asyncio.Event()
        self.has_faulted = asyncio.Event()
        self.changed = asyncio.Event()

    def body_moved(self, size: int, rest: bytes = b"") -> None:
        self.left -= size
        self.moved += size
        self.rest += rest
        self.changed.set()

    def read_again(self) -> None:
        self.again.set()

    def faulted(self) -> None:
        self.has_faulted.set()

    async def has_moved(self, size: int) -> None:
        while self.moved < size:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)


class Passage:
    """A splice of `left` bytes between two ends."""

    def __init__(self, ends: Ends, left: int) -> None:
        self.source, self.sink = End(ends.source, left), End(ends.sink)
        self.splice = Splice(self.source, self.sink, Pipe(), Paced(asyncio.get_running_loop()))

    async def is_over(self) -> None:
        await asyncio.wait_for(self.source.again.wait(), 10)


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_in(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return run_in


def test_the_end_of_a_body_is_left_to_be_read(ends: Ends, run: Run) -> None:
    async def main() -> None:
        passage = Passage(ends, 60_000)
        ends.serve(MEBIBYTE[:60_000])
        await passage.is_over()
        came = ends.received()
        assert passage.source.moved == passage.sink.moved == len(came) == 60_000 - passage.source.left
        assert 0 < passage.source.left <= 16_384
        assert came + ends.source.recv(60_000) == MEBIBYTE[:60_000]

    run(main())


def test_an_early_end_is_left_to_be_found(ends: Ends, run: Run) -> None:
    async def main() -> None:
        passage = Passage(ends, 1 << 20)
        ends.serve(b"not all")
        ends.service.close()
        await passage.is_over()
        assert ends.received() == b"not all"
        assert ends.source.recv(100) == b""

    run(main())


def test_a_full_sink_ends_it_and_gets_the_rest_first(ends: Ends, run: Run) -> None:
    async def main() -> None:
        ends.fill()
        passage = Passage(ends, 1 << 20)
        sent = ends.serve(MEBIBYTE[:60_000])
        await passage.is_over()
        assert passage.sink.moved == sent
        assert ends.received().lstrip(b"-") + passage.sink.rest == MEBIBYTE[:sent]

    run(main())


def test_bytes_that_can_not_be_moved_are_left_to_be_read(run: Run) -> None:
    """Urgent data stands in the way: the loop would report it again and again."""

    async def main() -> None:
        with ExitStack() as stack:
            ends = Ends(stack)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ends.service = stack.enter_context(socket.create_connection(listener.getsockname()))
            ends.source = stack.enter_context(listener.accept()[0])
            ends.source.setblocking(False)
            passage = Passage(ends, 1 << 20)
            ends.service.send(b"!", socket.MSG_OOB)
            ends.service.send(b"behind it")
            await passage.is_over()
            assert ends.received() == b""
            assert ends.source.recv(100) == b"behind it"

    run(main())


def test_a_sink_that_closes_gets_nothing_more(ends: Ends, run: Run) -> None:
    async def main() -> None:
        passage = Passage(ends, 1 << 20)
        ends.serve(b"one")
        await passage.sink.has_moved(3)
        passage.sink.fake.closing = True
        ends.serve(b"two")
        await passage.is_over()
        assert ends.received() == b"one"
        assert ends.source.recv(100) == b"two"

    run(main())


def test_a_closed_splice_makes_no_more_calls(ends: Ends, run: Run) -> None:
    async def main() -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        passage = Passage(ends, 1 << 20)
        passage.splice.close()
        passage.splice.close()
        ends.serve(b"later")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not passage.source.again.is_set()
        assert ends.source.recv(100) == b"later"
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2, "all but the pipe is closed"

    run(main())


def test_a_fault_in_splicing_is_reported_to_the_source(
    run: Run, ends: Ends, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def move() -> None:
        passage = Passage(ends, len(MEBIBYTE))
        monkeypatch.setattr(passage.sink, "body_moved", lambda *_: [][0])
        ends.serve(MEBIBYTE)
        await asyncio.wait_for(passage.source.has_faulted.wait(), 10)
        passage.splice.close()
        assert caplog.records[0].exc_info

    run(move())
