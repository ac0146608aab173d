"""What is reported of users' policies that fail or block: an event now and then, and a number always."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from portico.observe.families import Counter

logger: Final = logging.getLogger("portico.policies")

_PAUSE: Final = 60.0
"""Seconds between two events of one kind."""
_MOST: Final = 1000
"""Kinds of events that are remembered."""

Report: TypeAlias = Callable[[str, BaseException | None, float], None]
"""Called with a hook, the exception (None for a timeout) and the seconds that it took."""


class Reminders:
    """Which events are due: one of a kind, and the next one a minute later."""

    def __init__(self) -> None:
        self._reported: dict[tuple[str, ...], tuple[float, int]] = {}
        """By kind: when the last event was, and how many were left out since."""

    def left_out(self, kind: tuple[str, ...]) -> int | None:
        """How many events of this kind were left out before the one that is due; None where none is due."""
        now = time.monotonic()
        at, count = self._reported.get(kind, (-_PAUSE, 0))
        if now - at < _PAUSE:
            self._reported[kind] = at, count + 1
            return None
        if len(self._reported) >= _MOST:
            self._reported = {kind: last for kind, last in self._reported.items() if now - last[0] < _PAUSE}
        self._reported[kind] = now, 0
        return count


class Reports:
    """The reports of one worker."""

    def __init__(self, errors: Counter) -> None:
        self._errors = errors
        self._events = Reminders()

    def of(self, policy: str) -> Report:
        """What a policy of this name is reported with."""
        return partial(self._report, policy)

    def _report(self, policy: str, hook: str, error: BaseException | None, seconds: float) -> None:
        is_blocked = isinstance(error, BlockingIOError) and seconds > 0
        kind = "timeout" if error is None else "blocked" if is_blocked else "exception"
        self._errors.inc(policy=policy, hook=hook, kind=kind)
        left_out = self._events.left_out((policy, hook, type(error).__name__ if kind == "exception" else kind))
        if left_out is None:
            return
        extra: dict[str, object] = {"policy": policy, "hook": hook}
        if left_out:
            extra["left_out"] = left_out
        if kind == "timeout":
            logger.error("a policy's hook came to no end within %g s", seconds, extra=extra)
        elif kind == "blocked":
            extra["milliseconds"] = round(seconds * 1000)
            logger.warning("a policy's hook blocked all requests of this worker", extra=extra)
        else:
            logger.error("a policy's hook failed", exc_info=error, extra=extra)
