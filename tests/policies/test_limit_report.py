"""What workers say of their limits."""

from __future__ import annotations

import time

from portico.core.slices import at_once
from portico.policies.counters.buckets import TokenBuckets
from portico.policies.counters.quotas import Quotas
from portico.policies.counters.standing import fullest
from portico.policies.limit_report import Listed, reported, reset
from portico.policies.measures import Quota, Rate
from portico.policies.own_measures import OwnMeasures


def listed(*measures: Rate | Quota) -> Listed:
    limit = Listed()
    limit.about, limit.store, limit.measures = {"id": "gateway/x", "by": "client_ip"}, "memory", measures
    return limit


def test_the_fullest_are_found_among_many() -> None:
    spent = [(str(number), float(number * 7919 % 100_000)) for number in range(100_000)]
    steps = fullest(spent, 3)
    found = at_once(steps)
    assert [number for _, number in found] == [99_999.0, 99_998.0, 99_997.0]


def test_it_takes_small_steps() -> None:
    assert len([*fullest(((str(number), 0.0) for number in range(50_000)), 20)]) == 50


def test_many_limits_take_many_steps() -> None:
    limits = [listed(Rate("x", TokenBuckets(60, 3), "local", ("", ""))) for _ in range(100)]
    assert len([*reported(limits, 20, None)]) == 100


def test_a_rate_and_a_quota_of_a_limit() -> None:
    buckets, quotas = TokenBuckets(60, 3), Quotas(2, "hour")
    rate, quota = Rate("x", buckets, "local", ("", "")), Quota("x", quotas, "local", ("", ""))
    limit = listed(rate, quota)
    now = time.monotonic()
    for _ in range(3):
        buckets.take("a", now)
    buckets.take("b", now)
    quotas.take("b", time.time())
    (report,) = at_once(reported([limit], 20, None))
    assert [(each["key"], each["of"], each["left"]) for each in report["keys"]] == [
        ("a", "rate", 0),
        ("b", "hour", 1),
        ("b", "rate", 2),
    ]
    assert buckets.take("b", now) == 1, "looking has taken nothing"
    (report,) = at_once(reported([limit], 1, None))
    assert [each["key"] for each in report["keys"]] == ["a"]
    (report,) = at_once(reported([limit], 20, "b"))
    assert [each["of"] for each in report["keys"]] == ["rate", "hour"]
    (report,) = at_once(reported([limit], 20, "c"))
    assert report["keys"] == []


def test_a_reset_is_for_one_key_of_one_limit() -> None:
    buckets = TokenBuckets(60, 3)
    limit = listed(Rate("x", buckets, "local", ("", "")))
    now = time.monotonic()
    for key in "ab":
        buckets.take(key, now)
    assert reset([limit], "gateway/x", "a")
    assert not reset([limit], "gateway/y", "b")
    (report,) = at_once(reported([limit], 20, None))
    assert [each["key"] for each in report["keys"]] == ["b"]


def test_a_consumer_counts_against_its_own_numbers() -> None:
    usual, own = TokenBuckets(60, 3), TokenBuckets(60, 30, prefix="60:30 ")
    limit = listed(Rate("x", usual, "local", ("", "")))
    limit.owns = OwnMeasures({"ann": {"burst": 30}}, lambda _: [Rate("x", own, "local", ("", ""))], [own.store])
    now = time.monotonic()
    usual.take("bob", now)
    own.take("ann", now)
    (report,) = at_once(reported([limit], 20, None))
    assert {(each["key"], each["allowed"]) for each in report["keys"]} == {("bob", 3), ("ann", 30)}
    (report,) = at_once(reported([limit], 20, "ann"))
    assert [each["allowed"] for each in report["keys"]] == [30]
