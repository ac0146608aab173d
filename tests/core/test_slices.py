"""Long work in small steps."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from portico.core.slices import Steps, at_once, collecting_later, in_slices, letting_go, without_collections


def counting(most: int) -> Steps[int]:
    total = 0
    for number in range(most):
        total += number
        yield
    return total


def test_the_result_is_the_same_either_way() -> None:
    assert at_once(counting(1000)) == asyncio.run(in_slices(counting(1000))) == 499_500
    assert at_once(counting(0)) == 0


def test_other_callbacks_run_between_slices() -> None:
    turns = []

    async def run() -> None:
        async def other() -> None:
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        def slow() -> Steps[None]:
            for _ in range(5):
                end = time.perf_counter() + 0.002
                while time.perf_counter() < end:
                    pass
                yield

        beside = asyncio.create_task(other())
        await in_slices(slow())
        beside.cancel()

    asyncio.run(run())
    assert len(turns) >= 5


def test_a_failure_is_the_callers() -> None:
    def failing() -> Steps[None]:
        yield
        raise ValueError("no")

    for run in (at_once, lambda steps: asyncio.run(in_slices(steps))):
        with pytest.raises(ValueError, match="no"):
            run(failing())


class Part:
    pass


def test_what_is_let_go_is_freed() -> None:
    parts = [Part() for _ in range(5)]
    seen = [weakref.ref(part) for part in parts]
    steps = letting_go(iter(parts))
    del parts
    at_once(steps)
    assert [each() for each in seen] == [None] * 5


def test_collections_go_on_afterwards() -> None:
    with without_collections():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collections_go_on_as_before() -> None:
    with collecting_later():
        assert not gc.isenabled()
        with collecting_later():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
