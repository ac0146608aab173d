from __future__ import annotations

import pytest

from portico.wire.loads import Load, Loads


class Table:
    """Workers that accept, with a clock that the test turns."""

    def __init__(self, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("portico.wire.loads.monotonic", lambda: self.now)
        self.loads = Loads(2 * workers)
        self.workers = [self.start() for _ in range(workers)]

    def start(self) -> Load:
        load = self.loads.reserve()
        assert load is not None
        load.open()
        return load

    def live(self, *silent: Load) -> None:
        """A second in which all but some give a sign of life."""
        self.now += 1
        for load in self.workers:
            if load not in silent:
                load.report(0.5)

    def come(self, count: int, load: Load) -> int:
        """As many of so many connections as that worker accepts."""
        taken = 0
        for _ in range(count):
            if load.may_accept():
                load.accept()
                taken += 1
        return taken


def test_connections_that_stay_are_shared_evenly_whoever_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(4, monkeypatch)
    for number in range(32):
        load = next(each for each in table.workers if each.may_accept())
        load.accept()
        load.admit(number // 4 + 1)
    assert table.loads.connections.tolist()[:4] == [8, 8, 8, 8]


def test_those_that_come_and_go_are_shared_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(4, monkeypatch)
    counts = dict.fromkeys(table.workers, 0)
    for _ in range(40):
        load = next(each for each in table.workers if each.may_accept())
        load.accept()
        load.admit(1)
        load.hold(0)
        counts[load] += 1
    assert max(counts.values()) <= 1.3 * min(counts.values())


def test_with_many_a_few_more_are_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(2, monkeypatch)
    for load in table.workers:
        load.hold(80)
    assert table.come(100, table.workers[0]) == 11
    assert table.come(100, table.workers[1]) > 0


def test_nobody_waits_for_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that left, one that ended, and one that has given no sign of life."""
    table = Table(4, monkeypatch)
    first, second, third, fourth = table.workers
    assert table.come(5, first) == 1
    second.leave()
    second.hold(0)
    table.loads.free(third)
    table.live(fourth)
    assert table.come(5, first) == 5


def test_a_successor_of_one_that_ended_gets_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(2, monkeypatch)
    first, second = table.workers
    assert [table.come(3, each) for each in (first, second, first)] == [1, 2, 2]
    table.loads.free(second)
    table.start()
    assert table.come(1, first) == 0


def test_connections_that_failed_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(2, monkeypatch)
    first, second = table.workers
    first.accept()
    assert not first.may_accept()
    first.fail()
    table.live()
    assert first.may_accept()
    second.accept()
    assert not second.may_accept()


def test_there_are_rows_for_workers_and_for_their_successors(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(2, monkeypatch)
    table.start()
    table.start()
    assert table.loads.reserve() is None
    table.loads.free(table.workers[0])
    again = table.loads.reserve()
    assert again is not None
    assert again.row == table.workers[0].row


@pytest.mark.parametrize(
    ("counts", "used", "surplus"),
    [
        ((8, 8, 8, 8), (0.5, 0.5, 0.5, 0.5), 0),
        ((9, 8, 8, 7), (0.5, 0.5, 0.5, 0.5), 1),
        ((11, 11, 10, 0), (0.5, 0.5, 0.5, 0.0), 3),
        ((11, 11, 10, 0), (0.01, 0.5, 0.5, 0.0), 0),
        ((1000, 10, 10, 10), (0.2, 0.9, 0.9, 0.9), 0),
        ((2, 1, 1, 1), (0.5, 0.5, 0.5, 0.5), 0),
    ],
)
def test_what_is_too_much(
    counts: tuple[int, ...], used: tuple[float, ...], surplus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections on which little happens are no reason to close others."""
    table = Table(4, monkeypatch)
    for load, count, share in zip(table.workers, counts, used, strict=True):
        load.hold(count)
        load.report(share)
    assert table.workers[0].surplus() == surplus
