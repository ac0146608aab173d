"""The breaker of an instance: when it opens, for how long, and what brings it back."""

from __future__ import annotations

from typing import cast

import pytest

from portico.upstreams import breaker as breaker_module
from portico.upstreams.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Trip
from portico.wire.deadlines import NEVER, Deadlines

from .members import Clock, FakeDeadlines


class Watched(Breaker):
    """A breaker with the world around it."""

    __slots__ = ("changes", "clock", "timers")

    def __init__(self, clock: Clock, trip: Trip) -> None:
        self.clock = clock
        self.changes = 0
        self.timers = FakeDeadlines()
        super().__init__(trip, cast(Deadlines, self.timers), self._note)

    def _note(self) -> None:
        self.changes += 1

    def wait(self) -> float:
        """Let its deadline pass; how long that took."""
        seconds = self.deadline - self.clock.now
        self.clock.now = self.deadline
        self.deadline = NEVER
        self.deadline_passed()
        return seconds

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.failed("some")

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.answered("some")
            self.succeeded()

    def try_out(self, exchange: object = "trial") -> None:
        assert self.lets_pass
        self.started(exchange)
        assert not self.lets_pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker_module, "time", clock)
    return clock


@pytest.fixture
def breaker(clock: Clock) -> Watched:
    return Watched(clock, Trip(failures=3, open_for=10, open_for_most=35))


def test_failures_in_a_row_open_it(breaker: Watched) -> None:
    assert not breaker.alert
    breaker.fail(2)
    assert (breaker.state, breaker.lets_pass, breaker.alert) == (CLOSED, True, True)
    breaker.fail()
    assert (breaker.state, breaker.lets_pass, breaker.changes) == (OPEN, False, 1)
    assert 10 <= breaker.seconds_left(breaker.clock.now) <= 11


def test_a_success_between_them_starts_the_count_anew(breaker: Watched) -> None:
    for _ in range(5):
        breaker.fail(2)
        breaker.succeed()
        assert not breaker.alert
    assert breaker.state == CLOSED


def test_a_head_alone_is_no_success(breaker: Watched) -> None:
    """What breaks off in the middle of every response is no better than what refuses."""
    for _ in range(3):
        breaker.answered("some")
        breaker.fail()
    assert breaker.state == OPEN


