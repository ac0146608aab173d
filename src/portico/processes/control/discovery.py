"""Discovery as the control process runs it: the registry, what is watched for it, and the receivers of the results."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from portico.config import Config
from portico.core.found import Found
from portico.core.tasks import endless
from portico.net.redis.connection import masked
from portico.processes.control.dns_watch import DnsWatches
from portico.processes.control.health import HealthChecks
from portico.processes.control.kubernetes.watch import KubernetesWatches
from portico.processes.control.redis_watch import RedisWatch
from portico.processes.control.registry import Listeners, Registry
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.registry")

_TICK: Final = 0.25
_FIRST_LOOK: Final = 0.8
"""Seconds for which workers wait for the first read of Redis, when the gateway starts."""
_FIRST_ANSWER: Final = 5.0
"""The same for the first answer, or failure, of Kubernetes and DNS: a pod is not to be ready without them."""


class Discovery:
    """Runs where a configuration has `discover` somewhere; without, it costs nothing."""

    def __init__(self, config: Config, runtime: Runtime, workers: Workers, health: HealthChecks) -> None:
        self._workers = workers
        self._health = health
        health.directory_problems = self.problems
        self.changed_services = asyncio.Event()
        """Set when the admitted services have to change."""
        listeners = Listeners(self._report, self.changed_services.set, health.is_down)
        self.registry = Registry(config, runtime, listeners)
        self._url: str | None = None
        self._watch: RedisWatch | None = None
        self._asked = (KubernetesWatches(self.registry), DnsWatches(self.registry))
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and wait briefly for the first results."""
        await self.follow(self.registry.config)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ANSWER):
                await asyncio.gather(self._first_look(), *(directory.first_look() for directory in self._asked))
        self.registry.report_now()

    async def _first_look(self) -> None:
        if self._watch is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_LOOK):
                    await self._watch.first_look.wait()

    async def follow(self, config: Config) -> None:
        """Use this configuration from now on."""
        self.registry.follow(config)
        for directory in self._asked:
            await directory.follow(config)
        directories = config.directories
        if directories and self._ticking is None:
            self._ticking = endless(self._tick(), "expiry of registrations")
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None and "redis" in directories else None
        if url != self._url:
            await self._stop_watching()
            self._url = url
            if url is not None:
                self.registry.new_life()
                self._watch = RedisWatch(self.registry, url)

    @property
    def watch(self) -> RedisWatch:
        """Where services discover from Redis, its URL and options."""
        assert self._watch is not None
        return self._watch

    @property
    def uses_redis(self) -> bool:
        """Whether any service discovers from Redis."""
        return self._watch is not None

    def problems(self) -> dict[str, str]:
        """What is wrong with a directory, by service that it is asked for."""
        return {name: problem for each in self._asked for name, problem in each.problems().items()}

    def redis_state(self) -> dict[str, Any] | None:
        """For the admin API: which Redis, without its secrets, and whether it is reachable."""
        return {"url": masked(self._url), "up": self.registry.up} if self._url is not None else None

    async def close(self) -> None:
        """Stop."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._stop_watching()
        for directory in self._asked:
            await directory.close()
        self.registry.close()

    async def _stop_watching(self) -> None:
        if self._watch is not None:
            await self._watch.close()
            self._watch = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                self.registry.tick()
            except Exception:
                logger.exception("the registry could not be kept up")

    def _report(self, service: str, changed: dict[str, list[Found]]) -> None:
        self._workers.discover(service, changed)
        self._workers.forget_health(self._health.discover(service, changed))
