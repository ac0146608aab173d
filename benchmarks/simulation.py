"""A worker's request pipeline between transports that only keep what is written: no sockets and no event loop."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

from portico.config import Config
from portico.core.fields import PASSES, REQUEST_DROP
from portico.observe.access_log import AccessLog
from portico.observe.metrics import Metrics
from portico.observe.tracing import Sampling, Tracer
from portico.processes.ipc.channel import Watch
from portico.processes.worker.watching import Watching
from portico.proxy.gateway import Gateway
from portico.snapshot.builder import SnapshotBuilder
from portico.upstreams import instance as instance_module
from portico.upstreams.instance import Instance
from portico.upstreams.service import Timeouts
from portico.wire import turn as turn_module
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.client import UpstreamConnection
from portico.wire.http1.server import HttpServer, ServerConnection
from portico.wire.turn import Turn

CONNECTIONS: Final = 32
RESPONSE: Final = (
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


def _has_input(_: object) -> bool:
    return False


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


def _tracer(config: Config, export: Callable[[bytes], None]) -> Tracer:
    tracer = Tracer(lambda _: None)
    assert config.gateway.tracing is not None
    tracer.sample(Sampling(config.gateway.tracing.sample))
    tracer.routes = {route.name: route.path for route in config.all_routes}
    tracer.export = export
    return tracer


class Simulation:
    """A worker with clients and services at its ends: one of each per connection."""

    def __init__(
        self,
        config: Mapping[str, Any],
        log: AccessLog | None = None,
        response: bytes = RESPONSE,
        wish: Watch | None = None,
    ) -> None:
        self._response = response
        self.spans: list[bytes] = []
        """Those of exchanges that are recorded."""
        self._loop = _Loop()
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        deadlines, turn = Deadlines(loop), Turn(loop)
        vars(turn_module)["write"] = _write
        vars(instance_module)["has_input"] = _has_input
        metrics = Metrics()
        builder = SnapshotBuilder(deadlines, turn, Path("/nowhere"), {}, metrics)
        own = Config.model_validate(config)
        gateway = Gateway(builder.build(own, 1), metrics, log, 0, loop)
        if wish is not None:
            watching = Watching(loop, lambda: None)
            watching.receive(wish, cast(asyncio.StreamWriter, None))
            gateway.log_to(*watching.over(log, 0))
        if own.gateway.tracing is not None:
            gateway.trace(_tracer(own, self.spans.append))
        server = HttpServer(gateway, Limits(), deadlines, turn, loop, REQUEST_DROP, PASSES)
        *instances, _ = builder.live.instances()
        self._clients = [_connected(server) for _ in range(CONNECTIONS)]
        self._services = [_kept(instance) for instance in instances for _ in range(CONNECTIONS)]

    def play(self, requests: Sequence[bytes], contents: Sequence[bytes] = ()) -> None:
        """One request from every client, and its response. Raises RuntimeError for one that is not 200.

        Where there are `contents`, those that are not empty come behind their requests in a read of their own.
        """
        for (client, _), request in zip(self._clients, requests, strict=True):
            client.data_received(request)
        self._loop.turn()
        for (client, _), content in zip(self._clients, contents, strict=False):
            if content:
                client.data_received(content)
        if contents:
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

    def steps(self, requests: Sequence[bytes], contents: Sequence[bytes] = ()) -> Counter[str]:
        """How many instructions of the interpreter each function takes for one request from every client."""
        steps: Counter[str] = Counter()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode" and frame.f_code.co_filename != __file__:
                steps[frame.f_code.co_qualname] += 1
            return trace

        sys.settrace(trace)
        try:
            self.play(requests, contents)
        finally:
            sys.settrace(None)
        return steps

    def answered(self, request: bytes) -> tuple[bytes, bytes]:
        """What the service gets of one request, and the client of its response."""
        client, transport = self._clients[0]
        client.data_received(request)
        self._loop.turn()
        sent = b""
        for service, at_service in self._services:
            if at_service.written:
                sent = b"".join(at_service.written)
                at_service.written.clear()
                service.data_received(self._response)
        self._loop.turn()
        answer = b"".join(transport.written)
        transport.written.clear()
        return sent, answer


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
