"""The contexts whose ticket keys workers share: one at a time, dropped when its day is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from portico.net.tls import tickets
from portico.net.tls.tickets import TicketContexts

DAY = 100.0


class Clock(SimpleNamespace):
    """Stands in for the module `time`."""

    def monotonic(self) -> float:
        return float(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(now=5000.0)
    monkeypatch.setattr(tickets, "time", clock)
    return clock


def test_each_day_has_one(clock: Clock) -> None:
    contexts = TicketContexts(3, DAY)
    first = contexts.current()
    assert first is not None
    clock.now += DAY - 1
    assert contexts.current() is first
    clock.now += 1
    second = contexts.current()
    assert second is not None
    assert second is not first
    clock.now += DAY
    assert contexts.current() not in (None, first, second)
    clock.now += DAY
    assert contexts.current() is None, "this process was forked too long ago"


def test_a_process_forked_later_has_the_same_and_more(clock: Clock) -> None:
    contexts = TicketContexts(3, DAY)
    clock.now += DAY
    second = contexts.current()
    contexts.extend()
    assert contexts.current() is second
    for _ in range(2):
        clock.now += DAY
        assert contexts.current() is not None
    clock.now += DAY
    assert contexts.current() is None


def test_days_may_be_left_out(clock: Clock) -> None:
    """A machine that slept."""
    contexts = TicketContexts(3, DAY)
    clock.now += 2 * DAY
    assert contexts.current() is not None
    clock.now += 10 * DAY
    assert contexts.current() is None
    contexts.extend()
    assert contexts.current() is not None
