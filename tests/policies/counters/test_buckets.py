"""Token buckets, beside a bucket that counts tokens the simple way."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.slices import at_once
from portico.policies.counters.buckets import TokenBuckets

ALMOST = Fraction(1, 999)
"""Tokens that may be missing from a whole one."""


class Bucket:
    """A token bucket as it is explained: so many tokens, so many more a second, in exact numbers."""

    def __init__(self, rate: int, burst: int, now: Fraction) -> None:
        self.rate, self.burst = Fraction(rate, 60), burst
        self.tokens, self.then = Fraction(burst), now

    def take(self, now: Fraction) -> Fraction | int:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < 1:
            return (self.tokens - 1) / self.rate
        self.tokens -= 1
        return floor(self.tokens)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([1, 7, 30, 60, 100, 600, 6000]),
    st.sampled_from([1, 2, 5, 20]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 64)), max_size=80),
    st.sampled_from([1, 16, 1024]),
)
def test_against_counting_tokens(rate: int, burst: int, script: list[tuple[int, int]], per_second: int) -> None:
    buckets = TokenBuckets(rate, burst)
    now = Fraction(1000)
    model = {key: Bucket(rate, burst, now) for key in range(4)}
    for key, step in script:
        now += Fraction(step, per_second)
        looked = buckets.look(str(key), float(now))
        took, right = buckets.take(str(key), float(now)), model[key].take(now)
        assert looked == took, "looking returns the same and takes nothing"
        tokens = model[key].tokens
        if abs(tokens - round(tokens)) < Fraction(1, 10**4):
            model[key].tokens = tokens = Fraction(round(tokens))  # the last ulp may fall on either side
        if (took >= 0) != (right >= 0):
            assert 1 - tokens < ALMOST if took >= 0 else tokens == 0
            model[key].tokens = tokens - 1 if took >= 0 else tokens
        elif right >= 0:
            assert floor(tokens) <= took <= floor(tokens + ALMOST)
        else:
            assert took == pytest.approx(float(right), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("rate", [1, 7, 60, 600, 12345])
@pytest.mark.parametrize("burst", [1, 3, 20, 100])
def test_a_full_bucket_gives_exactly_its_burst_and_counts_down(rate: int, burst: int) -> None:
    for now in (0.0, 1000.0, 123456.789):
        buckets = TokenBuckets(rate, burst)
        assert [buckets.take("a", now) for _ in range(burst)] == list(range(burst))[::-1]
        refused = buckets.take("a", now)
        assert refused < 0
        assert -refused == pytest.approx(60 / rate, rel=1e-3)


@pytest.mark.parametrize("rate", [7, 60, 600, 6000])
def test_over_a_long_time_the_rate_is_kept_however_many_requests_come(rate: int) -> None:
    buckets = TokenBuckets(rate, 5)
    asked = 60 * rate  # ten times what is allowed in six minutes
    passed = sum(buckets.take("a", 1000.0 + 360.0 * number / asked) >= 0 for number in range(asked))
    assert 5 + 6 * rate - 1 <= passed <= 5 + 6 * rate


def test_keys_do_not_share() -> None:
    buckets = TokenBuckets(60, 1)
    assert [buckets.take(key, 5.0) >= 0 for key in ("a", "b", "a", "c", "b")] == [True, True, False, True, False]


def test_memory_is_bounded() -> None:
    buckets = TokenBuckets(60, 20, capacity=1000)
    largest = 0
    for number in range(1_000_000):
        buckets.take(str(number), 1000.0 + number / 100_000)
        if number % 997 == 0:
            largest = max(largest, len(buckets))
    assert 1000 <= largest <= 2000


def test_an_active_key_is_remembered_among_many_others() -> None:
    buckets = TokenBuckets(60, 20, capacity=1000)
    passed = 0
    for number in range(50_000):
        now = 1000.0 + number / 5_000
        buckets.take(str(number), now)
        if number % 500 == 0:
            passed += buckets.take("active", now) >= 0
    assert passed == 20 + 9


@pytest.mark.parametrize(("waited", "left"), [(0.0, 0), (30.0, 30), (59.0, 59), (61.0, 60), (119.0, 60), (500.0, 60)])
def test_a_generation_is_dropped_only_when_its_buckets_are_full(waited: float, left: int) -> None:
    """Other keys make the generations turn meanwhile; nobody gets a full bucket too early by that."""
    buckets = TokenBuckets(60, 60)
    for offset in (0.0, 59.9):
        start = 1000.0 + offset
        key = f"key {offset}"
        assert sum(buckets.take(key, start) >= 0 for _ in range(100)) == 60
        for second in range(int(waited)):
            buckets.take("other", start + second)
        assert sum(buckets.take(key, start + waited) >= 0 for _ in range(100)) == left


def test_buckets_that_are_full_are_forgotten_and_no_others() -> None:
    buckets = TokenBuckets(60, 20)
    for number in range(100):
        buckets.take(str(number), 1000.0)
    while buckets.take("0", 1000.0) > 0:
        pass
    at_once(buckets.store.age(1010.0))
    assert buckets.take("0", 1010.0) == 9, "half of its tokens have come back"
    for now in (1021.0, 1042.0):
        at_once(buckets.store.age(now))
    assert len(buckets) == 0
    assert buckets.take("0", 1042.0) == 19


def test_many_long_keys_do_not_fill_the_memory() -> None:
    buckets = TokenBuckets(60, 20)
    buckets.store.max_bytes = 100_000
    for number in range(2000):
        buckets.take(f"{number:0256}", 1000.0)
    assert len(buckets) <= 100_000 // 256


def test_who_has_taken_all_is_not_forgotten_for_others() -> None:
    buckets = TokenBuckets(6, 20)
    while buckets.take("exhausted", 1000.0) >= 0:
        pass
    for number in range(150_000):
        assert buckets.take(f"192.168.{number}", 1000.0 + number / 50_000) == 19
    assert len(buckets) < 100_000, "not all of them have room"
    assert buckets.take("exhausted", 1003.0) < 0
