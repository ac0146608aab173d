"""A rolling restart: every worker has a successor that serves before it is stopped."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Final

from portico.processes.supervisor.child import Child

logger: Final = logging.getLogger("portico.supervisor")


class Roll:
    """One after the other; `begin` starts a process, `timeout` is how long running requests may take.

    `why` is for the event about it.
    """

    def __init__(self, workers: list[Child], begin: Callable[[Child], None], timeout: float, why: str) -> None:
        self._waiting = workers
        self._begin = begin
        self._timeout = timeout
        self._old: Child | None = None
        self._new: Child | None = None
        names = ", ".join(child.name for child in workers)
        logger.info("rolling restart: workers are replaced", extra={"workers": names, "reason": why})

    def advance(self) -> bool:
        """Do what can be done now; False once it is over."""
        old, new = self._old, self._new
        if new is None or old is None:
            return self._take_next()
        if old.is_leaving:
            return bool(old.pid) or self._take_next()
        if new.serves:
            old.leave(signal.SIGUSR1, self._timeout)
            return True
        if new.pid:
            return True
        logger.error("a new worker did not come up: the rolling restart ends, the old ones stay")
        return False

    def _take_next(self) -> bool:
        if not self._waiting:
            logger.info("rolling restart: all workers are new")
            return False
        self._old = self._waiting.pop(0)
        self._new = Child(self._old.name, self._old.main, beats=True, on_trial=True, is_replacement=True)
        self._begin(self._new)
        return True