def test_one_trial_and_no_more(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.wait()
    assert (breaker.state, breaker.lets_pass) == (HALF_OPEN, True)
    breaker.try_out("first")
    breaker.started("second")
    breaker.failed("second")
    breaker.answered("second")
    breaker.succeeded()
    breaker.left("second")
    assert (breaker.state, breaker.lets_pass) == (HALF_OPEN, False), "others say nothing about the trial"
    breaker.answered("first")
    assert (breaker.state, breaker.lets_pass) == (CLOSED, True)


def test_it_stays_open_longer_each_time_up_to_a_bound(breaker: Watched) -> None:
    breaker.fail(3)
    for least in (10, 20, 35, 35, 35):
        assert least <= breaker.wait() <= least * 1.1
        breaker.try_out()
        breaker.failed("trial")
        assert breaker.state == OPEN


def test_a_whole_response_makes_it_forget(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.wait()
    breaker.try_out()
    breaker.answered("trial")
    breaker.succeeded()
    breaker.left("trial")
    breaker.fail(2)
    assert breaker.state == CLOSED
    breaker.fail()
    assert breaker.state == OPEN
    assert breaker.wait() <= 11


def test_a_trial_that_breaks_off_after_its_head_opens_it_again(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.wait()
    breaker.try_out()
    breaker.answered("trial")
    assert breaker.state == CLOSED
    breaker.failed("trial")
    assert breaker.state == OPEN
    assert 20 <= breaker.wait() <= 22


def test_a_trial_without_a_result_allows_another(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.wait()
    breaker.try_out()
    breaker.left("trial")
    assert (breaker.state, breaker.lets_pass) == (HALF_OPEN, True)
    breaker.try_out("another")
    assert breaker.wait() == 60
    assert breaker.lets_pass, "nor is one waited for that takes for ever"


def test_while_everybody_is_needed_successes_close_it(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.succeed(2)
    breaker.fail()
    breaker.succeed(2)
    assert breaker.state == OPEN
    breaker.succeed()
    assert (breaker.state, breaker.deadline) == (CLOSED, NEVER)


def test_a_success_while_it_is_open_shortens_the_wait(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.wait()
    breaker.try_out()
    breaker.failed("trial")
    assert breaker.seconds_left(breaker.clock.now) >= 20
    breaker.succeed()
    assert breaker.wait() == 10


@pytest.mark.parametrize(
    ("failures", "successes", "state"), [(10, 10, OPEN), (9, 11, CLOSED), (4, 5, CLOSED), (30, 10, OPEN)]
)
def test_a_rate_of_failures_opens_it_too(clock: Clock, failures: int, successes: int, state: int) -> None:
    breaker = Watched(clock, Trip(failures=1000, error_rate=0.5, volume=20, window=10))
    breaker.succeed(successes)
    breaker.fail(failures)
    assert breaker.state == state


def test_a_rate_counts_no_results_older_than_its_window(clock: Clock) -> None:
    breaker = Watched(clock, Trip(failures=1000, error_rate=0.5, volume=20, window=10))
    breaker.fail(19)
    clock.now += 30
    breaker.succeed(10)
    breaker.fail(5)
    assert breaker.state == CLOSED
    clock.now += 11
    breaker.fail(15)
    assert breaker.state == OPEN, "half of the last window counts"


def test_a_removed_breaker_has_no_deadline(breaker: Watched) -> None:
    breaker.fail(3)
    assert breaker.timers.set_to
    breaker.retire()
    assert not breaker.timers.set_to


# ---- active checks


def test_a_check_that_passes_lets_one_exchange_try_at_once(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.clock.now += 1
    breaker.check_passed()
    assert (breaker.state, breaker.lets_pass, breaker.deadline) == (HALF_OPEN, True, NEVER)
    breaker.try_out()
    breaker.answered("trial")
    breaker.succeeded()
    assert breaker.state == CLOSED
    assert not breaker.doubts_checks


def test_a_check_that_passes_says_nothing_to_one_that_is_not_open(breaker: Watched) -> None:
    breaker.check_passed()
    assert (breaker.state, breaker.changes) == (CLOSED, 0)
    breaker.fail(3)
    breaker.wait()
    breaker.try_out()
    breaker.check_passed()
    assert (breaker.state, breaker.lets_pass) == (HALF_OPEN, False), "the trial goes on"


def test_where_the_trial_fails_it_stays_open_for_as_long_as_it_would_have(breaker: Watched) -> None:
    """It is not doubled either: the check has cost one exchange, and nothing else."""
    breaker.fail(3)
    until = breaker.deadline
    breaker.clock.now += 1
    breaker.check_passed()
    breaker.try_out()
    breaker.failed("trial")
    assert (breaker.state, breaker.deadline) == (OPEN, until)
    assert breaker.doubts_checks
    breaker.wait()
    breaker.try_out()
    breaker.failed("trial")
    assert 20 <= breaker.wait() <= 22


@pytest.mark.parametrize("breaks_off", [True, False])
def test_where_it_fails_again_before_its_time_is_over_the_check_was_wrong_too(
    breaker: Watched, breaks_off: bool
) -> None:
    breaker.fail(3)
    until = breaker.deadline
    breaker.check_passed()
    breaker.try_out()
    breaker.answered("trial")
    if breaks_off:
        breaker.failed("trial")
    else:
        breaker.succeeded()
        breaker.left("trial")
        breaker.clock.now += 9
        breaker.fail(3)
    assert (breaker.state, breaker.deadline, breaker.doubts_checks) == (OPEN, until, True)


def test_a_trial_that_takes_longer_than_it_would_have_waited_counts_like_any_other(breaker: Watched) -> None:
    breaker.fail(3)
    breaker.check_passed()
    breaker.try_out()
    breaker.clock.now += 11
    breaker.failed("trial")
    assert not breaker.doubts_checks
    assert 20 <= breaker.wait() <= 22


def test_a_check_that_failed_and_passes_is_believed_again(breaker: Watched) -> None:
    """Control says so only where one has failed: then checks do see what is wrong."""
    breaker.fail(3)
    breaker.check_passed()
    breaker.try_out()
    breaker.failed("trial")
    assert breaker.doubts_checks
    breaker.check_passed()
    assert (breaker.state, breaker.doubts_checks) == (HALF_OPEN, False)


@pytest.mark.parametrize(("seconds", "doubts"), [(9.0, True), (10.0, False)])
def test_after_a_while_without_trouble_checks_are_believed_again(
    breaker: Watched, seconds: float, doubts: bool
) -> None:
    breaker.fail(3)
    breaker.check_passed()
    breaker.try_out()
    breaker.failed("trial")
    breaker.wait()
    breaker.try_out()
    breaker.answered("trial")
    breaker.succeeded()
    breaker.left("trial")
    breaker.clock.now += seconds
    breaker.fail(3)
    assert (breaker.state, breaker.doubts_checks) == (OPEN, doubts)
