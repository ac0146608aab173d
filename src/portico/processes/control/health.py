"""Active health checks: which instances may get traffic, and what `/health` says."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx

from portico.config import Config, HealthCheckSettings, InstanceSettings, ServiceSettings, UpstreamTlsSettings
from portico.core.found import Found
from portico.net.addresses import Network
from portico.net.tls.certificates import CertificateError
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.named_check import ask_at_name
from portico.snapshot.live import upstream_key
from portico.snapshot.upstream_tls import UpstreamContexts
from portico.upstreams.named_instance import is_literal

logger: Final = logging.getLogger("portico.health")

_DOWN_INTERVAL: Final = 1.0
"""Seconds between checks of an instance that is down: it should not stay out longer than it has to."""
_LONGEST: Final = 60.0
"""Seconds for a step of a check, all of which have their own timeout besides."""
_REPORT_AGE: Final = 1.0
"""Seconds for which one round of `/health` serves all who ask."""


@dataclass(slots=True)
class Check:
    """One instance under observation. `settings` None: it counts as healthy, and only `/health` looks at it."""

    service: str
    key: str
    instance: InstanceSettings
    settings: HealthCheckSettings | None
    tls: UpstreamTlsSettings
    named: Sequence[Network] | None = None
    """For an instance that registered: the networks that are allowed by name."""
    healthy: bool = True
    passes: int = 0
    failures: int = 0
    error: str | None = None
    """What was wrong when it was last checked."""

    @property
    def identity(self) -> tuple[str, str]:
        return self.key, self.instance.url

    def note(self, error: str | None) -> bool:
        """Count a result; whether it changed the instance's health."""
        assert self.settings is not None
        self.error = error
        if error is None:
            self.passes, self.failures = self.passes + 1, 0
        else:
            self.passes, self.failures = 0, self.failures + 1
        turned = (
            self.failures >= self.settings.unhealthy_after
            if self.healthy
            else self.passes >= self.settings.healthy_after
        )
        if turned:
            self.healthy = not self.healthy
        return turned


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at an instance gave: seconds until it answered, and what was wrong, if anything."""

    seconds: float
    error: str | None


@dataclass
class HealthChecks:
    """Runs the checks of one configuration after another; `changed` hears of instances that turned.

    `seen_by_workers` gives what workers know besides, for `/health`.
    """

    changed: Callable[[list[tuple[str, str, bool]]], None]
    seen_by_workers: Callable[[], Awaitable[InstanceStates]]
    checks: dict[tuple[str, str], Check] = field(default_factory=dict)
    _services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    _allowed: Callable[[str], Sequence[Network]] = lambda _: ()
    _found: dict[str, Sequence[Found]] = field(default_factory=dict)
    _tasks: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _contexts: UpstreamContexts = field(default_factory=UpstreamContexts)
    _clients: dict[UpstreamTlsSettings, tuple[ssl.SSLContext, httpx.AsyncClient]] = field(default_factory=dict)
    _report: asyncio.Task[dict[str, Any]] | None = None
    _reported: float = 0.0

    def watch(self, config: Config) -> None:
        """Check the instances of `config`, and those that registered, from now on; those that stay keep their state."""
        self._services, self._allowed = config.services, config.networks_allowed
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
            self.checks[identity].named = wanted[identity].named
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
                named = self._allowed(name) if instance.url in upstream.registered else None
                check = Check(name, key, instance, upstream.health, upstream.tls, named)
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
        """The state of every service, looked at now, all at once; who asks at the same time shares one look."""
        if self._report is None or (self._report.done() and time.monotonic() - self._reported > _REPORT_AGE):
            self._report = asyncio.get_running_loop().create_task(self._look_at_all())
        return await asyncio.shield(self._report)

    async def close(self) -> None:
        """Stop checking."""
        for task in self._tasks.values():
            task.cancel()
        for _, client in self._clients.values():
            await client.aclose()

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
        looks = asyncio.gather(*(self._look(check) for check in checks))
        states, findings = await asyncio.gather(self.seen_by_workers(), looks)
        self._reported = time.monotonic()
        services: dict[str, dict[str, Any]] = {}
        upstreams: dict[str, dict[str, list[str]]] = {}
        for check, finding in zip(checks, findings, strict=True):
            entry = services.setdefault(check.service, {"status": "unhealthy", "instances": []})
            entry["instances"].append(_described(check, finding) | states.described(*check.identity))
            upstreams.setdefault(check.service, {}).setdefault(check.key, []).append(check.instance.url)
        for name, entry in services.items():
            _sum_up(entry)
            if warning := _warning(name, upstreams[name], states):
                entry["warning"] = warning
        for name, service in self._services.items():
            if service.discover is not None and name not in services:
                services[name] = {"status": "unhealthy", "instances": [], "error": "no instance is registered"}
        return services

    async def _look(self, check: Check) -> Finding:
        """Ask one instance, within its timeout."""
        settings = check.settings or HealthCheckSettings()
        started = time.monotonic()
        try:
            async with asyncio.timeout(settings.timeout):
                error = await self._ask(check, settings)
        except TimeoutError:
            error = f"no answer within {settings.timeout:g} s"
        except (OSError, httpx.HTTPError, CertificateError) as failure:
            error = str(failure) or type(failure).__name__
        return Finding(time.monotonic() - started, error)

    async def _ask(self, check: Check, settings: HealthCheckSettings) -> str | None:
        host, ask = check.instance.host, partial(self._ask_at, check, settings)
        if check.named is None or is_literal(host):
            return await ask(host, settings.timeout)
        return await ask_at_name(host, check.named, settings.timeout, ask)

    async def _ask_at(self, check: Check, settings: HealthCheckSettings, host: str, seconds: float) -> str | None:
        """Ask an instance at its host, or at one of the addresses behind that, and connect within so many seconds."""
        instance = check.instance
        if settings.path is None:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, instance.port)
            writer.close()
            return None
        url = f"{instance.scheme}://{f'[{host}]' if ':' in host else host}:{instance.port}{settings.path}"
        fields, extensions = {"Host": instance.authority}, {"sni_hostname": check.tls.server_name or instance.host}
        timeout = httpx.Timeout(_LONGEST, connect=seconds)
        client = self._client(check.tls)
        async with client.stream("GET", url, headers=fields, extensions=extensions, timeout=timeout) as response:
            return None if settings.expects(response.status_code) else f"answered {response.status_code}"

    def _client(self, tls: UpstreamTlsSettings) -> httpx.AsyncClient:
        """A client that shows and believes the same certificates as the workers do, by what their files hold now."""
        renewed = self._contexts.get(tls)
        renewed.refresh()
        context, client = self._clients.get(tls, (None, None))
        if client is None or context is not renewed.value:
            limits = httpx.Limits(max_keepalive_connections=0)  # a check shows that new connections are accepted
            headers = {"User-Agent": "portico-health"}
            client = httpx.AsyncClient(
                verify=renewed.value, timeout=_LONGEST, limits=limits, trust_env=False, headers=headers
            )
            self._clients[tls] = renewed.value, client
        return client


def _described(check: Check, finding: Finding) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "url": check.instance.url,
        "status": "healthy" if finding.error is None else "unhealthy",
        "response_time": round(finding.seconds, 6),
        "in_rotation": check.healthy,
    }
    if finding.error is not None:
        entry["error"] = finding.error
    return entry


def _warning(service: str, upstreams: Mapping[str, Sequence[str]], states: InstanceStates) -> str | None:
    """What is to be said of a service, and of its versions with instances of their own: URLs by upstream key."""
    said = {key: states.warning(key, urls) for key, urls in upstreams.items()}
    return "; ".join(text if key == service else f"{key}: {text}" for key, text in said.items() if text) or None


def _sum_up(entry: dict[str, Any]) -> None:
    """A service is healthy while one instance is; it answers as fast as its fastest healthy one."""
    instances = entry["instances"]
    healthy = [instance for instance in instances if instance["status"] == "healthy"]
    entry["status"] = "healthy" if healthy else "unhealthy"
    entry["response_time"] = min(instance["response_time"] for instance in healthy or instances)
    if not healthy:
        entry["error"] = instances[0]["error"]
