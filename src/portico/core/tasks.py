"""Background tasks: none of them ends, or fails, unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any, Final

ENDED: Final = "endless_task"
"""A key in the context of the loop's exception handler: work has ended that its process cannot do without."""

_AGAIN: Final = 0.2
"""Seconds that a task has to end before it is cancelled again."""

_running: Final[set[asyncio.Task[Any]]] = set()
"""The loop itself keeps no task alive."""


def endless(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run work that must continue until it is cancelled.

    Where it ends in any other way, by an exception, by returning, or by a cancellation that was not requested, the
    loop's exception handler is called with its name under `ENDED`. What to do about that is up to the process.
    """
    return _begin(work, name, is_endless=True)


def background(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run work that ends by itself. A failure goes to the loop's exception handler at once, not on collection."""
    return _begin(work, name, is_endless=False)


async def cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end.

    More than once where that is needed: redis-py takes a cancellation for a timeout of its own now and then.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN)


def _begin(work: Coroutine[Any, Any, Any], name: str, *, is_endless: bool) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(partial(_done, is_endless))
    return task


def _done(is_endless: bool, task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        error: BaseException | None = None
        if task.cancelling() or not is_endless:
            return
    else:
        error = task.exception()
        if error is None and not is_endless:
            return
    context: dict[str, Any] = {"message": f"the task {task.get_name()!r} ended unexpectedly", "task": task}
    if error is not None:
        context["exception"] = error
    if is_endless:
        context[ENDED] = task.get_name()
    task.get_loop().call_exception_handler(context)
