"""What becomes of tasks in the background that end, or fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from portico.core import tasks
from portico.core.tasks import ENDED, background, cancelled, endless

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    own: Run = request.param
    return own


async def fail() -> None:
    raise LookupError


async def end() -> None:
    pass


async def cancel_itself() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def reported(begin: Callable[..., asyncio.Task[Any]], work: Coroutine[Any, Any, Any]) -> list[dict[str, Any]]:
    """What the loop's handler is called with until a task is over."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    await asyncio.wait([begin(work, "some work")])
    await asyncio.sleep(0)
    return contexts


@pytest.mark.parametrize(("work", "error"), [(fail, LookupError), (end, None), (cancel_itself, None)])
def test_the_end_of_what_should_have_none_is_reported(
    run: Run, work: Callable[[], Coroutine[Any, Any, None]], error: type[Exception] | None
) -> None:
    (context,) = run(reported(endless, work()))
    assert context[ENDED] == "some work"
    assert "some work" in context["message"]
    assert type(context["exception"]) is error if error else "exception" not in context


@pytest.mark.parametrize(("work", "errors"), [(fail, [LookupError]), (end, []), (cancel_itself, [])])
def test_of_other_work_only_the_failure_is(
    run: Run, work: Callable[[], Coroutine[Any, Any, None]], errors: list[type[Exception]]
) -> None:
    contexts = run(reported(background, work()))
    assert [type(context["exception"]) for context in contexts] == errors
    assert not any(ENDED in context for context in contexts)


@pytest.mark.parametrize("begin", [endless, background])
def test_a_cancelled_task_is_not_reported(run: Run, begin: Callable[..., asyncio.Task[Any]]) -> None:
    async def play() -> list[dict[str, Any]]:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
        task = begin(asyncio.sleep(3600), "some work")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        return contexts

    assert run(play()) == []


def test_a_task_that_nobody_holds_runs_on(run: Run) -> None:
    """The loop has only weak references to tasks that wait for each other."""

    async def play() -> None:
        went_on = asyncio.Event()

        async def work() -> None:
            waited_for = asyncio.get_running_loop().create_future()
            handles.append(lambda: waited_for.set_result(None))
            await waited_for
            went_on.set()

        handles: list[Callable[[], None]] = []
        background(work(), "some work")
        await asyncio.sleep(0)
        gc.collect()
        handles.pop()()
        await asyncio.wait_for(went_on.wait(), 10)

    run(play())


def test_a_task_that_swallows_a_cancellation_is_cancelled_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)

    async def play() -> None:
        async def work() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(3600)

        stubborn = [endless(work(), "some work"), background(asyncio.sleep(3600), "other work")]
        await asyncio.sleep(0)
        await cancelled(stubborn)
        assert [task.cancelled() for task in stubborn] == [True, True]

    run(play())
