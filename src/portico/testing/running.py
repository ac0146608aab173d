"""A worker's gateway in this process, before a scripted service: the real wire, router and pipeline on a loopback port.

What other processes do is not there: the control process with `/health` and `/metrics`, health checks, reloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import httpx
import uvloop

from portico.config import Config
from portico.core.exchange import Handler
from portico.core.fields import PASSES, REQUEST_DROP
from portico.observe.access_log import AccessLog, AccessRecord
from portico.observe.metrics import Metrics
from portico.policies.plugins.base import Policy
from portico.policies.plugins.hooks import PluginHooks
from portico.policies.plugins.lifecycle import Placed, PluginSet
from portico.policies.plugins.reports import Reports
from portico.policies.plugins.settings import PluginSettings
from portico.proxy.gateway import Gateway
from portico.snapshot.builder import SnapshotBuilder
from portico.testing.contexts import LocalContext
from portico.testing.loop_thread import LoopThread
from portico.testing.service import Service
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Limits
from portico.wire.http1.server import HttpServer
from portico.wire.turn import Turn

_CLIENT_TIMEOUT: Final = 20.0
_LEVEL: Final = "gateway"
"""The level of the configuration at which the policies are used."""


class RunningGateway(LoopThread):
    """A gateway with some policies before a `service`; everything that is sent to `url` goes there through them.

    `config` holds further keys of a configuration, such as `gateway` and `policies`; `options` what stands beside `use`
    and `with` for each policy: `before`, `after`, `timeout`, `on_error`.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        config: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(uvloop.new_event_loop())
        self.policies = policies
        self.service = Service()
        self.url = ""
        self._written = config or {}
        self._options = options or {}
        self._events = _Events()
        self._records: list[AccessRecord] = []
        self._errors: list[BaseException] = []
        self._ends = contextlib.AsyncExitStack()

    @cached_property
    def client(self) -> httpx.Client:
        """A client of the gateway, to which paths suffice: `client.get("/x")`."""
        return httpx.Client(base_url=self.url, timeout=_CLIENT_TIMEOUT, trust_env=False)

    @property
    def log(self) -> list[AccessRecord]:
        """What the access log has of the exchanges that are over."""
        self.run(asyncio.sleep(0))  # the gateway may still be in the call in which it sent a response
        return self._records

    @property
    def events(self) -> list[logging.LogRecord]:
        """What the gateway and its policies reported."""
        self.run(asyncio.sleep(0))
        return self._events.records

    async def opening(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._failed)
        logger = logging.getLogger("portico")
        logger.addHandler(self._events)
        self._ends.callback(logger.removeHandler, self._events)
        try:
            await self._start()
        except BaseException:
            await self._ends.aclose()
            raise

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        turn = Turn(loop)
        deadlines, metrics = Deadlines(loop, turn), Metrics()
        self._ends.callback(deadlines.close)
        self._ends.push_async_callback(asyncio.sleep, 0)
        service_port = await self._listen(self.service, deadlines, turn)
        plugins = PluginSet()
        plugins.by_scope[_LEVEL] = [await self._open(each, Reports(metrics.policy_errors)) for each in self.policies]
        builder = SnapshotBuilder(deadlines, turn, Path("/nowhere"), {}, metrics)
        self._ends.callback(builder.live.close)
        snapshot = builder.build(_config(service_port, self._written, bool(self.policies)), 1, plugins)
        log = cast(AccessLog, _Log(self._records))
        port = await self._listen(Gateway(snapshot, metrics, log, 0, loop), deadlines, turn)
        self.url = f"http://127.0.0.1:{port}"

    async def _open(self, policy: Policy, reports: Reports) -> Placed:
        """Open a policy, and have it closed at the end."""
        name = policy.context.name
        written = PluginSettings.model_validate({"use": name, **self._options})
        if isinstance(policy.context, LocalContext):
            self._ends.push_async_callback(policy.context.close)
        await policy.open()
        self._ends.push_async_callback(policy.close)
        skips = written.on_error == "skip"
        return Placed(written, PluginHooks(policy, name, written.timeout, skips, reports.of(name)))

    async def _listen(self, handler: Handler, deadlines: Deadlines, turn: Turn) -> int:
        """Have it serve a free port, and close that with all its connections at the end."""
        loop = asyncio.get_running_loop()
        server = HttpServer(handler, Limits(), deadlines, turn, loop, REQUEST_DROP, PASSES)
        listener = await loop.create_server(server, "127.0.0.1", 0)
        self._ends.callback(server.cut)
        self._ends.callback(listener.close)
        port: int = listener.sockets[0].getsockname()[1]
        return port

    async def closing(self) -> None:
        if "client" in vars(self):
            self.client.close()
        await self._ends.aclose()
        if self._errors:
            raise self._errors[0]

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a script raised, or nobody foresaw: it is raised again at the end."""
        loop.default_exception_handler(context)
        self._errors.append(context.get("exception") or RuntimeError(context["message"]))


def _config(port: int, written: Mapping[str, Any], has_plugins: bool) -> Config:
    policies = {**written.get("policies", {}), **({"plugins": [{"use": "given:Policies"}]} if has_plugins else {})}
    return Config.model_validate(
        {
            "services": {"service": {"url": f"http://127.0.0.1:{port}", "health_check": False}},
            "routes": [{"path": "/", "service": "service"}],
            **written,
            "policies": policies,
        }
    )


class _Log:
    """The access log, kept."""

    def __init__(self, records: list[AccessRecord]) -> None:
        self.add = records.append


class _Events(logging.Handler):
    """What is reported, kept."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
