"""An open loop: large requests at a rate, each at its moment, whatever became of those before.

So a crowd asks that knows nothing of itself; the clients of `flood` each wait for their answer. A request takes a kept
connection on which nothing runs, or else a new one. Beside them somebody asks regularly how the gateway does.

Arguments: the port, seconds, and requests per second. Outcomes are written as by `load`; each request began when it was
due.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

from .load import OUTCOMES, TIMEOUT, Load, ask
from .outcome import HEALTH, LARGE
from .talk import Talk

_HEALTH_RATE: Final = 8.0
_HEALTH_PATHS: Final = ("/livez", "/readyz")


class _Crowd:
    """A client that sends one large request and leaves; the connection serves the next."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._idle: list[Talk] = []

    async def ask(self, due: float, _number: int) -> None:
        talk: Talk | None = None
        with self._load.report.attempt(LARGE, due) as outcome:
            async with asyncio.timeout(TIMEOUT):
                talk = self._kept() or await self._load.connect()
                await ask(self._load, talk, outcome)
        if talk is None:
            return
        if outcome.is_broken_off():
            talk.abort()
        else:
            self._idle.append(talk)

    def close(self) -> None:
        for talk in self._idle:
            talk.close()

    def _kept(self) -> Talk | None:
        while self._idle:
            talk = self._idle.pop()
            if talk.is_usable():
                return talk
            talk.close()
        return None


async def _ask_for_health(load: Load, due: float, number: int) -> None:
    """In turn, each with a connection of its own, as an orchestrator's probe does."""
    with load.report.attempt(HEALTH, due) as outcome:
        async with asyncio.timeout(TIMEOUT):
            talk = await load.connect()
            try:
                await talk.ask(outcome, "GET", _HEALTH_PATHS[number % len(_HEALTH_PATHS)])
            finally:
                talk.close()


async def _at_rate(
    ask: Callable[[float, int], Coroutine[Any, Any, None]], begin: float, rate: float, most: int
) -> None:
    """Ask so many times, and wait for the last answer."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(most):
            due = begin + number / rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(ask(due, number))


async def _main(port: int, seconds: float, rate: float) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = Load([port])
    crowd = _Crowd(load)
    begin = time.monotonic() + 0.2
    await asyncio.gather(
        _at_rate(crowd.ask, begin, rate, int(seconds * rate)),
        _at_rate(
            lambda due, number: _ask_for_health(load, due, number), begin, _HEALTH_RATE, int(seconds * _HEALTH_RATE)
        ),
    )
    crowd.close()
    load.report.write(Path(OUTCOMES))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
