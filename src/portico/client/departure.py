"""Leaving the registry before the server stops: uvicorn closes its port first and notifies the application last."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final

logger: Final = logging.getLogger("portico.client")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Departure:
    """Holds back the signals that make uvicorn stop until `leave` is done; a second signal passes at once.

    Handlers of other servers are left alone: there, leaving begins when they shut down the application.
    """

    should_exit = False
    """This attribute identifies a uvicorn server, and another departure."""

    def __init__(self, leave: Callable[[], Awaitable[None]]) -> None:
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._held: dict[int, Any] = {}
        self._is_leaving = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Intercept the signals, where that is possible."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if hasattr(getattr(handler, "__self__", None), "should_exit"):
                self._held[number] = handler
                signal.signal(number, self.handle)

    def end(self) -> None:
        """Restore the handlers that are still replaced."""
        for number, handler in self._held.items():
            if signal.getsignal(number) == self.handle:
                signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Called between two bytecode steps of any code: do no more than wake the loop."""
        if self._is_leaving:
            self._held[number](number, frame)
        else:
            self._is_leaving = True
            self._loop.call_soon_threadsafe(self._start, number)

    def _start(self, number: int) -> None:
        self._task = self._loop.create_task(self._go(number))

    async def _go(self, number: int) -> None:
        try:
            await self._leave()
        finally:
            self._held[number](number, None)
