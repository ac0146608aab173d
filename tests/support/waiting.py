"""Waiting for what is awaited, no longer and no shorter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from .client import TIMEOUT

T = TypeVar("T")

_FIRST, _LAST, _GROWTH = 0.005, 0.05, 1.5
"""Seconds between two questions: few at first, more where an answer takes its time and asking takes the processor."""


def until(question: Callable[[], T], what: str = "", timeout: float = TIMEOUT) -> T:
    """Ask until the answer is true, and give it; AssertionError after `timeout` seconds."""
    answer = _asked(question, timeout)
    assert answer, f"this did not come about: {what or question}"
    return answer


def comes_true(question: Callable[[], object], within: float) -> bool:
    """Whether the answer is true before so many seconds are over."""
    return bool(_asked(question, within))


async def others_end() -> None:
    """Until no other task of this event loop is left."""
    async with asyncio.timeout(TIMEOUT):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


def _asked(question: Callable[[], T], seconds: float) -> T:
    """The first answer that is true, or the last one in time."""
    end = time.monotonic() + seconds
    pause = _FIRST
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LAST)
    return answer
