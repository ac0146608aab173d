"""An event loop in a thread, beside a test that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

TIMEOUT: Final = 60.0
"""Seconds after which something that must happen is taken not to happen."""
_TURNS: Final = 3
"""Of the loop, after which what is to be closed is closed: transports are on the next one."""


class LoopThread:
    """Runs coroutines, `opening` first; at the end of the block `closing`, and what still runs is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.opening())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, what: Coroutine[Any, Any, T], timeout: float = TIMEOUT) -> T:
        """The result of a coroutine that runs on the loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout)

    async def opening(self) -> None:
        """What has to be there from the beginning."""

    async def closing(self) -> None:
        """What has to be closed first."""

    def _stop(self) -> None:
        try:
            self.run(self._close_all())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(TIMEOUT)
            self._loop.close()

    async def _close_all(self) -> None:
        try:
            await self.closing()
        finally:
            await _end_tasks()


async def _end_tasks() -> None:
    """Cancel all that runs on this loop, and wait for that."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
