"""Rate limits: which requests share a bucket, how they are answered, which fields clients receive."""

from __future__ import annotations

import calendar
import gc
import time
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.errors import Refusal
from portico.core.exchange import Exchange
from portico.policies.measures import key_value
from portico.policies.policy import Context, Policy, State
from portico.policies.rate_limit import (
    RateLimit,
    RateLimitSettings,
    build_after_auth,
    build_before_auth,
    build_shadow_after_auth,
    build_shadow_before_auth,
)
from support.structured import read_list

from .exchanges import exchange


def limit(state: State | None = None, scope: str = "gateway", **settings: Any) -> Policy:
    policy = build_before_auth(RateLimit(**settings), Context(scope, state or State()))
    assert policy is not None
    return policy


def sent_lines(policy: Policy, asked: Exchange) -> list[str]:
    """What a response to `asked` says: the exchange's field lines and, after a refusal, the refusal's."""
    answer = policy(asked)
    assert answer is None or isinstance(answer, Refusal)
    return [line.decode() for line in (*asked.response_lines, *(answer.lines if answer else ()))]


def test_fields_that_clients_receive() -> None:
    policy = limit(requests_per_minute=60, burst=2)
    policy_line = 'RateLimit-Policy: "client_ip";q=60;w=60'
    assert sent_lines(policy, exchange()) == [policy_line, 'RateLimit: "client_ip";r=1;t=1']
    assert sent_lines(policy, exchange()) == [policy_line, 'RateLimit: "client_ip";r=0;t=1'], "of the next token"
    assert sent_lines(policy, exchange()) == [policy_line, 'RateLimit: "client_ip";r=0;t=1', "Retry-After: 1"]
    assert sent_lines(policy, exchange(started=1001.0)) == [policy_line, 'RateLimit: "client_ip";r=0;t=1']


@pytest.mark.parametrize(
    ("rate", "burst", "policy_line"),
    [
        (60, 60, "q=60;w=60"),
        (60, 61, "q=61;w=61"),
        (6, 20, "q=20;w=200"),
        (0.5, 1, "q=1;w=120"),
        (90.5, 20, "q=90;w=60"),
        (7, 7, "q=7;w=60"),
        (1e-6, 10**9, "q=1000000000;w=999999999999999"),
    ],
)
def test_no_more_remain_than_the_policy_says(rate: float, burst: int, policy_line: str) -> None:
    """A bucket that takes more than a minute to fill has a window of that time."""
    lines = sent_lines(limit(requests_per_minute=rate, burst=burst), exchange())
    assert lines[0] == f'RateLimit-Policy: "client_ip";{policy_line}'
    (policy,), (left,) = (read_list(line.partition(": ")[2]) for line in lines)
    assert left.parameters["r"] == burst - 1 < policy.parameters["q"]
    assert left.parameters["t"] <= policy.parameters["w"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"by": st.sampled_from(["client_ip", "consumer", {"header": "X-Key"}]), "enforce": st.booleans()},
            optional={
                "requests_per_minute": st.floats(1e-3, 1e9),
                "burst": st.integers(1, 10**9),
                "requests_per_hour": st.integers(1, 10**12),
                "requests_per_month": st.integers(1, 10**12),
                "name": st.sampled_from(["burst", "consumer", "a.b-c_d"]),
            },
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 4),
)
def test_the_fields_are_lists_of_the_draft(limits: list[dict[str, Any]], times: int) -> None:
    """Read back strictly: one line each, the same names in both, and only integers."""
    settings = [RateLimit(**written) for written in limits]
    policies = every_policy(settings)
    for _ in range(times):
        asked = exchange("X-Key: a", consumer="alice")
        pass_all(policies, asked)
        lines = [line.decode().partition(": ") for line in asked.response_lines]
        assert sorted(name for name, _, _ in lines) == ["RateLimit", "RateLimit-Policy"]
        fields = {name: read_list(value) for name, _, value in lines}
        allowed, left = fields["RateLimit-Policy"], fields["RateLimit"]
        assert [each.value for each in allowed] == [each.value for each in left]
        assert len({each.value for each in allowed}) == len(allowed), "each has a name of its own"
        for policy, limit_left in zip(allowed, left, strict=True):
            assert type(policy.value) is str
            shadow = {key for key in policy.parameters if key == "portico-shadow"}
            assert policy.parameters.keys() == {"q", "w"} | shadow
            assert limit_left.parameters.keys() == {"r", "t"} | shadow
            assert policy.parameters["q"] >= limit_left.parameters["r"] >= 0
            assert policy.parameters["w"] > 0
            assert limit_left.parameters["t"] >= 0


