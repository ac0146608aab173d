"""A rolling restart, step by step."""

from __future__ import annotations

import signal

import pytest

from portico.processes.supervisor.child import Child
from portico.processes.supervisor.roll import Roll


class Processes:
    """Stands in for the supervisor and the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.next_pid = 4_000_000
        self.begun: list[Child] = []
        self.signals: list[tuple[int, int]] = []
        monkeypatch.setattr("os.kill", lambda pid, number: self.signals.append((pid, number)))
        self.old = [Child(f"worker-{index}", lambda child: None, beats=True) for index in range(count)]
        for child in self.old:
            self.start(child)
            child.serves = True
        self.begun.clear()
        self.roll = Roll(list(self.old), self.start, 1, "SIGUSR1")

    def start(self, child: Child) -> None:
        self.next_pid += 1
        self.begun.append(child)
        child.note_start(self.next_pid)


def test_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, 2)
    roll, old = processes.roll, processes.old
    assert roll.advance()
    assert [child.name for child in processes.begun] == ["worker-0"]
    assert roll.advance()
    assert processes.signals == [], "the old one serves until the new one does"
    processes.begun[0].serves = True
    assert roll.advance()
    assert processes.signals == [(old[0].pid, signal.SIGUSR1)]
    assert roll.advance()
    assert len(processes.begun) == 1, "the next has its turn when this one has ended"
    old[0].note_end()
    assert roll.advance()
    assert [child.name for child in processes.begun] == ["worker-0", "worker-1"]
    processes.begun[1].serves = True
    assert roll.advance()
    old[1].note_end()
    assert not roll.advance()
    assert not any(child.is_wanted for child in old)
    assert all(child.is_wanted for child in processes.begun)


def test_a_new_one_that_ends_before_it_serves_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, 2)
    assert processes.roll.advance()
    processes.begun[0].note_end()
    assert not processes.roll.advance()
    assert processes.signals == []
    assert all(child.is_wanted for child in processes.old)
    assert not processes.begun[0].is_wanted


def test_an_old_one_that_died_meanwhile_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, 1)
    assert processes.roll.advance()
    processes.old[0].note_end()
    processes.begun[0].serves = True
    assert processes.roll.advance()
    assert processes.signals == []
    assert not processes.old[0].is_wanted
    assert not processes.roll.advance()
