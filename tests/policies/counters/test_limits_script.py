"""The script that takes from limits, in a real Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portico.policies.counters.periods import PERIODS, bounds
from portico.policies.counters.shared_limits import SCRIPT
from support.redis_process import RedisProcess

NEVER = "1e-12"
"""Tokens that come back in a microsecond: none within a test."""


@pytest.fixture(scope="module")
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


def take(store: RedisProcess, *requests: Sequence[tuple[str, float, str]]) -> list[int]:
    """What is left for each limit of each request: key, what is allowed, how often."""
    keys, arguments = [], []
    for request in requests:
        for index, (key, allowed, how) in enumerate(request):
            keys.append(key)
            arguments += [allowed, how, "+" if index + 1 < len(request) else "."]
    clock, *left = store.client.eval(SCRIPT.source.decode(), len(keys), *keys, *arguments)
    seconds, microseconds = store.client.time()
    assert 0 <= seconds * 1_000_000 + microseconds - clock < 60_000_000
    return [int(number) for number in left]


def test_a_bucket_gives_exactly_its_burst(store: RedisProcess) -> None:
    assert take(store, *[[("burst", 3, NEVER)]] * 5)[:3] == [2, 1, 0]
    refused = take(store, [("burst", 3, "1e-5")])[0]
    assert -100_000 <= refused < -1, "a token comes back in a tenth of a second"
    assert store.client.pttl("burst") > 0


def test_tokens_come_back(store: RedisProcess) -> None:
    assert take(store, [("back", 1, "1")], [("back", 1, "1")])[0] == 0
    assert take(store, [("back", 1, "1")]) == [0], "a microsecond has passed since"


def test_a_burst_that_was_lowered_leaves_a_bucket_empty_and_no_emptier(store: RedisProcess) -> None:
    """Else a client that took much under the old number would wait for all of that to come back."""
    assert take(store, *[[("lower", 100, NEVER)]] * 90)[-1] == 10
    assert take(store, [("lower", 2, "1e-5")])[0] >= -100_000, "the next token comes back in a tenth of a second"
    assert take(store, [("lower", 100, NEVER)])[0] >= 8, "one that is raised again has what it had"


def test_all_or_nothing_within_one_call(store: RedisProcess) -> None:
    """Against counting in Python: requests with one to three limits each, in calls of several."""
    chance = random.Random(7)
    left = {f"m{n}": n * 7 for n in range(1, 6)}
    for _ in range(60):
        requests = [chance.sample(sorted(left), chance.randint(1, 3)) for _ in range(chance.randint(1, 5))]
        expected: list[int] = []
        for names in requests:
            admitted = all(left[name] for name in names)
            expected += [left[name] - 1 for name in names]
            for name in names:
                left[name] -= admitted
        said = take(store, *[[(name, int(name[1]) * 7, NEVER) for name in names] for names in requests])
        assert [max(-1, number) for number in said] == expected
    assert left["m1"] == left["m2"] == 0


@pytest.mark.parametrize("period", PERIODS)
def test_a_quota_counts_to_the_end_of_its_period(store: RedisProcess, period: Any) -> None:
    key = f"quota {period}"
    assert take(store, *[[(key, 2, period)]] * 2) == [1, 0]
    wait = -take(store, [(key, 2, period)])[0] / 1e6
    seconds, microseconds = store.client.time()
    now = seconds + microseconds / 1e6
    assert now + wait == pytest.approx(bounds(period, now)[1], abs=5)
    assert 0 < store.client.pttl(key) <= wait * 1000 + 2000
    count, number = store.client.get(key).split()
    store.client.set(key, f"{count} {int(number) - 1}")
    assert take(store, [(key, 2, period)]) == [1], "another period begins anew"


def test_months_are_those_of_the_calendar(store: RedisProcess) -> None:
    """The script's own arithmetic, beside Python's, for days of four centuries and every edge of a month."""
    own = (
        SCRIPT.source.decode()
        .partition("-- Months since")[2]
        .partition("-- The number of the period")[0]
        .partition("\n")[2]
    )
    ask = "for place, day in ipairs(ARGV) do ARGV[place] = first_day(month_of(tonumber(day)) + 1) end return ARGV"
    first = datetime(1970, 1, 1, tzinfo=UTC)
    days = [*range(20_000, 24_000), *range(0, 146_000, 11)]
    said = store.client.eval(own + ask, 0, *days)
    for day, begins in zip(days, said, strict=True):
        now = first + timedelta(days=day)
        wanted = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        assert first + timedelta(days=begins) == wanted


@pytest.mark.parametrize("junk", ["", "x", "1", "nan nan", "1 2 3"])
def test_what_somebody_else_wrote_is_no_obstacle(store: RedisProcess, junk: str) -> None:
    store.client.set("junk", junk)
    assert take(store, [("junk", 5, NEVER)]) == [4]
    store.client.delete("junk")
    store.client.rpush("junk", junk)
    assert take(store, [("junk", 5, NEVER)]) == [4]


def test_a_clock_that_is_set_back_holds_nobody_up(store: RedisProcess) -> None:
    take(store, [("back in time", 5, "1e-6")])
    debt, moment = store.client.get("back in time").split()
    store.client.set("back in time", f"{debt} {int(moment) + 3_600_000_000}")
    assert take(store, [("back in time", 5, "1e-6")]) == [3]


def test_the_largest_and_the_smallest_numbers(store: RedisProcess) -> None:
    assert take(store, [("large", 10**9, f"{1e9 / 6e7:.17g}")], [("large", 10**9, f"{1e9 / 6e7:.17g}")])[0] == 10**9 - 1
    assert take(store, [("slow", 1, "1e-300")], [("slow", 1, "1e-300")]) == [0, -(10**14)]


def paid(store: RedisProcess, key: str, allowed: int, how: str, amount: str) -> int:
    """What is left of a limit that is paid after the fact: asked for with `0`, or charged with a number."""
    _, left = store.client.eval(SCRIPT.source.decode(), 1, key, allowed, how, f"{amount}.")
    return int(left)


@pytest.mark.parametrize("how", [NEVER, "day"])
def test_what_is_paid_later_is_only_looked_at(store: RedisProcess, how: str) -> None:
    key = f"paid {how}"
    assert [paid(store, key, 10, how, "0") for _ in range(3)] == [10, 10, 10]
    assert store.client.exists(key) == 0
    assert paid(store, key, 10, how, "9") == 1
    assert paid(store, key, 10, how, "0") == 1, "as long as something is left"
    paid(store, key, 10, how, "100")
    assert paid(store, key, 10, how, "0") < 0
    paid(store, key, 10, how, "5")
    assert float(store.client.get(key).split()[0]) == pytest.approx(114), "what is owed is not forgotten"


def test_a_budget_beside_a_limit(store: RedisProcess) -> None:
    """What is only looked at refuses the request, and then nothing is taken from the other."""
    keys = "one", "budget"
    asked = [*keys, 5, NEVER, "+", 10, NEVER, "0."]
    assert store.client.eval(SCRIPT.source.decode(), 2, *asked)[1:] == [4, 10]
    paid(store, "budget", 10, NEVER, "10")
    assert store.client.eval(SCRIPT.source.decode(), 2, *asked)[2] < 0
    paid(store, "budget", 20, NEVER, "1")
    assert store.client.eval(SCRIPT.source.decode(), 2, *keys, 5, NEVER, "+", 20, NEVER, "0.")[1:] == [3, 9]
