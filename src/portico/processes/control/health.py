"""Active health checks: which instances may get traffic, and what `/health` reports."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

from portico.config import Config, HealthCheckSettings, ServiceSettings
from portico.core.found import Found
from portico.core.slices import Steps, at_once
from portico.core.tasks import background, endless
from portico.net.addresses import Network
from portico.processes.control.check import Check
from portico.processes.control.health_report import health_report
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.prober import Finding, Prober
from portico.processes.control.shared_findings import SharedFindings
from portico.snapshot.live import upstream_key

logger: Final = logging.getLogger("portico.health")

_FIRST_CHECK: Final = 0.2
_FIRST_CHECKS: Final = 1000
"""Seconds within which a new instance is checked first; where many come at once, how many of them in a second more."""
_REPORT_AGE: Final = 1.0
"""Seconds from its start for which one round of checks serves all callers: no result is older than that.

So `/health`, which is open to all clients, checks each instance once a second at most.
"""

_ASKED: Final = 50
"""How many instances one report has asked at most."""
_TURN: Final = 0.05
"""Seconds between the moments at which checks begin: those that begin together cost half of what they do one by one."""
_LATE_EVENTS: Final = 60.0
"""Seconds between two events that say that this process was late."""

Identity: TypeAlias = tuple[str, str]
"""An upstream key and a URL."""


@dataclass
class HealthChecks:
    """Runs the checks of one configuration after another; `changed` receives instances whose health changed.

    `seen_by_workers` gives the state that workers know, for `/health`. `passed` is called with a worker that has
    ejected an instance, and the instance's upstream key and URL, once its check has passed. `came` is called with the
    name of a service of which an instance has come, or come back.
    """

    changed: Callable[[list[tuple[str, str, bool]]], None]
    seen_by_workers: Callable[[], Awaitable[InstanceStates]]
    passed: Callable[[str, str, str], None]
    came: Callable[[str], None] = lambda _: None
    checks: dict[Identity, Check] = field(default_factory=dict)
    directory_problems: Callable[[], Mapping[str, str]] = dict
    """Gives what is wrong with where the instances of services are found."""
    _services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    _allowed: Callable[[str], Sequence[Network]] = lambda _: ()
    _found: dict[str, dict[str, Sequence[Found]]] = field(default_factory=dict)
    """The registered instances by service and URL."""
    _discovered: set[str] = field(default_factory=set)
    """The services of which instances have come or gone since the last configuration."""
    _of_service: dict[str, dict[Identity, Check]] = field(default_factory=dict)
    _prober: Prober = field(default_factory=Prober)
    _shared: SharedFindings | None = None
    _report: asyncio.Task[dict[str, Any]] | None = None
    _report_began: float = 0.0
    _late_noted: float = -_LATE_EVENTS

    def watch(self, config: Config) -> None:
        """Check the instances of `config`, and those that registered, from now on.

        Checks of those that do not change go on undisturbed, with the same counts and at the same times.
        """
        at_once(self.watching(config))

    def watching(self, config: Config) -> Steps[None]:
        """The same in steps; registered instances may come and go meanwhile."""
        services, allowed = config.services, config.networks_allowed
        self._discovered.clear()
        of_service: dict[str, dict[Identity, Check]] = {}
        for name, service in services.items():
            of_service[name] = yield from self._wanted(name, service, self._registered(name), allowed(name))
        for name in self._discovered & services.keys():
            of_service[name] = at_once(self._wanted(name, services[name], self._registered(name), allowed(name)))
        known, checks = self.checks, dict[Identity, Check]()
        for own in of_service.values():
            checks |= own
        self._services, self._allowed = services, allowed
        self._of_service, self.checks, self._report = of_service, checks, None
        for identity, check in known.items():
            if checks.get(identity) is not check:
                check.stop()
            yield
        yield from self._starting([*checks.values()])
        self._prober.keep({*{id(check.tls): check.tls for check in self.checks.values()}.values()})
        yield
        self._share(config)

    def _share(self, config: Config) -> None:
        """Share over the Redis of `config`, where checks say so."""
        secret = config.gateway.redis_url
        is_needed = any(check.settings is not None and check.settings.shared for check in self.checks.values())
        url = secret.get_secret_value() if secret is not None and is_needed else None
        shared = self._shared
        if url != (shared and shared.url):
            self._shared = SharedFindings(url) if url is not None else None
            if shared is not None:
                background(shared.close(), "the end of sharing checks")

    def discover(self, name: str, changed: Mapping[str, Sequence[Found]]) -> list[Identity]:
        """What is registered of a service at these URLs now: check that. Returns those that are checked no more."""
        self._discovered.add(name)
        registered = self._found.setdefault(name, {})
        registered.update(changed)
        for url in [url for url, at in changed.items() if not at]:
            del registered[url]
        service = self._services.get(name)
        if service is None:  # one that is not admitted yet, or was removed
            return []
        found = [*chain.from_iterable(changed.values())]
        wanted = at_once(self._wanted(name, service, found, self._allowed(name)))
        fresh = {identity: check for identity, check in wanted.items() if identity[1] in changed}
        own = self._of_service.setdefault(name, {})
        before, keys = len(own), (name, *(f"{name}@{version}" for version in service.versions))
        gone = [each for key in keys for url in changed if (each := (key, url)) in own and each not in fresh]
        for identity in gone:
            del self.checks[identity]
            own.pop(identity).stop()
        for identity, check in fresh.items():
            if (known := own.get(identity)) is not None and known is not check:
                known.stop()
        own |= fresh
        self.checks |= fresh
        at_once(self._starting([*fresh.values()]))
        if len(own) > before:
            self.came(name)
        return gone

    def _registered(self, name: str) -> list[Found]:
        """All that is registered of a service."""
        return [*chain.from_iterable(self._found.get(name, {}).values())]

    def of(self, name: str) -> Collection[Check]:
        """The checks of a service."""
        return self._of_service.get(name, {}).values()

    def in_order(self) -> Iterator[Check]:
        """All checks, in the order of the configuration."""
        for name in self._services:
            yield from self.of(name)

    def ejected(self, worker: str, key: str, url: str, after_failure: bool) -> None:
        """A worker has ejected an instance, and waits for a check that begins from now on and passes.

        With `after_failure` a check has to fail before that.
        """
        if (check := self.checks.get((key, url))) is not None:
            check.ejected_by[worker] = not after_failure

    def is_down(self, name: str, url: str) -> bool:
        """Whether an instance fails its checks."""
        return any(not check.healthy for check in self.of(name) if check.instance.url == url)

    def _wanted(
        self, name: str, service: ServiceSettings, found: Sequence[Found], allowed: Sequence[Network]
    ) -> Steps[dict[Identity, Check]]:
        """A check for every instance of a service, written or `found`: the existing one, where it fits."""
        checks: dict[Identity, Check] = {}
        for version in (None, *service.versions):
            upstream = service.upstream(version, found)
            key = upstream_key(name, version, upstream)
            for instance in upstream.instances:
                identity = key, instance.url
                if identity in checks:
                    continue
                check = self.checks.get(identity)
                if check is None or not check.is_same(upstream.health, upstream.tls):
                    known, check = check, Check(name, key, instance, upstream.health, upstream.tls)
                    if known is not None:
                        check.take_over(known)
                check.service, check.instance = name, instance
                check.named = allowed if instance.url in upstream.registered else None
                checks[identity] = check
                yield
        return checks

    def _starting(self, checks: Sequence[Check]) -> Steps[None]:
        """Start those of these that are new, spread over time."""
        new = [check for check in checks if check.task is None and check.settings is not None]
        spread = _FIRST_CHECK + len(new) / _FIRST_CHECKS
        for check in new:
            if check.task is None and self.checks.get(check.identity) is check:
                check.task = endless(self._keep_checking(check, spread), f"checks of {check.instance.url}")
            yield

    def states(self) -> dict[Identity, bool]:
        """The health of every instance, by upstream key and URL."""
        return {identity: check.healthy for identity, check in self.checks.items()}

    async def report(self) -> dict[str, Any]:
        """The state of every service; callers within `_REPORT_AGE` share one round.

        Where there are `_ASKED` instances or fewer, all are checked now. Of more than that what the checks know is
        reported, with its age, and only those are asked of which nothing is known.
        """
        now = time.monotonic()
        if self._report is None or now - self._report_began >= _REPORT_AGE:
            self._report_began = now
            self._report = asyncio.get_running_loop().create_task(self._probe_all())
        return await asyncio.shield(self._report)

    async def close(self) -> None:
        """Stop checking."""
        for check in self.checks.values():
            check.stop()
        self._prober.close()
        if self._shared is not None:
            await self._shared.close()

    async def _keep_checking(self, check: Check, spread: float) -> None:
        assert check.settings is not None
        first = min(spread, check.settings.interval)
        await asyncio.sleep(random.uniform(0, first))  # noqa: S311 - spreads the checks, hides nothing
        while True:
            pause = None
            try:
                pause = await self._check(check, check.settings)
            except Exception:  # the state of the instance stays: the check had no result
                logger.exception("an instance could not be checked", extra={"instance": check.instance.url})
            if pause is None:
                pause = check.interval(check.settings)
            await asyncio.sleep(_until_turn(pause * random.uniform(0.9, 1.1)))  # noqa: S311

    async def _check(self, check: Check, settings: HealthCheckSettings) -> float | None:
        """Check an instance once, and apply the result, which another gateway may have.

        Seconds until it is due again are returned where that is not after an interval.
        """
        waiting = [worker for worker, may_pass in check.ejected_by.items() if may_pass]
        shared = self._shared if settings.shared else None
        if shared is not None and not waiting:  # a worker waits for a check that begins now
            known = await shared.known(check, settings)
            if known is not None:
                if known.finding is not None:
                    self._apply(check, known.finding, ())
                return known.due_in(check.interval(settings))
        finding = await self._probe(check)
        if shared is not None:
            shared.tell(check, settings, finding)
        if finding.is_certain:
            self._apply(check, finding, waiting)
        else:
            self._note_late(check)
        return None

    def _apply(self, check: Check, finding: Finding, waiting: Sequence[str]) -> None:
        """Count what was found, and report what follows, to workers that were `waiting` when that began too."""
        if self.checks.get(check.identity) is not check:  # it is about to be stopped
            return
        if check.note(finding, time.monotonic()):
            state = "up" if check.healthy else "down"
            extra = {"service": check.service, "instance": check.instance.url, "error": finding.error}
            logger.log(logging.INFO if check.healthy else logging.WARNING, "instance %s", state, extra=extra)
            self.changed([(*check.identity, check.healthy)])
            if check.healthy:
                self.came(check.service)
        self._report_to(waiting, check)

    def _note_late(self, check: Check) -> None:
        """An instance did not answer in time, but this process was late, too: that says nothing of the instance."""
        now = time.monotonic()
        if now - self._late_noted >= _LATE_EVENTS:
            self._late_noted = now
            extra = {"instance": check.instance.url}
            logger.warning("health checks ended late: those without an answer do not count", extra=extra)

    def _report_to(self, waiting: Sequence[str], check: Check) -> None:
        """Notify the workers that were `waiting` when a check began that it passed, if it did."""
        if check.error is not None:
            check.ejected_by.update(dict.fromkeys(check.ejected_by, True))
            return
        for worker in waiting:
            if check.ejected_by.get(worker):
                del check.ejected_by[worker]
                self.passed(worker, *check.identity)

    async def _probe_all(self) -> dict[str, Any]:
        checks, now = list(self.in_order()), time.monotonic()
        are_few = len(checks) <= _ASKED
        known = {check: finding for check in checks if not are_few and (finding := check.known_at(now)) is not None}
        asked = [check for check in checks if check not in known][:_ASKED]
        probes = asyncio.gather(*(self._shared_probe(check) for check in asked))
        states, findings = await asyncio.gather(self.seen_by_workers(), probes)
        found: dict[Check, Finding | None] = {**dict.fromkeys(checks), **known}
        found.update(zip(asked, findings, strict=True))
        ages = {check: now - check.last_at for check in known}
        return health_report(self._services, found, ages, states, self.directory_problems())

    def _shared_probe(self, check: Check) -> Awaitable[Finding]:
        """One check at a time, however many reports are pending because an instance does not answer."""
        if check.probe is None or check.probe.done():
            check.probe = asyncio.get_running_loop().create_task(self._probe(check))
        return check.probe

    async def _probe(self, check: Check) -> Finding:
        return await self._prober.probe(check.instance, check.settings or HealthCheckSettings(), check.tls, check.named)


def _until_turn(pause: float) -> float:
    """About `pause` seconds, so that a turn begins then; what is shorter than some turns stays."""
    if pause < 10 * _TURN:
        return pause
    now = time.monotonic()
    return math.ceil((now + pause) / _TURN) * _TURN - now
