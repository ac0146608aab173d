"""A service as the request path sees it: its instances, how long they may take and what is tried again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from portico.upstreams.instance import Instance
from portico.upstreams.round_robin import RoundRobin

_BUDGET_WINDOW: Final = 10.0
_BUDGET_FLOOR: Final = 10
"""Retries per window that are always allowed, so that a quiet service's few requests can be retried at all."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, until the response's head, between pieces of a body, and for everything (None: no bound).

    `tunnel`: of silence after a change of protocol, to which `total` does not apply.
    """

    connect: float = 5.0
    response: float = 30.0
    idle: float = 60.0
    total: float | None = None
    tunnel: float = 600.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed request is tried again, after which failures, and as what share of all requests at most."""

    attempts: int = 2
    legs: frozenset[str] = frozenset({"connect", "reset"})
    statuses: frozenset[int] = frozenset()
    budget: float = 0.2


@dataclass(slots=True)
class RetryBudget:
    """Bounds retries to a share of the requests, so that a failing service is not buried under its own retries."""

    share: float
    _requests: int = 0
    _retries: int = 0
    _since: float = field(default_factory=time.monotonic)

    def note_request(self, now: float) -> None:
        """A request came at `now` (monotonic seconds)."""
        if now - self._since > _BUDGET_WINDOW:
            self._age(now)
        self._requests += 1

    def spend(self) -> bool:
        """Whether one more retry is within the budget; if so it is counted."""
        now = time.monotonic()
        if now - self._since > _BUDGET_WINDOW:
            self._age(now)
        if self._retries >= (_BUDGET_FLOOR if self.share else 0) + self.share * self._requests:
            return False
        self._retries += 1
        return True

    def _age(self, now: float) -> None:
        """What came a window ago counts half, what came before that counts no more."""
        fresh = now - self._since < 2 * _BUDGET_WINDOW
        self._since = now
        self._requests = self._requests // 2 if fresh else 0
        self._retries = self._retries // 2 if fresh else 0


class Service:
    """One service (or one version of it), compiled for the request path."""

    def __init__(self, name: str, instances: Sequence[tuple[Instance, int]], timeouts: Timeouts, retry: Retry) -> None:
        self.name = name
        self.instances = [instance for instance, _ in instances]
        self.timeouts = timeouts
        self.retry = retry
        self.budget = RetryBudget(retry.budget)
        self._weights = [weight for _, weight in instances]
        self.refresh()

    def refresh(self) -> None:
        """Lay out the turns anew after an instance's health changed."""
        pairs = [(i, w) for i, w in zip(self.instances, self._weights, strict=True) if i.healthy]
        self._turns = RoundRobin([i for i, _ in pairs], [w for _, w in pairs])

    def choose(self, excluded: Sequence[Instance] = ()) -> Instance | None:
        """The healthy instance whose turn it is, not one of `excluded`; None where there is none."""
        return self._turns.choose(excluded)
