"""The verdict of a policy that returned an awaitable: a task waits for it, up to a timeout and while it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies import Pending

logger: Final = logging.getLogger("portico.gateway")

TIMEOUT: Final = 30.0
"""Seconds that one policy has for its verdict: as long as a service has for the head of its response."""


class Awaited(Pending):
    """Settles with what the awaitable comes to; with a refusal where it fails, is cancelled, or takes too long.

    That is `internal_error`: neither the client nor a service did anything wrong. The task is cancelled as soon as
    the verdict is no longer needed; the result of one that goes on all the same is ignored.
    """

    __slots__ = ("exchange", "is_wanted", "task", "timer")

    def __init__(self, exchange: Exchange, verdict: Awaitable[Answer | None], loop: asyncio.AbstractEventLoop) -> None:
        self.exchange = exchange
        self.is_wanted = True
        self.task: asyncio.Future[Any] = asyncio.ensure_future(verdict, loop=loop)
        self.task.add_done_callback(self._done)
        self.timer = loop.call_later(TIMEOUT, self._give_up)

    def cancel(self) -> None:
        self.is_wanted = False
        self.timer.cancel()
        self.task.cancel()

    def _done(self, task: asyncio.Future[Any]) -> None:
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is None:
            if self.is_wanted:
                self.settle(task.result())
        elif self.is_wanted or not task.cancelled():
            self._fail("a policy failed", error)

    def _give_up(self) -> None:
        self._fail(f"a policy came to no verdict within {TIMEOUT:g} s", None)

    def _fail(self, event: str, error: BaseException | None) -> None:
        logger.error(event, exc_info=error, extra={"request_id": self.exchange.request_id})
        if self.is_wanted:
            self.settle(Refusal("internal_error", "the gateway failed on this request"))
