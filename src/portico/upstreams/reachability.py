"""Whether connections to an instance can be opened, as the last one showed; what changes is an event at once."""

from __future__ import annotations

import logging
import time
from typing import Final

logger: Final = logging.getLogger("portico.upstreams")

_RECENT: Final = 15.0
"""Seconds for which a failure says something about the instance: after that, active checks do."""
_APART: Final = 1.0
"""Seconds between two events about an instance that comes and goes."""
_REMINDER: Final = 10.0
"""Seconds until an instance that stays unreachable is an event again."""


class Reachability:
    """Of one instance at one URL, in one worker."""

    __slots__ = ("_failed", "_left_out", "_logged", "_problem", "_service", "_reported", "_url", "is_failing")

    def __init__(self, service: str = "", url: str = "") -> None:
        self._service = service
        self._url = url
        self.is_failing = False
        """Whether the last connection could not be opened."""
        self._problem = ""
        self._failed = self._logged = float("-inf")
        self._reported = ""
        """The problem of the last event, unless there was a connection since then."""
        self._left_out = 0

    def failed(self, problem: str, *, was_open: bool = False) -> None:
        """A connection could not be opened, or its peer refused it as soon as it `was_open`."""
        self._failed = now = time.monotonic()
        self.is_failing = not was_open
        self._problem = problem
        if now - self._logged < (_REMINDER if problem == self._reported else _APART):
            self._left_out += 1
            return
        extra = {"service": self._service, "instance": self._url, "error": problem}
        if self._left_out:
            extra["left_out"] = str(self._left_out)
        logger.warning("instance cannot be reached", extra=extra)
        self._logged, self._left_out, self._reported = now, 0, problem

    def succeeded(self) -> None:
        """A connection was opened, after one that could not be."""
        self.is_failing = False
        if self._reported:
            self._reported = ""
            logger.info("instance can be reached again", extra={"service": self._service, "instance": self._url})

    def problem(self, now: float) -> str:
        """Why connections could not be opened lately; empty where they can be, or where none was tried lately."""
        return self._problem if self.is_failing and now - self._failed < _RECENT else ""
