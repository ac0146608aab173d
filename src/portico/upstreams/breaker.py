"""The circuit breaker of one instance: closed while it answers, open after failures, half-open for one trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from random import uniform
from typing import Final

from portico.wire.deadlines import NEVER, Deadlines

CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
STATES: Final = ("closed", "half-open", "open")

_JITTER: Final = 0.1
_AGAIN: Final = 1.0
"""Seconds after which what failed unexpectedly is done again."""
_TRIAL_TIMEOUT: Final = 60.0
"""Seconds after which a trial whose response has not begun makes way for another."""


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
    """Counts the outcomes of an instance's exchanges; `changed` is called when it begins or ceases to let them pass.

    An exchange is reported in this order: `started`; then `failed`, or `answered` by the head of a response and
    `succeeded` by its end, or neither; at last `left`. Where `alert` is false, only failures make a difference.
    """

    # fmt: off
    __slots__ = (
        "_changed", "_closed", "_deadlines", "_failed", "_failures", "_passes", "_seen", "_since", "_trial", "_trips",
        "_until", "alert", "deadline", "doubts_checks", "state", "trip", "wakes",
    )
    # fmt: on

    def __init__(self, trip: Trip, deadlines: Deadlines, changed: Callable[[], None]) -> None:
        self.trip = trip
        self._deadlines = deadlines
        self._changed = changed
        self.deadline = self.wakes = NEVER
        self.state = CLOSED
        self._failures = self._passes = 0
        """In a row: while closed, and while open, as in panic mode exchanges are sent to open ones too."""
        self._trips = 0
        self._closed = float("-inf")
        """Since when it is closed."""
        self._until = 0.0
        """Until when it would have stayed open if no check had passed."""
        self.doubts_checks = False
        """Whether active checks pass while exchanges fail: then only one that passes after a failed one counts."""
        self._trial: object | None = None
        self._seen = self._failed = 0
        self._since = time.monotonic()
        self.alert = trip.error_rate is not None

    @property
    def lets_pass(self) -> bool:
        """Whether an exchange may be sent."""
        return self.state == CLOSED or (self.state == HALF_OPEN and self._trial is None)

    def seconds_left(self, now: float) -> float:
        """How long it stays open if no check passes."""
        return self.deadline - now if self.state == OPEN else 0.0

    def started(self, exchange: object) -> None:
        """An exchange is sent: in the half-open state, the trial."""
        if self.state == HALF_OPEN and self._trial is None:
            self._trial = exchange
            self._deadlines.set(self, time.monotonic() + _TRIAL_TIMEOUT)
            self._changed()

    def answered(self, exchange: object) -> None:
        """The head of a response came that is no failure."""
        if exchange is self._trial:
            self._failures = self.trip.failures - 1  # on probation: the response may still break off
            self._enter(CLOSED, NEVER)

    def succeeded(self) -> None:
        """A response that is no failure came whole."""
        if self.state == OPEN:
            self._passes += 1
            self._trips = 0
            soon = time.monotonic() + self.trip.open_for
            if self._passes >= self.trip.failures:
                self._enter(CLOSED, NEVER)
            elif soon < self.deadline:  # it recovers: earlier outcomes count no more
                self._deadlines.set(self, soon)
        elif self.state == CLOSED:
            self._failures = self._trips = 0
            self.alert = self.trip.error_rate is not None
            if self.alert:
                self._count(failed=False)

    def failed(self, exchange: object) -> None:
        """An exchange was not answered, or with a failure."""
        if self.state == CLOSED:
            self.alert = True
            self._failures += 1
            if self._is_too_much():
                self._open()
        elif self.state == OPEN:
            self._passes = 0
        elif exchange is self._trial:
            self._open()

    def left(self, exchange: object) -> None:
        """The exchange is over; a trial without an outcome makes way for another."""
        if exchange is self._trial:
            self._enter(HALF_OPEN, NEVER)

    def passed_on(self, exchange: object, successor: object) -> None:
        """Another exchange goes on with what one has begun: if that was the trial, it is the trial from now on."""
        if exchange is self._trial:
            self._trial = successor

    def check_passed(self) -> None:
        """An active check passed that had begun after it opened: let one exchange try now.

        Envoy closes it altogether (`successful_active_health_check_uneject_host`), and so again after each check where
        only what is checked is healthy. Here that costs one exchange, and checks count no more.
        """
        if self.state == OPEN:
            self._until, self.doubts_checks = self.deadline, False
            self._enter(HALF_OPEN, NEVER)

    def deadline_passed(self) -> None:
        """The open time is over, or a trial takes too long: let one exchange try."""
        self._enter(HALF_OPEN, NEVER)

    def faulted(self) -> None:
        """The notification that one may try may be incomplete: send it again."""
        self._deadlines.set(self, time.monotonic() + _AGAIN)

    def peek(self) -> Breaker:
        """One in the same state, which nothing changes: for whoever asks what would become of an exchange."""
        peeked = copy(self)
        peeked.alert = False
        return peeked

    def retire(self) -> None:
        """The instance is gone, or has no breaker any more."""
        self._deadlines.forget(self)

    def _is_too_much(self) -> bool:
        trip = self.trip
        if trip.error_rate is not None:
            self._count(failed=True)
            if self._seen >= trip.volume and self._failed >= trip.error_rate * self._seen:
                return True
        return self._failures >= trip.failures

    def _count(self, failed: bool) -> None:
        now = time.monotonic()
        if now - self._since > self.trip.window:
            fresh = now - self._since < 2 * self.trip.window  # what came a window ago counts half
            self._seen = self._seen // 2 if fresh else 0
            self._failed = self._failed // 2 if fresh else 0
            self._since = now
        self._seen += 1
        self._failed += failed

    def _open(self) -> None:
        now = time.monotonic()
        if now < self._until:
            until, self.doubts_checks = self._until, True
        else:
            until = now + self._span()
            if self.state == CLOSED and now - self._closed >= self.trip.open_for:
                self.doubts_checks = False
        self._until = 0.0
        self._failures = self._passes = self._seen = self._failed = 0
        self._enter(OPEN, until)

    def _span(self) -> float:
        """How long it stays open now: longer each time in a row."""
        trip = self.trip
        span = min(trip.open_for * 2**self._trips, max(trip.open_for, trip.open_for_most))
        self._trips = min(self._trips + 1, 30)
        return uniform(span, span * (1 + _JITTER))  # noqa: S311

    def _enter(self, state: int, deadline: float) -> None:
        if state == CLOSED:
            self._closed = time.monotonic()
        self.state = state
        self.alert = True
        self._trial = None
        self._deadlines.set(self, deadline)
        self._changed()
