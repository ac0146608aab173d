"""A limit that finds itself: it grows while a service answers as fast as without load, and shrinks otherwise.

The rule is that of Envoy's gradient controller (its documentation of the adaptive concurrency filter), which has it
from Netflix (concurrency-limits, `Gradient2Limit`): the new limit is the old one times `ideal / measured` latency, and
a little more, so that it always probes for room. Where it differs:

- A sample counts only if its exchange began after the last change: earlier ones measure the limit before.
  So a window lasts as long as the service's latency at least, and a slow service is not cut many times for one cause,
  as TCP halves its window once a round trip.
- The ideal is measured anew, with few exchanges under way, only while the limit binds or has fallen to its least.
  Without load no request is refused for it. A moving average in its place, as in `Gradient2Limit`, takes a long
  overload for normal, and the limit creeps up.
"""

from __future__ import annotations

import time
from math import sqrt
from typing import Final

from portico.upstreams.limit import Limit

_WINDOW: Final = 0.1
_SAMPLES: Final = 50
"""Seconds and samples after which the limit is set anew: Envoy's. The median of fewer unequal requests is noise."""
_ROUNDS: Final = 2
"""Samples for each exchange under way before a window ends: short exchanges end first."""
_TOLERANCE: Final = 1.5
"""How far above the ideal a latency is still good: Netflix's. Envoy's 1.25 binds where chance made the ideal low."""
_STEEPEST: Final = 0.5
"""What is left of the limit, at least, after one window."""
_LEARNING: Final = 0.1
"""The weight of a good latency in the ideal, which was measured once and by chance. While the limit binds only better
ones count: else it would creep up."""
_IDEAL_AGE: Final = 30.0
"""Seconds after which the ideal is measured anew while the limit binds."""
_FLOOR_WINDOWS: Final = 5
"""Windows at the least limit after which an ideal that cannot be reached is measured anew."""
_MEASURING_SHARE: Final = 4
"""A measurement gets this part of the limit: less than what makes a queue, and enough to lose little by."""


class AdaptiveLimit(Limit):
    """A limit between `least` and `highest`; it begins with `least`, which the service should bear in any case."""

    __slots__ = (
        "_began", "_bound", "_found", "_ideal", "_ideal_since", "_measuring", "_rising", "_samples",
        "_windows_at_least", "highest", "least",
    )  # fmt: skip

    def __init__(self, least: int, highest: int, queue_size: int = 0, timeout: float = 1.0) -> None:
        super().__init__(least, queue_size, timeout)
        self.least = least
        self.highest = highest
        self._found = float(least)
        """The limit in effect but for the time of a measurement."""
        self._ideal = 0.0
        self._ideal_since = 0.0
        self._measuring = True
        self._rising = True
        """Whether it has yet to find where latencies begin to grow: until then it doubles, as TCP does at its start."""
        self._began = 0.0
        self._bound = False
        """Whether a request got no permit in this window."""
        self._samples: list[float] = []
        self._windows_at_least = 0

    def enter(self) -> bool:
        if super().enter():
            return True
        self._bound = True
        return False

    def leave(self, sent_at: float | None = None, seconds: float = 0.0, answered: bool = True) -> None:
        # A quick failure says nothing; one that took longer than an answer should have indicates a slow service.
        if sent_at is not None and sent_at >= self._began and (answered or seconds > self._ideal > 0.0):
            self._samples.append(seconds)
            count = len(self._samples)
            if count >= _SAMPLES and count >= _ROUNDS * self.running:
                now = time.monotonic()
                if now - self._began >= _WINDOW:
                    self._end_window(now)
        super().leave()

    def rebound(self, least: int, highest: int) -> None:
        """Change the bounds; what was found stays, within them."""
        self.least = least
        self.highest = highest
        self._set(self._found)

    def _end_window(self, now: float) -> None:
        measured = sorted(self._samples)[len(self._samples) // 2]
        self._samples = []
        self._began = now
        bound, self._bound = self._bound, False
        if self._measuring:
            self._measured(measured, now)
        else:
            self._adapt(measured, bound)
            is_old = bound and now - self._ideal_since > _IDEAL_AGE
            if is_old or self._windows_at_least >= _FLOOR_WINDOWS:
                self._measuring = True
                self.most = max(self.least, int(self._found) // _MEASURING_SHARE)

    def _measured(self, ideal: float, now: float) -> None:
        self._measuring = False
        self._ideal = ideal
        self._ideal_since = now
        self._windows_at_least = 0
        self._set(self._found)

    def _adapt(self, measured: float, bound: bool) -> None:
        gradient = max(_STEEPEST, min(1.0, _TOLERANCE * self._ideal / measured))
        if measured < self._ideal or (gradient == 1.0 and not bound):
            self._ideal += _LEARNING * (measured - self._ideal)
        self._rising = self._rising and gradient == 1.0
        wanted = self._found * gradient + (self._found if self._rising else sqrt(self._found))
        if bound or wanted < self._found:  # it does not grow without need
            self._set(wanted)
        self._windows_at_least = self._windows_at_least + 1 if self._found <= self.least else 0

    def _set(self, found: float) -> None:
        self._found = max(self.least, min(self.highest, found))
        self.resize(int(self._found))
