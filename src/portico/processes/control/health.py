"""Active health checks: which instances may get traffic, and what `/health` says."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portico.config import Config, HealthCheckSettings, ServiceSettings
from portico.core.found import Found
from portico.processes.control.check import Check
from portico.processes.control.health_report import health_report
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.looks import Finding, Looks
from portico.snapshot.builder import upstream_key

logger: Final = logging.getLogger("portico.health")

_DOWN_INTERVAL: Final = 1.0
"""Seconds between checks of an instance that is down: it should not stay out longer than it has to."""
_REPORT_AGE: Final = 1.0
"""Seconds from its beginning for which one round of looks serves all who ask: none sees what is older than that.

So `/health`, which is open to everybody, asks each instance once a second at most.
"""


@dataclass
class HealthChecks:
    """Runs the checks of one configuration after another; `changed` hears of instances that turned.

    `seen_by_workers` gives what workers know besides, for `/health`.
    """

    changed: Callable[[list[tuple[str, str, bool]]], None]
    seen_by_workers: Callable[[], Awaitable[InstanceStates]]
    checks: dict[tuple[str, str], Check] = field(default_factory=dict)
    _services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    _found: dict[str, Sequence[Found]] = field(default_factory=dict)
    _tasks: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _looks: Looks = field(default_factory=Looks)
    _report: asyncio.Task[dict[str, Any]] | None = None
    _report_began: float = 0.0

    def watch(self, config: Config) -> None:
        """Check the instances of `config`, and those that registered, from now on; those that stay keep their state."""
        self._services = config.services
        known, self.checks = self.checks, {}
        for name in config.services:
            self.checks |= self._wanted(name, known)
        for task in self._tasks.values():
            task.cancel()
        self._tasks = {}
        self._start_checks(self.checks)

    def discover(self, name: str, found: Sequence[Found]) -> None:
        """Check the registered instances of a service, which are these now."""
        self._found[name] = found
        if name not in self._services:  # a service that is yet to be let in, or was forgotten
            return
        before = {identity: check for identity, check in self.checks.items() if check.service == name}
        wanted = self._wanted(name, before)
        for identity in before.keys() - wanted.keys():
            del self.checks[identity]
            if identity in self._tasks:
                self._tasks.pop(identity).cancel()
        new = {identity: check for identity, check in wanted.items() if identity not in before}
        for identity in before.keys() & wanted.keys():
            self.checks[identity].instance = wanted[identity].instance
        self.checks |= new
        self._start_checks(new)

    def is_down(self, name: str, url: str) -> bool:
        """Whether an instance fails its checks."""
        return any(
            not check.healthy for check in self.checks.values() if check.service == name and check.instance.url == url
        )

    def _wanted(self, name: str, known: Mapping[tuple[str, str], Check]) -> dict[tuple[str, str], Check]:
        """A check for every instance of a service, as it is configured now."""
        service, found = self._services[name], self._found.get(name, ())
        checks: dict[tuple[str, str], Check] = {}
        for version in (None, *service.versions):
            upstream = service.upstream(version, found)
            for instance in upstream.instances:
                key = upstream_key(name, version, upstream)
                check = Check(name, key, instance, upstream.health, upstream.tls)
                old = known.get(check.identity)
                if old is not None:
                    check.healthy, check.passes, check.failures = old.healthy, old.passes, old.failures
                    check.error = old.error
                if upstream.health is None:
                    check.healthy, check.error = True, None
                checks.setdefault(check.identity, check)
        return checks

    def _start_checks(self, checks: Mapping[tuple[str, str], Check]) -> None:
        loop = asyncio.get_running_loop()
        for identity, check in checks.items():
            if check.settings is not None:
                self._tasks[identity] = loop.create_task(self._keep_checking(check))
        self._report = None

    def states(self) -> dict[tuple[str, str], bool]:
        """The health of every instance, by upstream key and URL."""
        return {identity: check.healthy for identity, check in self.checks.items()}

    async def report(self) -> dict[str, Any]:
        """The state of every service, looked at now, all at once; who asks within `_REPORT_AGE` shares one look."""
        now = time.monotonic()
        if self._report is None or now - self._report_began >= _REPORT_AGE:
            self._report_began = now
            self._report = asyncio.get_running_loop().create_task(self._look_at_all())
        return await asyncio.shield(self._report)

    async def close(self) -> None:
        """Stop checking."""
        for task in self._tasks.values():
            task.cancel()
        await self._looks.close()

    async def _keep_checking(self, check: Check) -> None:
        assert check.settings is not None
        await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - spreads the checks, hides nothing
        while True:
            finding = await self._look(check)
            if check.note(finding.error):
                state = "up" if check.healthy else "down"
                extra = {"service": check.service, "instance": check.instance.url, "error": finding.error}
                logger.log(logging.INFO if check.healthy else logging.WARNING, "instance %s", state, extra=extra)
                self.changed([(*check.identity, check.healthy)])
            interval = check.settings.interval if check.healthy else min(check.settings.interval, _DOWN_INTERVAL)
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311

    async def _look_at_all(self) -> dict[str, Any]:
        checks = list(self.checks.values())
        looks = asyncio.gather(*(self._shared_look(check) for check in checks))
        states, findings = await asyncio.gather(self.seen_by_workers(), looks)
        return health_report(self._services, list(zip(checks, findings, strict=True)), states)

    def _shared_look(self, check: Check) -> Awaitable[Finding]:
        """One at a time, however many reports are under way because an instance does not answer."""
        if check.look is None or check.look.done():
            check.look = asyncio.get_running_loop().create_task(self._look(check))
        return check.look

    async def _look(self, check: Check) -> Finding:
        return await self._looks.look(check.instance, check.settings or HealthCheckSettings(), check.tls)
