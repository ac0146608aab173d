"""The average of latencies: bad news at once, good news bit by bit, and old news not for long."""

from __future__ import annotations

import pytest

from portico.upstreams.latency import Latency


def test_nothing_is_known_at_first() -> None:
    assert Latency().at(1000.0) == 0.0


def test_a_peak_counts_at_once() -> None:
    latency = Latency()
    latency.note(0.01, 1000.0)
    latency.note(3.0, 1000.1)
    assert latency.at(1000.1) == pytest.approx(3.0)


def test_fast_answers_bring_it_down_bit_by_bit() -> None:
    latency = Latency()
    latency.note(1.0, 1000.0)
    before = 1.0
    for step in range(1, 500):
        now = 1000.0 + step / 10
        latency.note(0.1, now)
        assert 0.05 < latency.at(now) < before + 1e-9
        before = latency.at(now)
    assert before == pytest.approx(0.1, rel=0.2)


def test_it_fades_while_nothing_is_noted() -> None:
    latency = Latency()
    latency.note(1.0, 1000.0)
    assert 0.3 < latency.at(1009.9) < 0.4
    assert latency.at(1010.1) == 0.0


@pytest.mark.parametrize("peak", [0.002, 0.1, 100.0])
def test_what_is_forgotten_weighs_nothing(peak: float) -> None:
    latency = Latency()
    latency.note(peak, 1000.0)
    latency.note(0.001, 1010.1)
    assert latency.at(1010.1) == pytest.approx(0.001)


@pytest.mark.parametrize("seconds", [0.001, 3.0])
def test_what_was_assumed_gives_way_to_what_is_measured(seconds: float) -> None:
    latency = Latency()
    latency.assume(1.0, 1000.0)
    assert latency.at(1000.0) == pytest.approx(1.0)
    latency.note(seconds, 1000.1)
    assert latency.at(1000.1) == pytest.approx(seconds)


def test_what_was_assumed_is_forgotten_too() -> None:
    latency = Latency()
    latency.assume(1.0, 1000.0)
    assert latency.at(1010.1) == 0.0
