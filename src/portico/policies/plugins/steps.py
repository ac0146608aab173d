"""An async hook between two of its waits: what it may not do to the event loop there."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic
from typing import Any

from portico.core.faults import described


class ProcessExitError(Exception):
    """A hook raised SystemExit or KeyboardInterrupt, which would end the event loop."""


class TimedSteps(Coroutine[Any, Any, Any]):
    """A coroutine of what is awaited, contained: `blocked` is called with when a step began that took over `limit` s.

    What would end the event loop is raised as ProcessExitError.
    """

    __slots__ = ("_blocked", "_coroutine", "_limit")

    def __init__(self, awaited: Awaitable[Any], limit: float, blocked: Callable[[float], None]) -> None:
        self._coroutine = awaited if inspect.iscoroutine(awaited) else _coroutine_of(awaited)
        self._limit = limit
        self._blocked = blocked

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def __iter__(self) -> TimedSteps:
        return self

    def __next__(self) -> Any:
        return self._timed(self._coroutine.send, None)

    def send(self, value: Any) -> Any:
        """The next step."""
        return self._timed(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """The next step, which begins with an exception: a cancellation."""
        return self._timed(self._coroutine.throw, *error)

    def close(self) -> None:
        """No step follows."""
        self._coroutine.close()

    def _timed(self, step: Callable[..., Any], *arguments: Any) -> Any:
        began = monotonic()
        try:
            return step(*arguments)
        except (SystemExit, KeyboardInterrupt) as error:
            raise ProcessExitError(described(error)) from error
        finally:
            if monotonic() - began > self._limit:
                self._blocked(began)


async def _coroutine_of(awaited: Awaitable[Any]) -> Any:
    return await awaited
