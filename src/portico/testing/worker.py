"""What a worker is made of beside its process, on the event loop of whoever wants a gateway in theirs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from portico.config import Config
from portico.core.exchange import Handler
from portico.core.fields import PASSES_OR_RAISES, REQUEST_DROP
from portico.observe.access_log import Log
from portico.observe.metrics import Metrics
from portico.policies.plugins.lifecycle import PluginSet
from portico.proxy.gateway import Gateway
from portico.snapshot.builder import SnapshotBuilder
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.server import HttpServer
from portico.wire.turn import Turn

_NO_CONTROL: Final = Path("/nowhere")
"""Where control's socket would be."""


class Worker:
    """Servers on free loopback ports, closed with all their connections at the end of an `async with`."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.turn = Turn(self.loop)
        self.deadlines = Deadlines(self.loop, self.turn)
        self.metrics = Metrics()
        self.ends = AsyncExitStack()
        """What is to be done at the end, the last of it first."""
        self.ends.callback(self.deadlines.close)
        self.ends.push_async_callback(asyncio.sleep, 0)  # connections are lost in the next turn of the loop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ends.aclose()

    def gateway(self, config: Config, log: Log, plugins: PluginSet | None = None) -> Gateway:
        """A gateway with this configuration, and users' policies that are open."""
        builder = SnapshotBuilder(self.deadlines, self.turn, _NO_CONTROL, {}, self.metrics)
        self.ends.callback(builder.live.close)
        snapshot = builder.build(config, 1, plugins)
        return Gateway(snapshot, self.metrics, log, 0, self.loop)

    async def listen(self, handler: Handler) -> tuple[HttpServer, int]:
        """Have it serve; the server and its port."""
        server = HttpServer(handler, Limits(), self.deadlines, self.turn, self.loop, REQUEST_DROP, PASSES_OR_RAISES)
        listener = await self.loop.create_server(server, "127.0.0.1", 0)
        self.ends.callback(server.cut)
        self.ends.callback(listener.close)
        port: int = listener.sockets[0].getsockname()[1]
        return server, port
