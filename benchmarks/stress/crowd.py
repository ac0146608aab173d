"""Slow connections, held open until this process is asked to end.

Arguments: the port, how many of each kind, and the kinds. It prints `held` once all are there; on SIGTERM it looks at
each once more and prints how many the gateway has ended. Each connection moves about once a second; their turns are
spread evenly, so that the crowd is a steady trickle and not a wave.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.stress.wire import SMALL, StressWire, request
from support.commands import python
from support.cores import LOAD
from support.process import Process

_TICK: Final = 0.005
_ROUND: Final = 1.0
"""Seconds in which each connection has its turn."""
_WITHIN: Final = 60.0

Turn = Callable[[StressWire], None]
"""What a connection does once a second; OSError where the gateway has ended it."""


def slow_head(wire: StressWire) -> Turn:
    """A request's head, one byte at a time."""
    wire.send(request("GET", "/small", "X-Slow: ")[:-4])
    return lambda wire: wire.send(b"y")


def slow_body(wire: StressWire) -> Turn:
    """A request's content, one byte at a time."""
    wire.send(request("POST", "/take", "Content-Length: 1000000"))
    return lambda wire: wire.send(b"y")


def slow_reader(wire: StressWire) -> Turn:
    """A large response, a kilobyte at a time."""
    wire.send(request("GET", "/bytes/67108864"))
    return _read


def idle(wire: StressWire) -> Turn:
    """A connection that asked once and is kept."""
    wire.send(request("GET", "/small"))
    wire.json()
    return _look


KINDS: Final[dict[str, Callable[[StressWire], Turn]]] = {
    "slow heads": slow_head,
    "slow bodies": slow_body,
    "slow readers": slow_reader,
    "idle": idle,
}


class _Crowd(Process):
    """This module as a process of its own, ready once all connections are held."""

    def __init__(self, port: int, each: int, kinds: tuple[str, ...]) -> None:
        super().__init__(*python("benchmarks.stress.crowd", port, each, *kinds), cores=LOAD)
        self._count = len(kinds) * each

    def is_ready(self) -> bool:
        return "held" in self.output()

    def lost(self) -> int:
        """Ends it; how many connections were lost."""
        self.running.terminate()
        self.running.wait(_WITHIN)
        last = self.output().splitlines()[-1]
        return int(last) if last.isdecimal() else self._count


@contextmanager
def crowd(port: int, each: int, kinds: tuple[str, ...]) -> Iterator[Callable[[], int]]:
    """Held open until the end; yields what ends it and reports how many connections were lost."""
    with _Crowd(port, each, kinds) as process:
        yield process.lost


def _read(wire: StressWire) -> None:
    if not wire.socket.recv(1024):
        raise ConnectionError("the gateway closed")


def _look(wire: StressWire) -> None:
    wire.socket.setblocking(False)
    try:
        _read(wire)
    except BlockingIOError:
        pass
    finally:
        wire.socket.settimeout(wire.TIMEOUT)


def _hold(port: int, each: int, kinds: list[str]) -> None:
    asked_to_end = False

    def end(number: int, frame: object) -> None:  # noqa: ARG001
        nonlocal asked_to_end
        asked_to_end = True

    signal.signal(signal.SIGTERM, end)
    held: list[tuple[StressWire, Turn]] = []
    for _ in range(each):
        for kind in kinds:
            wire = StressWire(port, receive_buffer=SMALL if kind == "slow readers" else 0)
            held.append((wire, KINDS[kind](wire)))
    print("held", flush=True)
    lost: set[StressWire] = set()
    begin, taken = time.monotonic(), 0
    while not asked_to_end:
        time.sleep(_TICK)
        wanted = int((time.monotonic() - begin) / _ROUND * len(held))
        for number in range(taken, wanted):
            _take_turn(*held[number % len(held)], lost)
        taken = wanted
    for wire, turn in held:
        _take_turn(wire, turn, lost)
    print(len(lost))


def _take_turn(wire: StressWire, turn: Turn, lost: set[StressWire]) -> None:
    try:
        turn(wire)
    except OSError:
        lost.add(wire)


if __name__ == "__main__":
    _hold(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
