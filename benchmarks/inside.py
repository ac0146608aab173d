"""`python -m benchmarks.inside`: what Portico's own code takes of a request, with neither sockets nor an event loop.

A worker's request pipeline stands between transports that only keep what is written. Nothing of the kernel is in the
number and hardly any noise, so that two trees can be compared: `PYTHONPATH=/elsewhere/src python -m benchmarks.inside`.
`--steps` counts the interpreter's instructions instead, function by function: the same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from email.utils import formatdate
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvloop

from benchmarks.request import SECRET, Request, token
from portico.config import Config
from portico.core.fields import PASSES, REQUEST_DROP
from portico.observe.access_log import AccessLog
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway
from portico.snapshot.builder import SnapshotBuilder
from portico.upstreams.instance import Instance
from portico.upstreams.service import Timeouts
from portico.wire import turn as turn_module
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.client import UpstreamConnection
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.turn import Turn

_CONNECTIONS = 32
_ROUND = 2048
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 06:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 126\r\nConnection: keep-alive\r\n\r\n" + b"x" * 126
)


class _Socket:
    """A number that no descriptor has."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number


_written: list[list[bytes]] = []
"""By the number of its socket, what each transport keeps."""


def _write(descriptor: int, data: bytes) -> int:
    _written[descriptor].append(data)
    return len(data)


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        socket = _Socket(len(_written))
        super().__init__({"peername": ("127.0.0.1", 5555), "sockname": ("127.0.0.1", 8000), "socket": socket})
        self.written: list[bytes] = []
        _written.append(self.written)

    def write(self, data: Any) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class _Loop:
    """A loop whose turns are made by hand; no timer ever fires."""

    def __init__(self) -> None:
        self._ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._ready.append((callback, arguments))

    def call_later(self, *_: Any) -> None:
        pass

    def turn(self) -> None:
        ready, self._ready = self._ready, []
        for callback, arguments in ready:
            callback(*arguments)


class _Simulation:
    """A worker with clients and services at its ends."""

    def __init__(
        self,
        policies: dict[str, Any],
        log: AccessLog | None,
        routes: int,
        response: bytes,
        *,
        by_header: bool = False,
        by_pattern: bool = False,
    ) -> None:
        self._response = response
        self._loop = _Loop()
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        deadlines, turn = Deadlines(loop), Turn(loop)
        vars(turn_module)["write"] = _write
        bench: dict[str, Any] = {"url": "http://127.0.0.1:9", "health_check": False}
        if by_header:
            bench |= {"version_by": "header", "versions": {"v1": {}, "v2": {}}}
        written = [_route(number, by_pattern=by_pattern) for number in range(routes)]
        config = Config.model_validate({"services": {"bench": bench}, "policies": policies, "routes": written})
        metrics = Metrics()
        builder = SnapshotBuilder(deadlines, turn, Path("/nowhere"), {}, metrics)
        gateway = Gateway(builder.build(config, 1), metrics, log, 0, loop)
        server = HttpServer(gateway, Limits(), deadlines, turn, loop, REQUEST_DROP, PASSES)
        instance, _ = builder.live.instances()
        self._clients = [_connected(server) for _ in range(_CONNECTIONS)]
        self._services = [_kept(instance) for _ in range(_CONNECTIONS)]

    def play(self, requests: Sequence[bytes]) -> None:
        """One request from every client, and its response."""
        for (client, _), request in zip(self._clients, requests, strict=True):
            client.data_received(request)
        self._loop.turn()
        for service, transport in self._services:
            if transport.written:
                transport.written.clear()
                service.data_received(self._response)
        self._loop.turn()
        for _, transport in self._clients:
            if not transport.written or not transport.written[0].startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"no answer: {transport.written}")
            transport.written.clear()


def _route(number: int, *, by_pattern: bool) -> dict[str, str]:
    if not by_pattern:
        return {"service": "bench", "path": f"/api/bench{number}"}
    pattern = f"~ ^/api/bench{number}/(?P<kind>[a-z]+)/(?P<id>[0-9]+)$"
    return {"service": "bench", "path": pattern, "rewrite": "/{id}/{kind}"}


def _fresh() -> bytes:
    """The same response, made now and fresh for an hour."""
    line, (server, _, *others) = _RESPONSE.split(b"\r\n")[0], _RESPONSE.split(b"\r\n")[1:]
    date = b"Date: " + formatdate(usegmt=True).encode()
    return b"\r\n".join((line, server, date, b"Cache-Control: public, max-age=3600", *others))


def _connected(server: HttpServer) -> tuple[ServerConnection, _Transport]:
    client, transport = server(), _Transport()
    client.connection_made(transport)
    return client, transport


