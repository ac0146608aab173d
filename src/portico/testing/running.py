"""A worker's gateway in this process, before a scripted service: the real wire, router and pipeline on a loopback port.

What other processes do is not there: the control process with `/health` and `/metrics`, health checks, reloads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import httpx
import uvloop

from portico.config import Config
from portico.observe.access_log import AccessRecord
from portico.policies.plugins.base import Policy
from portico.policies.plugins.lifecycle import Placed, PluginSet
from portico.policies.plugins.reports import Reports
from portico.policies.plugins.settings import PluginSettings
from portico.testing.contexts import LocalContext, total
from portico.testing.loop_thread import LoopThread
from portico.testing.service import Service
from portico.testing.worker import Worker

_CLIENT_TIMEOUT: Final = 20.0
_TIMEOUT: Final = 30.0
"""Seconds for an async hook: on a busy machine the second that it has by default may be too little."""
_LEVEL: Final = "gateway"
"""The level of the configuration at which the policies are used."""


class RunningGateway(LoopThread):
    """A gateway with some policies before a `service`; everything that is sent to `url` goes there through them.

    `config` holds further keys of a configuration, such as `gateway` and `policies`; `options` what stands beside `use`
    and `with` for each policy: `before`, `after`, `timeout` (30 s without it), `on_error`.
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
        self._log = _Log()
        self._errors: list[BaseException] = []

    @cached_property
    def client(self) -> httpx.Client:
        """A client of the gateway, to which paths suffice: `client.get("/x")`."""
        return httpx.Client(base_url=self.url, timeout=_CLIENT_TIMEOUT, trust_env=False)

    @property
    def log(self) -> list[AccessRecord]:
        """What the access log has of the exchanges that are over."""
        self.run(asyncio.sleep(0))  # the gateway may still be in the call in which it sent a response
        return self._log.records

    @property
    def events(self) -> list[logging.LogRecord]:
        """What the gateway and its policies reported."""
        self.run(asyncio.sleep(0))
        return self._events.records

    def metric(self, name: str, /, **labels: object) -> float:
        """What a metric of its policies has come to, or `gateway_policy_errors`; see `LocalContext.metric`."""
        self.run(asyncio.sleep(0))
        own = total(self._worker.metrics.families, name, labels)
        if own is not None:
            return own
        contexts = [each.context for each in self.policies if isinstance(each.context, LocalContext)]
        found = [value for each in contexts if (value := total(each.families, name, labels)) is not None]
        if not found:
            raise LookupError(f"no policy has defined the metric {name}")
        return sum(found)

    async def opening(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._failed)
        self._events.begin()
        self._worker = worker = Worker()
        plugins = PluginSet()
        reports = Reports(worker.metrics.policy_errors)
        plugins.by_scope[_LEVEL] = [await self._open(each, reports) for each in self.policies]
        _, service_port = await worker.listen(self.service)
        config = _config(service_port, self._written, bool(self.policies))
        _, port = await worker.listen(worker.gateway(config, self._log, plugins))
        self.url = f"http://127.0.0.1:{port}"

    async def _open(self, policy: Policy, reports: Reports) -> Placed:
        """Open a policy, and have it closed at the end."""
        name, ends = policy.context.name, self._worker.ends
        written = PluginSettings.model_validate({"use": name, "timeout": _TIMEOUT, **self._options})
        if isinstance(policy.context, LocalContext):
            ends.push_async_callback(policy.context.close)
        await policy.open()
        ends.push_async_callback(policy.close)
        return Placed.of(policy, written, reports)

    async def closing(self) -> None:
        if "client" in vars(self):
            self.client.close()
        try:
            await self._worker.ends.aclose()
        finally:
            self._events.end()
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

    def __init__(self) -> None:
        self.records: list[AccessRecord] = []
        self.add = self.records.append


class _Events(logging.Handler):
    """What is reported, kept, from the level on that a gateway shows by default."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []
        self._logger = logging.getLogger("portico")
        self._level = self._logger.level

    def begin(self) -> None:
        self._logger.addHandler(self)
        self._logger.setLevel(min(self._level or self.level, self.level))

    def end(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
