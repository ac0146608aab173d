"""When a process starts again, and when it has to have ended."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from portico.processes.supervisor.child import Child


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append(number))
    return sent


def running(**more: Any) -> Child:
    child = Child("worker-0", lambda child: None, beats=True, **more)
    child.note_start(4_000_000)
    child.serves = not child.on_trial
    return child


def test_one_that_ends_at_once_again_and_again_waits_longer_each_time_and_never_for_ever() -> None:
    child = running()
    delays = []
    for _ in range(12):
        delays.append(child.note_end())
        child.note_start(4_000_000)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays == sorted(delays)
    assert delays[-1] == 5.0
    child.started -= 60
    assert child.note_end() == 0.0, "one that ran for a while starts at once"


def test_one_that_hangs_is_ended_with_its_traceback_and_then_by_force(signals: list[int]) -> None:
    child = running()
    now = time.monotonic()
    assert not child.end_if_hung(30, now)
    assert child.end_if_hung(30, now + 31)
    assert not child.end_if_hung(30, now + 32), "it is reported once"
    child.end_if_overdue(now + 32)
    assert signals == [signal.SIGABRT]
    child.end_if_overdue(now + 34)
    assert signals == [signal.SIGABRT, signal.SIGKILL]


def test_one_that_comes_up_has_its_time(signals: list[int]) -> None:
    child = running(on_trial=True)
    assert not child.end_if_hung(1, time.monotonic() + 30)
    assert child.end_if_hung(1, time.monotonic() + 61)


def test_one_that_says_nothing_by_nature_does_not_hang(signals: list[int]) -> None:
    child = running()
    child.beats = False
    assert not child.end_if_hung(30, time.monotonic() + 1000)


def test_one_that_leaves_is_not_wanted_again_and_has_its_time(signals: list[int]) -> None:
    child = running()
    child.leave(signal.SIGUSR1, 30)
    assert not child.is_wanted
    assert not child.end_if_hung(1, time.monotonic() + 20), "it may drain"
    child.end_if_overdue(time.monotonic() + 31)
    assert signals == [signal.SIGUSR1]
    child.end_if_overdue(time.monotonic() + 33)
    assert signals == [signal.SIGUSR1, signal.SIGKILL]


def test_one_on_trial_is_wanted_once_it_serves() -> None:
    child = running(on_trial=True)
    assert not child.is_wanted
    child.serves = True
    assert child.is_wanted