def _kept(instance: Instance) -> tuple[UpstreamConnection, _Transport]:
    service, transport = instance._new_connection(), _Transport()
    service.connection_made(transport)
    service.timeouts, service.total_deadline = Timeouts(), NEVER
    instance.give_back(service)
    return service, transport


def _requests(chosen: argparse.Namespace) -> Callable[[int], list[bytes]]:
    varied, routes, variants = chosen.varied, chosen.routes, chosen.variants
    request = Request("/items", method="POST" if chosen.post else "GET", body=chosen.post)
    fields = request.fields(token(), sequence="0")
    target = b" /api/bench%d/items/%d" if chosen.patterns else b" /api/bench%d/items?n=%d"
    start = request.method.encode() + target + b" HTTP/1.1\r\n"
    content = b"x" * chosen.post
    if chosen.versions:
        fields["API-Version"] = "v2"
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    changing = b"X-Changing: %d\r\n" if varied or variants > 1 else b""
    different = sys.maxsize if varied else variants

    def batch(number: int) -> list[bytes]:
        numbers = range(number * _CONNECTIONS, (number + 1) * _CONNECTIONS)
        if chosen.cache == "hit":
            numbers = range(_CONNECTIONS)
        return [
            start % (n * 7919 % routes, n)
            + block
            + _filled(changing, n // _CONNECTIONS % different)
            + b"\r\n"
            + content
            for n in numbers
        ]

    return batch


def _filled(line: bytes, number: int) -> bytes:
    return line % number if line else line


def _steps(play: Callable[[], None], requests: int) -> None:
    """Print how many instructions of the interpreter each function takes of a request."""
    steps: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_code.co_filename != __file__:
            steps[frame.f_code.co_qualname] += 1
        return trace

    sys.settrace(trace)
    play()
    sys.settrace(None)
    for name, count in steps.most_common():
        print(f"{count / requests:8.1f}  {name}")
    print(f"{steps.total() / requests:8.1f}  in all")


def _hooks(names: Sequence[str]) -> AbstractContextManager[object]:
    if not names:
        return nullcontext()  # an older tree has none
    from benchmarks.hooks import hooked

    return hooked(names)


async def _measure(chosen: argparse.Namespace) -> None:
    all_of_them = {"auth": {"jwt": {"secret": SECRET}}, "rate_limit": {"requests_per_minute": 1e9, "burst": 10**9}}
    log = None if chosen.plain else AccessLog(asyncio.get_running_loop(), os.devnull, "json")
    with _hooks(chosen.hooks):
        policies = {} if chosen.plain else all_of_them
        if chosen.cache:
            policies["cache"] = True
        response = _fresh() if chosen.cache else _RESPONSE
        by_header = chosen.versions == "header"
        simulation = _Simulation(
            policies, log, chosen.routes, response, by_header=by_header, by_pattern=chosen.patterns
        )
    batch = _requests(chosen)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    found = []
    end = time.monotonic() + chosen.seconds
    number = 0
    if chosen.steps:
        for number in range(64):  # what is made once is made by then
            simulation.play(batch(number))
        counted = batch(number + 1)
        _steps(lambda: simulation.play(counted), _CONNECTIONS)
        end = 0.0
    while time.monotonic() < end:
        batches = [batch(number + index) for index in range(_ROUND // _CONNECTIONS)]
        number += len(batches)
        before = time.thread_time()
        for requests in batches:
            simulation.play(requests)
        found.append((time.thread_time() - before) / _ROUND * 1e6)
        if log is not None:
            log.flush()
    if found:
        found.sort()
        middle = found[len(found) // 2]
        print(f"{found[0]:.2f} µs per request at best, {middle:.2f} in the median of {len(found)} rounds")
    if log is not None:
        log.close()


def main(arguments: Sequence[str]) -> None:
    """Measures and prints one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inside", description=__doc__)
    parser.add_argument("--plain", action="store_true", help="without policies and without a log")
    parser.add_argument("--varied", action="store_true", help="a header field that differs in every request")
    parser.add_argument("--variants", type=int, default=1, help="sets of fields that each client sends in turn")
    parser.add_argument("--post", type=int, default=0, help="bytes of content in each request")
    parser.add_argument("--routes", type=int, default=1, help="spread over so many routes")
    parser.add_argument(
        "--patterns", action="store_true", help="routes by pattern, each request with a path of its own"
    )
    parser.add_argument("--cache", choices=["hit", "miss"], help="a cached route, where every request is one of these")
    parser.add_argument("--hooks", nargs="+", default=[], help="policies of users, of those in benchmarks/hooks.py")
    parser.add_argument(
        "--versions",
        choices=["header", "ignored"],
        help="a service of two, chosen by a field; or of none, for comparison",
    )
    parser.add_argument("--steps", action="store_true", help="count instructions of the interpreter, not time")
    parser.add_argument("--seconds", type=float, default=5)
    uvloop.run(_measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