def every_policy(settings: RateLimitSettings) -> list[Policy]:
    """What a request passes, in this order."""
    context = Context("gateway", State())
    builders = (build_before_auth, build_shadow_before_auth, build_after_auth, build_shadow_after_auth)
    return [policy for build in builders if (policy := build(settings, context)) is not None]


def pass_all(policies: list[Policy], asked: Exchange) -> Refusal | None:
    """The first refusal."""
    for policy in policies:
        answer = policy(asked)
        if answer is not None:
            assert isinstance(answer, Refusal)
            return answer
    return None


def test_a_limit_has_the_name_that_is_written() -> None:
    limits = [RateLimit(name="burst"), RateLimit(), RateLimit(requests_per_day=9), RateLimit(by={"header": "X-Key"})]
    policy = build_before_auth(limits, Context("gateway", State()))
    assert policy is not None
    policy(asked := exchange())
    members = read_list(asked.response_lines[1].decode().partition(": ")[2])
    assert [each.value for each in members] == ["burst", "client_ip", "client_ip-2-day", "x-key"]


def test_limits_by_client_and_by_consumer_share_their_lines() -> None:
    policies = every_policy([RateLimit(), RateLimit(by="consumer")])
    asked = exchange(consumer="alice")
    asked.response_lines += (b"Vary: Origin",)
    assert pass_all(policies, asked) is None
    assert list(asked.response_lines) == [
        b"Vary: Origin",
        b'RateLimit-Policy: "client_ip";q=60;w=60, "consumer";q=60;w=60',
        b'RateLimit: "client_ip";r=19;t=1, "consumer";r=19;t=1',
    ]


@pytest.mark.parametrize("several", [False, True])
def test_a_field_that_is_counted_by_comes_once(several: bool) -> None:
    """Who sends it twice would be counted by a value that the service may not read, a new one each time."""
    by_header = RateLimit(burst=1, by={"header": "X-Key"})
    written: Any = [RateLimit(burst=100), by_header] if several else by_header
    policy = build_before_auth(written, Context("gateway", State()))
    assert policy is not None
    for lines in (["X-Key: a", "X-Key: 1"], ["x-key: 2", "X-KEY: a"], ["X-Key: a", "X-Key: a"]):
        answer = policy(asked := exchange(*lines))
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.reason) == (400, "malformed_request")
        assert answer.detail == "X-Key comes more than once, and requests are counted by it"
        assert asked.response_lines == (), "it is not counted"
    assert policy(exchange("X-Key: a", "X-Other: 1", "X-Other: 2")) is None
    assert isinstance(policy(exchange("X-Key: a")), Refusal)


def test_fields_that_are_not_counted_by_may_come_twice() -> None:
    assert limit(burst=1)(exchange("X-Key: a", "X-Key: b")) is None


def test_the_refusal() -> None:
    policy = limit(requests_per_minute=6, burst=1)
    assert policy(exchange()) is None
    answer = policy(exchange(started=1001.0))
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.reason, answer.lines) == (429, "rate_limited", [b"Retry-After: 9"])


@pytest.mark.parametrize(("rate", "burst"), [(60, 20), (600, 20), (7, 3), (1e6, 5), (0.5, 2), (90, 1), (1000, 100)])
def test_a_client_that_waits_for_retry_after_is_admitted_again(rate: float, burst: int) -> None:
    policy = limit(requests_per_minute=rate, burst=burst)
    remaining = []
    for _ in range(burst):
        lines = sent_lines(policy, exchange())
        remaining.append(int(lines[1].partition("r=")[2].partition(";")[0]))
        assert len(lines) == 2
    assert remaining == list(range(burst))[::-1]
    lines = sent_lines(policy, exchange())
    wait = int(lines[2].removeprefix("Retry-After: "))
    assert wait >= 1
    assert policy(exchange(started=1000.0 + wait)) is None


