"""The verdict of a policy that returned an awaitable: a task waits for it, up to a timeout and while it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.policy import Pending

logger: Final = logging.getLogger("portico.gateway")

TIMEOUT: Final = 30.0
"""Seconds that one policy has for its verdict: as long as a service has for the head of its response."""
RUNNING: Final[set[asyncio.Future[Any]]] = set()
"""The tasks of policies: the event loop itself holds on to none that waits."""


class Awaited(Pending):
    """Settles with what the awaitable comes to, or with what `failed` makes of a failure or a timeout (None).

    The task is cancelled as soon as the verdict is no longer needed; the result of one that goes on all the same is
    ignored.
    """

    __slots__ = ("failed", "is_wanted", "loop", "task", "timer")

    def __init__(
        self,
        verdict: Awaitable[Answer | None],
        loop: asyncio.AbstractEventLoop,
        timeout: float,
        failed: Callable[[BaseException | None], Answer | None],
    ) -> None:
        self.failed = failed
        self.is_wanted = True
        self.task: asyncio.Future[Any] = asyncio.ensure_future(verdict, loop=loop)
        RUNNING.add(self.task)
        self.task.add_done_callback(self._done)
        self.loop = loop
        self.timer: asyncio.Handle = loop.call_later(timeout, self._give_up)

    def cancel(self) -> None:
        self.is_wanted = False
        self.timer.cancel()
        self.task.cancel()

    def _done(self, task: asyncio.Future[Any]) -> None:
        RUNNING.discard(task)
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is None:
            verdict = task.result()
            if verdict is not None and not isinstance(verdict, Answer):
                error = TypeError(f"a policy came to {type(verdict).__name__}, which is neither an answer nor None")
            elif self.is_wanted:
                self.settle(verdict)
        if error is not None and (self.is_wanted or not task.cancelled()):
            self._fail(error)

    def _give_up(self) -> None:
        """A turn later: where the loop is late, what the task waited for may have come in time."""
        self.timer = self.loop.call_soon(self._expire)

    def _expire(self) -> None:
        if not self.task.done():
            self._fail(None)

    def _fail(self, error: BaseException | None) -> None:
        answer = self.failed(error)
        if self.is_wanted:
            self.settle(answer)


def refuse_failed(exchange: Exchange, error: BaseException | None) -> Refusal:
    """Report the failure of a built-in policy: neither the client nor a service did anything wrong."""
    event = f"a policy came to no verdict within {TIMEOUT:g} s" if error is None else "a policy failed"
    logger.error(event, exc_info=error, extra={"request_id": exchange.request_id})
    return Refusal("internal_error", "the gateway failed on this request")
