"""Guessing of passwords is slowed down, and nobody else."""

from __future__ import annotations

from portico.policies.counters.guessing import Guessing


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guess(guessing: Guessing, name: str, address: str, times: int) -> None:
    for _ in range(times):
        guessing.failed(name, address)


def test_one_name_from_one_address() -> None:
    clock = Clock()
    guessing = Guessing(clock)
    guess(guessing, "alice", "1.1.1.1", 4)
    assert guessing.wait("alice", "1.1.1.1") == 0
    guess(guessing, "alice", "1.1.1.1", 1)
    assert guessing.wait("alice", "1.1.1.1") == 15
    assert guessing.wait("alice", "2.2.2.2") == guessing.wait("bob", "1.1.1.1") == 0
    clock.now += 15
    assert guessing.wait("alice", "1.1.1.1") == 0
    guess(guessing, "alice", "1.1.1.1", 3)  # that were on their way at the same time
    assert guessing.wait("alice", "1.1.1.1") == 45


def test_many_names_from_one_network() -> None:
    guessing = Guessing(Clock())
    for number in range(30):
        guessing.failed(f"user{number}", f"2001:db8::{number + 1}")
    assert guessing.wait("alice", "2001:db8::ffff") == 5
    assert guessing.wait("alice", "2001:db9::1") == 0


def test_one_name_from_everywhere_does_not_keep_out_whoever_was_there_before() -> None:
    guessing = Guessing(Clock())
    guessing.succeeded("alice", "9.9.9.9")
    for number in range(50):
        guessing.failed("alice", f"10.0.0.{number}")
    assert guessing.wait("alice", "8.8.8.8") == 60
    assert guessing.wait("alice", "9.9.9.9") == 0


def test_success_forgets_failures_of_the_same() -> None:
    guessing = Guessing(Clock())
    guess(guessing, "alice", "1.1.1.1", 4)
    guessing.succeeded("alice", "1.1.1.1")
    guess(guessing, "alice", "1.1.1.1", 4)
    assert guessing.wait("alice", "1.1.1.1") == 0