@pytest.mark.parametrize(
    ("by", "one", "other", "shared"),
    [
        ("client_ip", {"client_ip": "192.0.2.1"}, {"client_ip": "192.0.2.1"}, True),
        ("client_ip", {"client_ip": "192.0.2.1"}, {"client_ip": "192.0.2.2"}, False),
        ("client_ip", {"client_ip": "2001:db8::1"}, {"client_ip": "2001:db8::ffff:1"}, True),
        ("client_ip", {"client_ip": "2001:db8::1"}, {"client_ip": "2001:db8:0:1::1"}, False),
        ("client_ip", {"client_ip": "fe80::1%eth0"}, {"client_ip": "fe80::2%eth1"}, True),
        ({"header": "X-User"}, {"lines": ["x-user: a"]}, {"lines": ["X-USER: a "]}, True),
        ({"header": "X-User"}, {"lines": ["X-User: a"]}, {"lines": ["X-User: b"]}, False),
        ({"header": "X-User"}, {"lines": ["X-User: a"]}, {}, False),
        ({"header": "X-User"}, {}, {"client_ip": "192.0.2.9"}, True),
        ({"header": "X-User"}, {"lines": ["X-User: " + "a" * 256]}, {"lines": ["X-User: " + "a" * 300]}, True),
    ],
)
def test_which_requests_share_a_bucket(by: Any, one: dict[str, Any], other: dict[str, Any], shared: bool) -> None:
    policy = limit(requests_per_minute=1, burst=1, by=by)
    assert policy(exchange(*one.pop("lines", ()), **one)) is None
    assert (policy(exchange(*other.pop("lines", ()), **other)) is not None) == shared


@pytest.mark.parametrize(
    ("scopes", "settings", "shared"),
    [
        (("gateway", "gateway"), ({}, {}), True),
        (("route:a", "route:b"), ({}, {}), False),
        (("gateway", "gateway"), ({}, {"burst": 2}), False),
        (("gateway", "gateway"), ({}, {"by": {"header": "X-A"}}), False),
    ],
)
def test_state_is_shared_within_a_scope_and_outlives_a_policy(
    scopes: tuple[str, str], settings: tuple[dict[str, Any], dict[str, Any]], shared: bool
) -> None:
    state = State()
    first, second = (
        limit(state, scope, **{"requests_per_minute": 1, "burst": 1, **own})
        for scope, own in zip(scopes, settings, strict=True)
    )
    assert first(exchange()) is None
    assert (second(exchange()) is not None) == shared


def test_consumers_have_rates_of_their_own() -> None:
    consumers = {"alice": {"requests_per_minute": 60, "burst": 3}}
    settings = RateLimit(requests_per_minute=1, burst=1, by="consumer")
    policy = build_after_auth(settings, Context("gateway", State(), consumers))
    assert policy is not None
    passed = {
        name: [policy(exchange(consumer=name)) is None for _ in range(5)].count(True) for name in ("alice", "bob")
    }
    assert passed == {"alice": 3, "bob": 1}


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        (RateLimit(), True, False),
        (RateLimit(by="consumer"), False, True),
        ([RateLimit(), RateLimit(by="consumer")], True, True),
        ([], False, False),
    ],
)
def test_limits_by_consumer_come_after_auth_and_others_before(
    settings: RateLimitSettings, before: bool, after: bool
) -> None:
    context = Context("gateway", State())
    built = (build_before_auth(settings, context) is not None, build_after_auth(settings, context) is not None)
    assert built == (before, after)


def test_every_limit_of_a_list_holds() -> None:
    limits = [
        RateLimit(requests_per_minute=60, burst=3),
        RateLimit(requests_per_minute=60, burst=2, by={"header": "U"}),
    ]
    policy = build_before_auth(limits, Context("gateway", State()))
    assert policy is not None
    verdicts = [policy(exchange(f"U: {user}")) is None for user in ("a", "a", "a", "b", "b")]
    assert verdicts[:3] == [True, True, False]
    assert verdicts[4] is False
    lines = sent_lines(policy, exchange("U: c", client_ip="192.0.2.99"))
    assert lines == [
        'RateLimit-Policy: "client_ip";q=60;w=60, "u";q=60;w=60',
        'RateLimit: "client_ip";r=2;t=1, "u";r=1;t=1',
    ]


