"""The verdicts on ten times the load: what is promised, and whether it was measured at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .outcome import HEALTH, LARGE, Outcome
from .overload import Found, judge_open, judge_waiting
from .row import Promise, Row

_BEGIN, _END = 10.0, 30.0
_CAPACITY = 5.0
_ANSWERED = Outcome(LARGE, 0.0, 0.2, begun=True)
_REFUSED = Outcome(LARGE, 0.0, 0.1, failure="503 overloaded", retry_after="1")
_ASKED_HOW_IT_DOES = Outcome(HEALTH, _BEGIN, 0.3)


def verdict(
    *others: Outcome,
    each: Outcome = _REFUSED,
    rate: float = 50.0,
    growth: int = 1 << 20,
    after: float = 0.02,
) -> str:
    """Of so many requests a second, one in five answered and the rest like `each`, and of what else was asked."""
    many = [
        replace(each if number % 5 else _ANSWERED, began=_BEGIN + number / rate)
        for number in range(int(rate * (_END - _BEGIN)))
    ]
    few = [Outcome(LARGE, _BEGIN - 1, 0.02), Outcome(LARGE, _END + 2, after)]
    found = Found(_CAPACITY, 0.0, few, [*many, _ASKED_HOW_IT_DOES, *others], (_BEGIN, _END), _END - _BEGIN, growth)
    row = Row("overload-open", "portico", Promise.REFUSED, [*few, *found.many], 0.0, found.during)
    judge_open(row, found)
    return row.verdict


def test_ten_times_the_load_is_sent_and_refused_in_time() -> None:
    assert verdict() == "ok"


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (replace(_REFUSED, retry_after=""), "800 were refused without Retry-After"),
        (replace(_REFUSED, seconds=1.5), "1 in 100 waited 1.5 s"),
        (replace(_REFUSED, failure="timeout", seconds=0.9), "800 failed"),
        (replace(_REFUSED, late=0.15), "not measured: the load was 0.1 s late itself"),
    ],
)
def test_what_becomes_of_the_many_is_judged(each: Outcome, words: str) -> None:
    assert verdict(each=each) == words


@pytest.mark.parametrize("failure", ["503 overloaded", "timeout"])
def test_a_probe_of_health_is_never_refused(failure: str) -> None:
    assert "it did not always say that it is alive and ready" in verdict(Outcome(HEALTH, _BEGIN, 0.1, failure=failure))


def test_a_probe_of_health_is_answered_within_a_second() -> None:
    assert verdict(Outcome(HEALTH, _BEGIN, 1.2)) == "a probe was answered after 1.2 s"


def test_a_load_that_sends_less_has_measured_nothing() -> None:
    assert verdict(rate=40.0) == "not measured: only 8.0 times that were sent"


def test_a_load_that_goes_on_for_longer_has_sent_less() -> None:
    straggler = replace(_REFUSED, began=_END, late=5.0)
    assert verdict(straggler) == "not measured: only 8.0 times that were sent"


def test_memory_and_the_time_after_are_judged() -> None:
    assert verdict(growth=80 << 20, after=0.06) == "its memory is not bounded; not back to normal after 2 s"


def test_clients_that_wait_need_not_send_ten_times_as_much() -> None:
    few = [Outcome("get", _BEGIN - 1, 0.02), Outcome("get", _END + 2, 0.02)]
    many = [Outcome("get", _BEGIN, 0.3)] * 10
    row = Row("overload", "portico", Promise.REFUSED, [*few, *many], 0.0, (_BEGIN, _END))
    judge_waiting(row, Found(_CAPACITY, 0.0, few, many, (_BEGIN, _END), _END - _BEGIN, 0))
    assert row.verdict == "ok"
    assert "500 clients want 10 times that, ask 0/s" in row.notes[0]
