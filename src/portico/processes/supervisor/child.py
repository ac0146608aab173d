"""One process of the supervisor: whether it runs, when it starts again, its deadline to end."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from portico.wire.loads import Load

KILL_GRACE: Final = 2.0
"""Seconds that a process has to end beyond its timeout; then it is killed."""

_BACKOFF: Final = 0.1
_BACKOFF_LIMIT: Final = 5.0
_START_TIMEOUT: Final = 60.0
"""Seconds that a process has at least to start, in which it may be too busy to report."""
_STEADY: Final = 10.0
"""Seconds after which a process counts as having started well, so that its next restart is immediate again."""


@dataclass
class Child:
    """A process that has to run; `main` is all that it runs.

    `beats` says that it reports that its event loop runs; `on_trial` that it is not started again if it ends before it
    serves; `failing_because` is why it asked to be replaced, `away_since` when it ended that is to serve again
    (monotonic seconds); `load` is a worker's row among those of all; `last_words` finds what it logged before it ended,
    if it cannot log where the gateway's own processes do.
    """

    name: str
    main: Callable[[Child], None]
    beats: bool = False
    on_trial: bool = False
    last_words: Callable[[], str] | None = None

    pid: int = 0
    started: float = 0.0
    last_report: float = 0.0
    serves: bool = False
    failing_because: str = ""
    away_since: float | None = None
    is_leaving: bool = False
    is_replacement: bool = False
    deadline: float = math.inf
    load: Load | None = None
    restarts: int = 0
    start_at: float = 0.0

    @property
    def is_worker(self) -> bool:
        return self.name.startswith("worker-")

    @property
    def is_wanted(self) -> bool:
        """Whether it has to be started again once it has ended."""
        return not self.is_leaving and (self.serves or not self.on_trial)

    def note_start(self, pid: int) -> None:
        self.pid = pid
        self.started = self.last_report = time.monotonic()
        self.serves = False
        self.deadline = math.inf

    def note_end(self) -> float:
        """Plan the next start; seconds until then, a backoff that grows while it ends at once each time."""
        now = time.monotonic()
        if self.away_since is None:
            self.away_since = now
        self.pid = 0
        self.is_replacement = True
        self.restarts = 0 if now - self.started > _STEADY else self.restarts + 1
        return self.postpone()

    def postpone(self) -> float:
        delay = 0.0 if self.restarts == 0 else min(_BACKOFF * 2 ** (self.restarts - 1), _BACKOFF_LIMIT)
        self.start_at = time.monotonic() + delay
        return delay

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def leave(self, number: int, timeout: float) -> None:
        """Ask it to end for good, within `timeout` seconds and a grace."""
        self.is_leaving = True
        self.deadline = time.monotonic() + timeout + KILL_GRACE
        self.signal(number)

    def end_if_hung(self, timeout: float, now: float) -> bool:
        """Whether it was silent for `timeout` seconds and was just sent a signal to end, with a traceback."""
        timeout = timeout if self.serves else max(timeout, _START_TIMEOUT)
        if not (self.pid and self.beats and math.isinf(self.deadline)) or now - self.last_report <= timeout:
            return False
        self.deadline = now + KILL_GRACE
        self.signal(signal.SIGABRT)
        return True

    def end_if_overdue(self, now: float) -> None:
        if now > self.deadline:
            self.signal(signal.SIGKILL)
