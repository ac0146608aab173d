"""The wheel of deadlines, by a clock that the test turns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.wire import deadlines as module
from portico.wire.deadlines import NEVER, RESOLUTION, Deadlines

from .world import FakeLoop


class Item:
    def __init__(self, then: Callable[[Item], None] | None = None) -> None:
        self.deadline = self.wakes = NEVER
        self.slot = 0  # kept beside `wakes`: either is the wheel's own affair
        self.passed: list[float] = []
        self.faults = 0
        self.then = then

    def deadline_passed(self) -> None:
        self.passed.append(Clock.now)
        if self.then is not None:
            self.then(self)

    def faulted(self) -> None:
        self.faults += 1


class Clock:
    """Stands in for the module `time`; its loop's timers fire as it is turned."""

    now = 1000.0

    def __init__(self) -> None:
        Clock.now = 1000.0
        self.loop = FakeLoop()

    @staticmethod
    def monotonic() -> float:
        return Clock.now

    def turn(self, seconds: float) -> None:
        """Let time pass at once, as when the loop was busy, then fire the timers that were due."""
        Clock.now += seconds
        due, self.loop.timers = [timer for timer in self.loop.timers if not timer.cancelled], []
        for timer in due:
            timer.callback()

    def run(self, seconds: float, step: float = RESOLUTION) -> None:
        for _ in range(math.ceil(seconds / step)):
            self.turn(step)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def wheel(clock: Clock) -> Deadlines:
    return Deadlines(clock.loop.as_loop())


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.07, 1.0, 61.3])
@pytest.mark.parametrize("step", [0.05, 0.13, 1.0])
def test_a_deadline_fires_once_and_not_early(clock: Clock, delay: float, step: float) -> None:
    deadlines, item = wheel(clock), Item()
    deadlines.set(item, 1000.0 + delay)
    clock.run(delay + 3 * step, step)
    assert len(item.passed) == 1
    assert 1000.0 + delay <= item.passed[0] <= 1000.0 + delay + RESOLUTION + step


@pytest.mark.parametrize(
    ("moves", "fires"),
    [
        ([1.0, 5.0], 5.0),
        ([5.0, 1.0], 1.0),
        ([1.0, 5.0, 2.0], 2.0),
        ([5.0, 1.0, 5.0], 5.0),
        ([1.0, NEVER], None),
        ([1.0, NEVER, 2.0], 2.0),
        ([NEVER], None),
        ([-5.0], 0.0),
        ([1.0, -5.0], 0.0),
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_the_last_deadline_that_was_set_counts(
    clock: Clock, moves: list[float], fires: float | None, pause: float
) -> None:
    deadlines, item = wheel(clock), Item()
    for move in moves:
        deadlines.set(item, 1000.0 + move)
        if move != moves[-1]:
            clock.run(pause)
    clock.run(10.0)
    assert len(item.passed) == (fires is not None)
    if fires is not None:
        assert 1000.0 + fires <= item.passed[0] <= 1000.0 + fires + 2 * pause + 2 * RESOLUTION + 0.01


def test_what_was_forgotten_never_fires(clock: Clock) -> None:
    deadlines, item, other = wheel(clock), Item(), Item()
    deadlines.set(item, 1001.0)
    deadlines.set(other, 1001.0)
    deadlines.forget(item)
    deadlines.forget(item)
    clock.run(2.0)
    assert (item.passed, len(other.passed)) == ([], 1)


def test_one_deadline_may_forget_another_of_the_same_moment(clock: Clock) -> None:
    deadlines = wheel(clock)
    items: list[Item] = []

    def forget_others(own: Item) -> None:
        for each in items:
            if each is not own:
                deadlines.forget(each)

    items += [Item(forget_others) for _ in range(5)]
    for item in items:
        deadlines.set(item, 1001.0)
    clock.run(2.0)
    assert sum(len(item.passed) for item in items) == 1


@pytest.mark.parametrize("again", [-1.0, 0.0, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("step", [0.05, 0.07, 0.2, 1.0])
def test_a_deadline_may_be_set_while_one_fires(clock: Clock, again: float, step: float) -> None:
    """Also one that has passed already: the total time of an exchange whose retry begins when it is used up."""
    deadlines = wheel(clock)
    other = Item()

    def set_other(item: Item) -> None:
        deadlines.set(other, Clock.now + again)

    items = [Item(set_other) for _ in range(8)]
    for index, item in enumerate(items):
        deadlines.set(item, 1000.0 + RESOLUTION * (index + 0.5))
        if index == 0:
            continue
        item.then = None
    clock.run(3.0, step)
    assert [len(item.passed) for item in items] == [1] * 8
    assert len(other.passed) == 1


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
def test_a_fault_costs_the_item_that_it_comes_out_of(
    clock: Clock, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def fail(item: Item) -> None:
        raise error

    deadlines = wheel(clock)
    faulty, others = Item(fail), [Item() for _ in range(20)]
    for item in (*others[:10], faulty, *others[10:]):
        deadlines.set(item, 1001.0)
    later = Item()
    deadlines.set(later, 1001.2)
    clock.run(0.9)
    clock.turn(1.0)  # late: both slots are looked at in one turn
    assert [len(item.passed) for item in others] == [1] * 20
    assert (len(later.passed), faulty.faults, sum(item.faults for item in others)) == (1, 1, 0)
    (record,) = caplog.records
    assert record.exc_info
    deadlines.set(later, clock.now + 1.0)
    clock.run(2.0)
    assert len(later.passed) == 2, "the wheel goes on"


def test_a_fault_in_what_a_fault_brings_about_is_contained_too(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Hopeless(Item):
        def faulted(self) -> None:
            raise LookupError

    def fail(item: Item) -> None:
        raise RuntimeError

    deadlines, other = wheel(clock), Item()
    for item in (Hopeless(fail), other, Hopeless(fail)):
        deadlines.set(item, 1001.0)
    clock.run(2.0)
    assert len(other.passed) == 1
    assert len(caplog.records) == 4


def test_nothing_fires_after_close(clock: Clock) -> None:
    deadlines, item = wheel(clock), Item()
    deadlines.set(item, 1001.0)
    deadlines.close()
    deadlines.close()
    clock.run(2.0)
    assert item.passed == []
    assert not [timer for timer in clock.loop.timers if not timer.cancelled]


actions = st.lists(
    st.tuples(st.sampled_from(["set", "never", "forget", "turn"]), st.integers(0, 3), st.floats(0.0, 2.0)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(actions)
def test_against_a_list_of_deadlines(script: list[tuple[str, int, float]]) -> None:
    """Every item fires exactly when the last deadline that was set for it has passed, within two ticks."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        deadlines, items = wheel(clock), [Item() for _ in range(4)]
        model = [NEVER] * 4
        for action, index, amount in script:
            before = [len(item.passed) for item in items]
            if action == "set":
                deadlines.set(items[index], Clock.now + amount)
                model[index] = Clock.now + amount
            elif action == "turn":
                clock.turn(amount)
            else:
                if action == "forget":
                    deadlines.forget(items[index])
                else:
                    deadlines.set(items[index], NEVER)
                model[index] = NEVER
            for number, item in enumerate(items):
                if len(item.passed) > before[number]:
                    assert len(item.passed) == before[number] + 1
                    assert model[number] <= Clock.now
                    model[number] = NEVER
        before = [len(item.passed) for item in items]
        clock.run(3.0)
        fired = [len(item.passed) - count for item, count in zip(items, before, strict=True)]
        assert fired == [int(due != NEVER) for due in model]
