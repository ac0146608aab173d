"""Bodies of many gibibytes through one worker: its memory stays where it is, and every byte arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.stress import subjects
from benchmarks.stress.plan import GROWTH, Plan
from benchmarks.stress.row import Row
from benchmarks.stress.wire import SMALL, StressWire, receive_chunked, receive_sized, request
from support.instance_process import InstanceProcess

_SLOW_SECONDS = 5

Transfer = Callable[[int, int], tuple[int, int]]
"""Moves so many bytes through the gateway at a port; gives how many arrived, and how many pieces were wrong."""


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """One stream at a time, a fresh gateway for each."""
    large, medium = plan.large, plan.medium
    transfers: tuple[tuple[str, Transfer, int], ...] = (
        ("download", _download, large),
        ("upload, sized", _upload_sized, large),
        ("upload, chunked", _upload_chunked, large),
        ("both at once", _echo, medium),
        ("slow reader", _read_slowly, medium),
        ("slow service", _upload_to_slow_service, medium),
    )
    for name, transfer, size in transfers:
        with subjects.portico(service.port) as subject:
            before = subject.worker.begin()
            began = time.monotonic()
            try:
                arrived, wrong = transfer(subject.port, size)
            except (OSError, ValueError, KeyError) as error:
                arrived, wrong, failure = 0, 0, repr(error)
            else:
                failure = ""
            rate = arrived / (time.monotonic() - began) / 1e6
            memory = subject.worker.since(before)
        row = Row(name, subject.name, f"{arrived / (1 << 30):.1f} GiB, {rate:.0f} MB/s", memory, failures=wrong)
        row.expect(not failure, failure)
        row.expect(arrived == size, f"{size - arrived} bytes are missing")
        row.expect(not wrong, f"{wrong} pieces are wrong")
        row.expect(memory.growth < GROWTH, f"grew by {memory.growth >> 20} MiB")
        yield row


def _download(port: int, size: int) -> tuple[int, int]:
    with StressWire(port) as wire:
        wire.send(request("GET", f"/bytes/{size}"))
        wire.head()
        checker = receive_sized(wire, size)
        return checker.total, checker.wrong


def _read_slowly(port: int, size: int) -> tuple[int, int]:
    """Some seconds of a trickle, then all the rest: what waited comes whole."""
    with StressWire(port, receive_buffer=SMALL) as wire:
        wire.send(request("GET", f"/bytes/{size}"))
        wire.head()
        end = time.monotonic() + _SLOW_SECONDS
        checker = receive_sized(wire, size, lambda: time.sleep(0.05 if time.monotonic() < end else 0))
        return checker.total, checker.wrong


def _upload_sized(port: int, size: int) -> tuple[int, int]:
    return _upload(port, size, "/take", chunked=False)


def _upload_chunked(port: int, size: int) -> tuple[int, int]:
    return _upload(port, size, "/take", chunked=True)


def _upload_to_slow_service(port: int, size: int) -> tuple[int, int]:
    return _upload(port, size, f"/take/{_SLOW_SECONDS}", chunked=False)


def _upload(port: int, size: int, target: str, chunked: bool) -> tuple[int, int]:
    with StressWire(port) as wire:
        wire.send(request("POST", target, _framing(size, chunked)))
        wire.send_pattern(size, chunked)
        answer = wire.json()
        return answer["total"], answer["wrong"]


def _echo(port: int, size: int) -> tuple[int, int]:
    """The response comes while the request is sent."""
    with StressWire(port) as wire:
        wire.send(request("POST", "/echo", _framing(size, chunked=True)))
        sender = threading.Thread(target=wire.send_pattern, args=(size, True), daemon=True)
        sender.start()
        wire.head()
        checker = receive_chunked(wire)
        sender.join(10)
        return checker.total, checker.wrong


def _framing(size: int, chunked: bool) -> str:
    return "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
