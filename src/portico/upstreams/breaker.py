"""The circuit breaker of one instance: closed while it answers, open after failures, half-open for one trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from typing import Final

from portico.wire.deadlines import NEVER, Deadlines

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

_JITTER: Final = 0.1
_TRIAL_PATIENCE: Final = 60.0
"""Seconds after which a trial that told nothing (its client left, its response never began) is given up."""


@dataclass(frozen=True, slots=True)
class Trip:
    """When a breaker opens, and for how long.

    It opens after `failures` in a row, or once `error_rate` of at least `volume` exchanges within `window` seconds
    failed. Each time in a row doubles `open_for` seconds, up to `open_for_most`.
    """

    failures: int = 5
    error_rate: float | None = None
    volume: int = 20
    window: float = 10.0
    open_for: float = 10.0
    open_for_most: float = 300.0


class Breaker:
    """Counts what came of an instance's exchanges; `changed` is called when the instance comes in or goes out."""

    __slots__ = (
        "_changed", "_deadlines", "_failed", "_failures", "_seen", "_since", "_trial", "_trip", "_trips", "deadline",
        "state", "wakes",
    )  # fmt: skip

    def __init__(self, trip: Trip, deadlines: Deadlines, changed: Callable[[], None]) -> None:
        self._trip = trip
        self._deadlines = deadlines
        self._changed = changed
        self.deadline = self.wakes = NEVER
        self.state = CLOSED
        self._failures = self._trips = 0
        self._trial = False
        self._seen = self._failed = 0
        self._since = time.monotonic()

    @property
    def lets_pass(self) -> bool:
        """Whether an exchange may be sent."""
        return self.state == CLOSED or (self.state == HALF_OPEN and not self._trial)

    def started(self) -> None:
        """An exchange is sent: in the half-open state, the trial."""
        if self.state == HALF_OPEN and not self._trial:
            self._trial = True
            self._deadlines.set(self, time.monotonic() + _TRIAL_PATIENCE)
            self._changed()

    def succeeded(self) -> None:
        """An exchange was answered as it should be."""
        self._failures = 0
        if self.state == HALF_OPEN:
            self._trips = 0
            self._enter(CLOSED, NEVER)
        elif self._trip.error_rate is not None:
            self._count(failed=False)

    def failed(self) -> None:
        """An exchange was not answered, or with a failure."""
        self._failures += 1
        if self.state == HALF_OPEN or (self.state == CLOSED and self._is_too_much()):
            self._open()

    def deadline_passed(self) -> None:
        """The open time is over, or the trial told nothing: let one exchange try."""
        self._enter(HALF_OPEN, NEVER)

    def retire(self) -> None:
        """The instance is gone."""
        self._deadlines.forget(self)

    def _is_too_much(self) -> bool:
        if self._trip.error_rate is not None:
            self._count(failed=True)
            if self._seen >= self._trip.volume and self._failed >= self._trip.error_rate * self._seen:
                return True
        return self._failures >= self._trip.failures

    def _count(self, failed: bool) -> None:
        now = time.monotonic()
        if now - self._since > self._trip.window:
            fresh = now - self._since < 2 * self._trip.window  # what came a window ago counts half
            self._seen = self._seen // 2 if fresh else 0
            self._failed = self._failed // 2 if fresh else 0
            self._since = now
        self._seen += 1
        self._failed += failed

    def _open(self) -> None:
        span = min(self._trip.open_for * 2**self._trips, self._trip.open_for_most)
        self._trips = min(self._trips + 1, 30)
        self._failures = self._seen = self._failed = 0
        self._enter(OPEN, time.monotonic() + uniform(span, span * (1 + _JITTER)))  # noqa: S311

    def _enter(self, state: str, deadline: float) -> None:
        self.state = state
        self._trial = False
        self._deadlines.set(self, deadline)
        self._changed()
