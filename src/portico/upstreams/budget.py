"""What bounds additional requests to a service: a share of those that clients sent lately."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 10.0
"""Seconds after which requests count half."""
_FLOOR: Final = 10
"""Additional requests per window that are always allowed, so that a service with few requests has retries at all."""


@dataclass(slots=True)
class Budget:
    """Keeps a failing or slow service from being overloaded by retries.

    `requests` arrived `since` (monotonic seconds), those of the window before counted half.
    """

    requests: int = 0
    _spent: int = 0
    since: float = field(default_factory=time.monotonic)

    def note_request(self, now: float) -> None:
        """A request arrived at `now` (monotonic seconds)."""
        if now - self.since > WINDOW:
            self.age(now)
        self.requests += 1

    def spend(self, share: float) -> bool:
        """Whether one more is within `share` of the requests; if so it is counted."""
        now = time.monotonic()
        if now - self.since > WINDOW:
            self.age(now)
        if self._spent >= (_FLOOR if share else 0) + share * self.requests:
            return False
        self._spent += 1
        return True

    def age(self, now: float) -> None:
        """Requests of the previous window count half, earlier ones no more."""
        fresh = now - self.since < 2 * WINDOW
        self.since = now
        self.requests = self.requests // 2 if fresh else 0
        self._spent = self._spent // 2 if fresh else 0
