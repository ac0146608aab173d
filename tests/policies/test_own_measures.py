"""Thousands of consumers with numbers of their own: what they count against is made when they come, and counted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portico.core.consumers import Numbers, OwnNumbers
from portico.core.errors import Refusal
from portico.core.slices import at_once
from portico.policies import limit_report
from portico.policies.counters.buckets import TokenBuckets
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.limit_report import Listed, reported, reset
from portico.policies.measures import Measure, Rate
from portico.policies.own_measures import OwnMeasures
from portico.policies.peeked import PeekedState
from portico.policies.policy import Context, Policy, State
from portico.policies.rate_limit import RateLimit, RateLimitSettings, build_after_auth

from .exchanges import exchange

BY_CONSUMER = RateLimit(requests_per_minute=60, burst=2, by="consumer")
DAILY = RateLimit(requests_per_day=2, by="consumer")


def policy_of(state: State, numbers: dict[str, Any], settings: RateLimitSettings = BY_CONSUMER) -> Policy:
    policy = build_after_auth(settings, Context("gateway", state, OwnNumbers(numbers)))
    assert policy is not None
    return policy


def passes(policy: Policy, consumer: str) -> bool:
    return not isinstance(policy(exchange(consumer=consumer)), Refusal)


def admitted(policy: Policy, consumer: str, times: int) -> int:
    return sum(passes(policy, consumer) for _ in range(times))


def test_they_are_made_when_somebody_comes_and_once_for_all_with_the_same_numbers() -> None:
    made: list[Numbers] = []

    def make(numbers: Numbers) -> list[Measure]:
        made.append(numbers)
        return [Rate("x", TokenBuckets(60, numbers["burst"]), "local", ("", ""))]

    owns = OwnMeasures(OwnNumbers({f"c{number}": {"burst": 1 + number % 3} for number in range(300)}), make)
    assert made == []
    assert owns.get("c0", ()) is owns.get("c3", ()) is owns.get("c297", ())
    assert len(made) == 1
    assert owns.get("nobody", ()) == ()
    for number in range(300):
        owns.get(f"c{number}", ())
    assert len(made) == 3


def test_few_are_kept_of_very_many_and_all_are_counted_on() -> None:
    state = State()
    policy = policy_of(state, {f"c{number}": {"burst": 3 + number} for number in range(1000)})
    for number in range(0, 1000, 10):
        assert admitted(policy, f"c{number}", 1003) == 3 + number
    for number in range(0, 1000, 10):
        assert not passes(policy, f"c{number}"), "it is not forgotten with what it counts against"
        assert passes(policy, f"c{number + 1}")
    (listed,) = state.all_of(Listed)
    assert len(listed.owns._made) <= 400


@pytest.mark.parametrize("settings", [BY_CONSUMER, DAILY], ids=["rate", "quota"])
def test_what_was_counted_outlives_snapshots_in_which_nobody_came(settings: RateLimit) -> None:
    state = State()
    key = "burst" if settings is BY_CONSUMER else "requests_per_day"
    numbers = {"ann": {key: 4}, "bob": {key: 4}}
    policy = policy_of(state, numbers, settings)
    assert admitted(policy, "ann", 9) == 4
    for _ in range(3):
        state.sweep()
        policy = policy_of(state, numbers, settings)
    state.sweep()
    assert admitted(policy, "ann", 9) == 0
    assert admitted(policy, "bob", 9) == 4, "who has the same numbers counts separately"


@pytest.mark.parametrize("is_shared", [False, True])
def test_who_explains_what_would_be_takes_nothing(is_shared: bool, tmp_path: Path) -> None:
    table = None
    if is_shared:
        table = BucketTable(64)
        table.open(tmp_path)
    numbers = OwnNumbers({"ann": {"burst": 4, "requests_per_minute": 0.001}})

    def built(state: State) -> Policy:
        policy = build_after_auth(BY_CONSUMER, Context("gateway", state, numbers, table=table))
        assert policy is not None
        return policy

    state = State()
    assert admitted(built(state), "ann", 1) == 1
    assert passes(built(PeekedState(state, lambda *_: None)), "ann")
    assert admitted(built(PeekedState(state, lambda *_: None)), "ann", 9) >= 3
    assert admitted(built(state), "ann", 9) == 3
    assert not passes(built(PeekedState(state, lambda *_: None)), "ann")


def test_other_numbers_begin_anew() -> None:
    state = State()
    assert admitted(policy_of(state, {"ann": {"burst": 4}}), "ann", 9) == 4
    assert admitted(policy_of(state, {"ann": {"burst": 3}}), "ann", 9) == 3
    assert admitted(policy_of(state, {}), "ann", 9) == 2


def test_rates_that_differ_little_are_not_the_same() -> None:
    state = State()
    policy = policy_of(state, {"ann": {"requests_per_minute": 1234567.0}})
    admitted(policy, "ann", 2)
    policy = policy_of(state, {"ann": {"requests_per_minute": 1234568.0}})
    assert admitted(policy, "ann", 2) == 2


def test_they_are_reported_and_reset() -> None:
    state = State()
    both = [RateLimit(requests_per_minute=60, burst=2, requests_per_day=50, by="consumer")]
    policy = policy_of(state, {"ann": {"burst": 4}, "bob": {"burst": 4}, "eve": {"requests_per_day": 3}}, both)
    for consumer, times in (("ann", 4), ("bob", 1), ("eve", 2), ("zoe", 1)):
        assert admitted(policy, consumer, times) == times
    limits = state.all_of(Listed)
    (report,) = at_once(reported(limits, 20, None))
    # what the exchanges count by is not the time of this process: only quotas have anything left to wait for
    days = {each["key"]: (each["left"], each["allowed"]) for each in report["keys"] if each["of"] == "day"}
    assert days == {"ann": (46, 50), "bob": (49, 50), "eve": (1, 3), "zoe": (49, 50)}
    (report,) = at_once(reported(limits, 20, "eve"))
    assert [each["allowed"] for each in report["keys"] if each["of"] == "day"] == [3]
    assert not passes(policy, "eve")
    assert reset(limits, "gateway/consumer", "eve")
    assert passes(policy, "eve")


def test_a_report_of_limits_in_redis_has_the_numbers_of_those_that_are_asked_for() -> None:
    state = State()
    policy_of(state, {"ann": {"burst": 4}, "bob": {"requests_per_day": 5}})
    (listed,) = state.all_of(Listed)
    listed.store = "redis"
    (report,) = at_once(reported([listed], 20, None, ["ann", "zoe"]))
    assert {name: [each["allowed"] for each in own] for name, own in report["owns"].items()} == {"ann": [4]}
    (report,) = at_once(reported([listed], 20, "bob"))
    assert [(each["of"], each["allowed"]) for each in report["owns"]["bob"]] == [("rate", 2), ("day", 5)]
    assert report["names"].keys() == {limit_report.RATE, "hour", "day", "month"}
