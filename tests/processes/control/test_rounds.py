"""Work that is done once for all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from portico.processes.control import rounds as rounds_module
from portico.processes.control.rounds import Rounds

TIMEOUT = 10.0


class Work:
    """Counts its rounds; each ends when it is allowed to, with its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Semaphore(0)
        self.rounds = Rounds(self.do, share=0.5)

    async def do(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.acquire()
        return number

    def ask(self, times: int = 1) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.rounds.result()) for _ in range(times)]

    async def has_begun(self, number: int) -> None:
        while self.begun < number:
            await asyncio.sleep(0)


def run(doing: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(doing, TIMEOUT))


def test_all_callers_before_a_round_begins_share_it() -> None:
    async def play() -> None:
        work = Work()
        callers = work.ask(100)
        work.may_end.release()
        assert await asyncio.gather(*callers) == [1] * 100
        assert work.begun == 1

    run(play())


def test_a_caller_during_a_round_gets_the_next_one() -> None:
    """What had happened when they asked may be missing in the one that has begun."""

    async def play() -> None:
        work = Work()
        first = work.ask()
        await work.has_begun(1)
        later = work.ask(100)
        work.may_end.release()
        assert await first[0] == 1
        await work.has_begun(2)
        assert not any(caller.done() for caller in later)
        work.may_end.release()
        assert await asyncio.gather(*later) == [2] * 100
        assert work.begun == 2

    run(play())


def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    async def play() -> None:
        work = Work()
        leaves, stays = work.ask(2)
        await work.has_begun(1)
        leaves.cancel()
        work.may_end.release()
        assert await stays == 1

    run(play())


def test_a_round_that_fails_fails_those_who_waited_for_it_and_no_others() -> None:
    async def play() -> None:
        outcomes = iter([RuntimeError("broken"), None])

        async def do() -> str:
            await asyncio.sleep(0)
            if (error := next(outcomes)) is not None:
                raise error
            return "done"

        rounds = Rounds(do, share=0.5)
        with pytest.raises(RuntimeError, match="broken"):
            await rounds.result()
        assert await rounds.result() == "done"

    run(play())


def test_there_is_a_pause_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask one after the other: rounds take no more than their share of the time."""
    monkeypatch.setattr(rounds_module, "_SHORTEST_PAUSE", 0.01)
    spans: list[tuple[float, float]] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()

        async def do() -> None:
            began = loop.time()
            await asyncio.sleep(0.02 if len(spans) < 3 else 0)
            spans.append((began, loop.time()))

        rounds = Rounds(do, share=0.5)
        for _ in range(6):
            await rounds.result()

    run(play())
    for (began, ended), (begins, _) in pairwise(spans):
        assert begins - ended >= max(0.01, ended - began) * 0.9
