"""Places at a service, and the queue for them."""

from __future__ import annotations

import pytest

from portico.upstreams.limit import Limit


class Guest:
    """Waits for a permit, and may leave as soon as it has one."""

    def __init__(self, limit: Limit, stays: bool = True) -> None:
        self.limit = limit
        self.stays = stays
        self.is_in = False

    def admitted(self) -> None:
        self.is_in = True
        if not self.stays:
            self.limit.leave()

    def faulted(self) -> None:
        self.limit.leave()


def full(most: int, queue_size: int = 0) -> Limit:
    limit = Limit(most, queue_size)
    assert all(limit.enter() for _ in range(most))
    return limit


def test_the_number_of_permits_is_bounded() -> None:
    limit = full(3)
    assert not limit.enter()
    limit.leave()
    assert limit.enter()
    assert not limit.enter()


def test_a_full_queue_refuses() -> None:
    limit = full(1)
    assert not limit.wait(Guest(limit))


def test_waiting_callers_are_admitted_in_order() -> None:
    limit = full(1, queue_size=2)
    first, second, third = (Guest(limit) for _ in range(3))
    assert [limit.wait(each) for each in (first, second, third)] == [True, True, False]
    limit.leave()
    assert (first.is_in, second.is_in) == (True, False)
    assert not limit.enter(), "nobody passes by those who wait"
    limit.leave()
    assert second.is_in
    limit.leave()
    assert limit.running == 0
    assert limit.enter()


def test_a_caller_that_gave_up_is_skipped() -> None:
    limit = full(1, queue_size=2)
    first, second = Guest(limit), Guest(limit)
    limit.wait(first)
    limit.wait(second)
    limit.forget(first)
    limit.forget(first)
    limit.leave()
    assert (first.is_in, second.is_in, limit.running) == (False, True, 1)


def test_a_long_queue_of_callers_that_leave_at_once() -> None:
    limit = full(1, queue_size=20_000)
    guests = [Guest(limit, stays=False) for _ in range(20_000)]
    assert all(map(limit.wait, guests))
    limit.leave()
    assert all(guest.is_in for guest in guests)
    assert (limit.running, limit.waiting) == (0, {})


def test_resizing_admits_as_many_as_it_allows() -> None:
    limit = full(1, queue_size=3)
    guests = [Guest(limit) for _ in range(3)]
    assert all(map(limit.wait, guests))
    limit.resize(3)
    assert [guest.is_in for guest in guests] == [True, True, False]
    limit.resize(1)
    limit.leave()
    limit.leave()
    assert not guests[2].is_in
    limit.leave()
    assert guests[2].is_in


def test_a_fault_of_one_waiting_caller_does_not_affect_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Guest):
        def admitted(self) -> None:
            raise RuntimeError

    limit = full(1, queue_size=3)
    first, second = Faulty(limit), Guest(limit)
    limit.wait(first)
    limit.wait(second)
    limit.leave()
    assert second.is_in
    assert (limit.running, len(limit.waiting)) == (1, 0)
    (record,) = caplog.records
    assert record.exc_info
