"""Buckets that processes have in common: they count together, and one that is lost there takes nothing along."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.core.slices import at_once
from portico.policies.counters import shared_buckets
from portico.policies.counters.buckets import TokenBuckets
from portico.policies.counters.shared_buckets import BucketTable, SharedBuckets

BURST = 2000
SLOW = 1e-3
"""Requests per minute: nothing comes back while a test runs."""


@pytest.fixture
def table(tmp_path: Path) -> BucketTable:
    made = BucketTable(64)
    made.open(tmp_path)
    return made


def forked(life: Callable[[], int]) -> int:
    """A process that ends with what `life` returns."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = life()
        finally:
            os._exit(status)
    return pid


def test_in_one_process_they_do_what_buckets_of_its_own_do(table: BucketTable) -> None:
    own, shared = TokenBuckets(600, 5), SharedBuckets(table, "limit", 600, 5)
    chance = random.Random(7)
    now = 1000.0
    for _ in range(3000):
        now += chance.choice((0.0, 0.01, 0.05, 0.3))
        key = chance.choice("abc")
        if chance.random() < 0.05:
            left = chance.choice((0.0, 2.0, -0.4))
            own.set_left(key, left, now)
            shared.set_left(key, left, now)
        assert shared.look(key, now) == pytest.approx(own.look(key, now))
        assert shared.take(key, now) == pytest.approx(own.take(key, now))


def test_processes_admit_together_what_one_would_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_buckets, "_ATTEMPTS", 10**9)  # on a busy machine one that has the lock may be stopped
    table = BucketTable(64)
    now = time.monotonic()
    admitted = [tmp_path / f"admitted.{number}" for number in range(4)]

    def ask_often(report: Path) -> int:
        table.open(tmp_path)
        buckets = SharedBuckets(table, "limit", SLOW, BURST)
        report.write_text(str(sum(buckets.take("key", now) >= 0 for _ in range(BURST))))
        return 0

    pids = [forked(lambda report=report: ask_often(report)) for report in admitted]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    assert sum(int(report.read_text()) for report in admitted) == BURST


def test_limits_and_gateways_have_buckets_of_their_own(table: BucketTable, tmp_path: Path) -> None:
    first, second = (SharedBuckets(table, limit, SLOW, 1) for limit in ("first", "second"))
    assert first.take("key", 1000.0) == 0.0
    assert first.take("key", 1000.0) < 0.0
    assert second.take("key", 1000.0) == 0.0
    other = BucketTable(64)
    assert other.name_of("key") != table.name_of("key"), "nobody can work out whose slot he shares"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_is_lost_while_it_counts_stops_nobody(
    sent: signal.Signals, table: BucketTable, tmp_path: Path
) -> None:
    holds = tmp_path / "holds"

    def hold_everything() -> int:
        table.open(tmp_path)
        for name in range(64):
            table.lock(name)
        holds.write_text("")
        time.sleep(60)
        return 0

    pid = forked(hold_everything)
    try:
        while not holds.exists():
            time.sleep(0.01)
        os.kill(pid, sent)
        if sent is signal.SIGKILL:
            os.waitpid(pid, 0)
        buckets = SharedBuckets(table, "limit", SLOW, 3)
        assert [buckets.take("key", 1000.0) for _ in range(3)] == [2.0, 1.0, 0.0]
        assert buckets.take("key", 1000.0) < 0.0
    finally:
        if sent is not signal.SIGKILL:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_without_a_free_slot_the_bucket_nearest_to_full_is_evicted(tmp_path: Path) -> None:
    table = BucketTable(8)
    table.open(tmp_path)
    buckets = SharedBuckets(table, "limit", 60, 10)
    for key in range(8):
        for _ in range(2 if key == 5 else 4):
            buckets.take(str(key), 1000.0)
    assert buckets.take("another", 1000.0) == 9.0
    assert buckets.take("5", 1000.0) == 9.0, "it lost two tokens' worth of memory, and its slot is another's"
    kept = [buckets.look(str(key), 1000.0) for key in (0, 1, 2, 3, 4, 6, 7)]
    assert kept.count(5.0) == 7, "those who had taken more are remembered"


def test_a_slot_is_reused_when_its_bucket_is_full(tmp_path: Path) -> None:
    table = BucketTable(8)
    table.open(tmp_path)
    buckets = SharedBuckets(table, "limit", 60, 10)
    for now in range(1000, 1100):
        assert buckets.take(f"{now}", float(now)) == 9.0
    assert buckets.take("1099", 1099.0) == 8.0


def test_slots_are_forgotten_and_buckets_are_not(table: BucketTable) -> None:
    buckets = SharedBuckets(table, "limit", SLOW, 3)
    assert [buckets.take("a", 1000.0) for _ in range(2)] == [2, 1]
    buckets.store.age(1000.0)
    buckets.store.age(1000.0)
    assert len(buckets.store.known) == 0
    assert buckets.take("a", 1000.0) == 0


def test_memory_of_full_buckets_is_returned(tmp_path: Path) -> None:
    table = BucketTable()
    table.open(tmp_path)
    quick, slow = SharedBuckets(table, "quick", 60, 3), SharedBuckets(table, "slow", SLOW, 3)
    for number in range(500):
        quick.take(str(number), 1000.0)
    assert [slow.take("a", 1000.0) for _ in range(2)] == [2, 1]
    used = len([moment for moment in table.moments if moment])
    at_once(table.forgetting(1000.5))
    assert len([moment for moment in table.moments if moment]) == used == 501, "none of them is full"
    at_once(table.forgetting(1002.0))
    assert len([moment for moment in table.moments if moment]) < used
    assert slow.take("a", 1002.0) == 0, "which is not full"
    assert quick.take("0", 1002.0) == 2