def test_a_refusal_by_one_limit_takes_no_token_of_the_others() -> None:
    limits = [
        RateLimit(requests_per_minute=60, burst=2, by={"header": "A"}),
        RateLimit(requests_per_minute=60, burst=1, by={"header": "B"}),
    ]
    policy = build_before_auth(limits, Context("gateway", State()))
    assert policy is not None
    assert [policy(exchange("A: a", f"B: {b}")) is None for b in "11112223"] == [
        *(True, False, False, False),
        *(True, False, False, False),
    ]


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, ["requests_per_minute", "burst"]),
        ({"requests_per_day": 5}, ["requests_per_day"]),
        ({"requests_per_day": 5, "burst": 3}, ["requests_per_minute", "burst", "requests_per_day"]),
        ({"requests_per_month": 5, "requests_per_hour": 2}, ["requests_per_hour", "requests_per_month"]),
    ],
)
def test_which_numbers_hold(settings: dict[str, Any], keys: list[str]) -> None:
    assert list(RateLimit(**settings).numbers) == keys


def test_fields_that_clients_receive_for_quotas() -> None:
    policy = limit(requests_per_hour=2, requests_per_month=100)
    lines = sent_lines(policy, exchange())
    assert lines[0] == f'RateLimit-Policy: "client_ip-hour";q=2;w=3600, "client_ip-month";q=100;w={_month_length()}'
    left = read_list(lines[1].removeprefix("RateLimit: "))
    assert [(each.value, each.parameters["r"]) for each in left] == [("client_ip-hour", 1), ("client_ip-month", 99)]
    policy(exchange())
    answer = policy(exchange())
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.reason) == (429, "rate_limited")
    assert "2 requests per hour are allowed" in answer.detail
    assert 0 < int(answer.lines[0].removeprefix(b"Retry-After: ")) <= 3600


def _month_length() -> int:
    now = time.gmtime()
    return calendar.monthrange(now.tm_year, now.tm_mon)[1] * 86400


def test_consumers_have_quotas_of_their_own() -> None:
    """A consumer's numbers stand in place of those of every limit that has such; others hold beside the first."""
    consumers = {
        "alice": {"requests_per_day": 4},
        "bob": {"requests_per_hour": 1},
        "carol": {"burst": 3},
    }
    limits = [RateLimit(requests_per_day=2, by="consumer"), RateLimit(burst=9, by="consumer"), RateLimit()]
    policy = build_after_auth(limits, Context("gateway", State(), consumers))
    assert policy is not None
    admitted = {
        name: sum(policy(exchange(consumer=name)) is None for _ in range(12))
        for name in ("alice", "bob", "carol", "dave")
    }
    assert admitted == {"alice": 4, "bob": 1, "carol": 2, "dave": 2}
    policy = build_after_auth([RateLimit(requests_per_day=20, by="consumer")], Context("x", State(), consumers))
    assert policy is not None
    assert sum(policy(exchange(consumer="carol")) is None for _ in range(12)) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [("", "%"), ("", "#"), ("a b", "a%20b"), ("x" * 65, "x" * 66), ("é", "%C3%A9"), ("a}", "a"), ("#a", "a")],
)
def test_no_two_clients_have_one_key_in_redis(one: str, other: str) -> None:
    made = {key_value(text) for text in (one, other)}
    assert len(made) == 2
    assert all(1 <= len(text) <= 64 and not set(text) & set("{} \r\n*") for text in made)


def test_a_limit_of_an_old_snapshot_leaves_nothing_behind() -> None:
    """What a snapshot is made of is not collected: only what is no circle goes with it."""
    state = State()
    policy: Any = limit(state)
    sent_lines(policy, exchange())
    measure = weakref.ref(policy.__self__.measures[0])
    gc.disable()
    try:
        del policy
        state.sweep()
        state.sweep()  # the next snapshot does not have this limit
        assert measure() is None
    finally:
        gc.enable()
