"""Clients that vanish in the middle of a head, a body or a response: nothing of them is left, on either side."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from benchmarks.stress import subjects
from benchmarks.stress.plan import Plan
from benchmarks.stress.row import Row
from benchmarks.stress.subjects import Subject
from benchmarks.stress.wire import SMALL, StressWire, request
from support.instance_process import InstanceProcess
from support.waiting import comes_true

_GONE_WITHIN: Final = 10.0
_SPARE: Final = 4
"""Descriptors that may come and go by themselves: the control process asks now and then, and so does this one."""


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """A quarter in each place; of each quarter, half leave with a FIN and half with a RST.

    But for those in a large response: with bytes unread, the kernel sends a RST for all.
    """
    with subjects.portico(service.port) as subject:
        descriptors = subject.worker.descriptors()
        before = subject.worker.begin()
        wires = [PHASES[number % len(PHASES)](subject.port) for number in range(plan.vanishing)]
        time.sleep(0.5)
        most = service.others()
        for number, wire in enumerate(wires):
            if number // len(PHASES) % 2:
                wire.reset()
            else:
                _leave(wire)
        began = time.monotonic()
        questions: dict[str, Callable[[], bool]] = {
            "exchanges are in flight": lambda: _in_flight(subject) == 0,
            "connections to the service are open": lambda: service.others() == 0,
            "descriptors are open": lambda: subject.worker.descriptors() <= descriptors + _SPARE,
        }
        still = [what for what, is_over in questions.items() if not comes_true(is_over, _GONE_WITHIN)]
        seconds = time.monotonic() - began
        memory = subject.worker.since(before)
    what = f"{len(wires)} clients, {most} reached the service, all gone in {seconds:.1f} s"
    row = Row("vanishing", subject.name, what, memory, failures=len(still), broken=[f"{each} still" for each in still])
    row.expect(most >= len(wires) // 2, "fewer requests reached the service than were sent")
    yield row


def _in_head(port: int) -> StressWire:
    wire = StressWire(port)
    wire.send(request("GET", "/small")[:-10])
    return wire


def _in_body(port: int) -> StressWire:
    wire = StressWire(port)
    wire.send(request("POST", "/take", "Content-Length: 1000000") + b"x" * 100)
    return wire


def _in_large_response(port: int) -> StressWire:
    wire = StressWire(port, receive_buffer=SMALL)
    wire.send(request("GET", "/bytes/67108864"))
    wire.head()
    return wire


def _in_slow_response(port: int) -> StressWire:
    wire = StressWire(port)
    wire.send(request("GET", "/events/1000/100"))
    wire.head()
    return wire


PHASES: Final = (_in_head, _in_body, _in_large_response, _in_slow_response)


def _leave(wire: StressWire) -> None:
    """Close with a FIN, if what came is little and can be read first."""
    wire.socket.setblocking(False)
    with suppress(BlockingIOError):
        wire.socket.recv(65536)
    wire.close()


def _in_flight(subject: Subject) -> int:
    """As the gateway's own metrics say; this question goes through the gateway and is one of them."""
    with StressWire(subject.port) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: stress.test\r\nConnection: close\r\n\r\n")
        page = b"".join(bytes(piece) for piece in wire.pieces())
    found = re.search(rb"^gateway_requests_in_flight(?:\{[^}]*\})? ([0-9.]+)", page, re.MULTILINE)
    return int(float(found[1])) - 1 if found else -1
