"""What bounds additional requests to a service: a share of those that clients sent lately."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

_WINDOW: Final = 10.0
_FLOOR: Final = 10
"""Additional requests per window that are always allowed, so that a quiet service's few can be sent again at all."""


@dataclass(slots=True)
class Budget:
    """Keeps a failing or slow service from being buried under what is sent again."""

    _requests: int = 0
    _spent: int = 0
    _since: float = field(default_factory=time.monotonic)

    def note_request(self, now: float) -> None:
        """A request came at `now` (monotonic seconds)."""
        if now - self._since > _WINDOW:
            self._age(now)
        self._requests += 1

    def spend(self, share: float) -> bool:
        """Whether one more is within `share` of the requests; if so it is counted."""
        now = time.monotonic()
        if now - self._since > _WINDOW:
            self._age(now)
        if self._spent >= (_FLOOR if share else 0) + share * self._requests:
            return False
        self._spent += 1
        return True

    def _age(self, now: float) -> None:
        """What came a window ago counts half, what came before that counts no more."""
        fresh = now - self._since < 2 * _WINDOW
        self._since = now
        self._requests = self._requests // 2 if fresh else 0
        self._spent = self._spent // 2 if fresh else 0
