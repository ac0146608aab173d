"""The health check of one instance, and the results of its last checks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from portico.config import HealthCheckSettings, InstanceSettings, UpstreamTlsSettings
from portico.net.addresses import Network
from portico.processes.control.prober import Finding

_DOWN_INTERVAL: Final = 1.0
"""Seconds between checks of an instance that is down: it should not stay ejected longer than it has to."""
_OVERDUE: Final = 1.5
"""After how many intervals a check should have had another result."""


@dataclass(slots=True, eq=False)
class Check:
    """The check of one instance. `settings` None: it counts as healthy, and only `/health` checks it."""

    service: str
    key: str
    instance: InstanceSettings
    settings: HealthCheckSettings | None
    tls: UpstreamTlsSettings
    named: Sequence[Network] | None = None
    """For an instance that registered: the networks that are allowed by name."""
    healthy: bool = True
    """Whether it gets requests: it does from the start, until checks have failed often enough."""
    passed: bool = False
    """Whether any check has passed."""
    passes: int = 0
    failures: int = 0
    error: str | None = None
    """What was wrong when it was last checked."""
    ejected_by: dict[str, bool] = field(default_factory=dict)
    """Workers to be notified of the next check that passes; False: of the next after one that fails."""
    last: Finding | None = None
    """The result of the last check that counted, and when that was, in monotonic seconds."""
    last_at: float = 0.0
    task: asyncio.Task[None] | None = None
    """Checks it for as long as it exists."""
    mark: str = ""
    """That of the last finding that was counted, where gateways share them."""
    probe: asyncio.Task[Finding] | None = None
    """The last check of it for `/health`."""

    @property
    def identity(self) -> tuple[str, str]:
        return self.key, self.instance.url

    def is_same(self, settings: HealthCheckSettings | None, tls: UpstreamTlsSettings) -> bool:
        """Whether an instance with these settings can keep this check; what TLS files hold is read again."""
        return self.settings == settings and self.tls == tls

    def take_over(self, other: Check) -> None:
        """Take over the state that the instance has under another check."""
        if self.settings is not None:
            self.healthy, self.passes, self.failures = other.healthy, other.passes, other.failures
            self.passed, self.last, self.last_at = other.passed, other.last, other.last_at
            self.error, self.ejected_by, self.mark = other.error, other.ejected_by, other.mark

    def interval(self, settings: HealthCheckSettings) -> float:
        """Seconds between two checks, as the instance is now."""
        return settings.interval if self.healthy else min(settings.interval, _DOWN_INTERVAL)

    def stop(self) -> None:
        """The instance is gone, or has another check."""
        if self.task is not None:
            self.task.cancel()

    @property
    def shown_healthy(self) -> bool:
        """Whether it is shown as healthy: not while each check so far has failed, few as they may be."""
        return self.healthy and (self.passed or not self.failures)

    def known_at(self, now: float) -> Finding | None:
        """The result of the last check, unless one that is newer should be there at the monotonic time `now`."""
        settings, last = self.settings, self.last
        if settings is None or last is None:
            return None
        return last if now - self.last_at <= _OVERDUE * settings.interval + settings.timeout else None

    def note(self, finding: Finding, now: float) -> bool:
        """Count a result, which came at the monotonic time `now`; whether it changed the instance's health."""
        assert self.settings is not None
        self.last, self.last_at = finding, now
        self.error = error = finding.error
        if error is None:
            self.passes, self.failures, self.passed = self.passes + 1, 0, True
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
