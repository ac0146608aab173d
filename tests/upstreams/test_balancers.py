"""What all ways to balance have in common, and what each is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.upstreams import power_of_two, random_choice
from portico.upstreams.balancer import Balancer
from portico.upstreams.consistent_hash import ConsistentHash, by_client, by_cookie, by_header
from portico.upstreams.latency import FAILURE, Latency
from portico.upstreams.least_connections import LeastConnections
from portico.upstreams.power_of_two import PowerOfTwo
from portico.upstreams.random_choice import RandomChoice
from portico.upstreams.round_robin import RoundRobin

from .members import NOBODY, Clock, Member, exchange, members

Make = Callable[[Sequence[Member], Sequence[int]], Balancer[Member]]

ANYBODY = exchange(client_ip="192.0.2.1")
BALANCERS: dict[str, Make] = {
    "round_robin": RoundRobin,
    "least_connections": LeastConnections,
    "power_of_two": PowerOfTwo,
    "random": RandomChoice,
    "consistent_hash": partial(ConsistentHash, key_of=by_client),
    "consistent_hash, no key": partial(ConsistentHash, key_of=by_header("X-None")),
}


@pytest.fixture(autouse=True)
def same_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (random_choice, power_of_two):
        monkeypatch.setattr(module, "random", Random(7).random)


@pytest.fixture(params=BALANCERS)
def make(request: pytest.FixtureRequest) -> Make:
    return BALANCERS[request.param]


# ---- all of them


def test_no_member_to_choose(make: Make) -> None:
    assert make([], []).choose((), ANYBODY) is None


def test_only_the_excluded_are_left(make: Make) -> None:
    for count in (1, 2, 5):
        each = members(count)
        assert make(each, [1] * count).choose(each, ANYBODY) is None


def test_the_one_that_is_left(make: Make) -> None:
    for count in (1, 2, 5):
        each = members(count)
        balancer = make(each, [1] * count)
        assert {balancer.choose(each[1:], ANYBODY) for _ in range(20)} == {each[0]}
        assert {make(each[:1], [3]).choose((), ANYBODY) for _ in range(3)} == {each[0]}


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.data())
def test_a_choice_is_a_member_that_is_not_excluded(weights: list[int], data: st.DataObject) -> None:
    for make in BALANCERS.values():
        each = members(len(weights))
        for member in each:
            member.in_flight = data.draw(st.integers(0, 40))
        excluded = data.draw(st.lists(st.sampled_from(each), unique=True))
        chosen = make(each, weights).choose(excluded, ANYBODY)
        assert (chosen is None) == (len(excluded) == len(each))
        assert chosen not in excluded


# ---- random


def test_chances_go_by_weight() -> None:
    a, b, c = each = members(3)
    balancer = RandomChoice(each, [1, 2, 7])
    seen = Counter(balancer.choose((), NOBODY) for _ in range(20_000))
    for member, share in ((a, 0.1), (b, 0.2), (c, 0.7)):
        assert abs(seen[member] / 20_000 - share) < 0.02
    rest = Counter(balancer.choose([c], NOBODY) for _ in range(3_000))
    assert abs(rest[a] / 3_000 - 1 / 3) < 0.05


# ---- least connections


def begin(balancer: Balancer[Member], running: int) -> None:
    """So many exchanges that do not end."""
    for _ in range(running):
        chosen = balancer.choose((), ANYBODY)
        assert chosen is not None
        chosen.in_flight += 1


@pytest.mark.parametrize("make_busy", [LeastConnections, PowerOfTwo])
def test_those_that_run_are_spread_by_weight(make_busy: Any) -> None:
    each = members(3)
    begin(make_busy(each, [1, 2, 3]), 600)
    for member, weight in zip(each, (1, 2, 3), strict=True):
        assert abs(member.in_flight - 100 * weight) <= (2 if make_busy is LeastConnections else 20)


def test_idle_members_are_chosen_by_weighted_round_robin() -> None:
    each = members(2)
    balancer = LeastConnections(each, [3, 1])
    seen = [balancer.choose((), NOBODY) for _ in range(40)]
    assert Counter(seen) == {each[0]: 30, each[1]: 10}


def test_the_busy_one_waits() -> None:
    a, b = each = members(2)
    a.in_flight = 5
    balancer = LeastConnections(each, [1, 1])
    for _ in range(5):
        assert balancer.choose((), NOBODY) is b
        b.in_flight += 1
    assert balancer.choose([a], NOBODY) is b
    assert balancer.choose([b], NOBODY) is a


# ---- power of two


def test_the_slow_one_is_avoided_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(power_of_two, "time", clock)
    slow, quick = each = [Member("slow", latency=Latency()), Member("quick", latency=Latency())]
    balancer = PowerOfTwo(each, [1, 1])
    assert slow.latency is not None
    assert quick.latency is not None
    slow.latency.note(2.0, clock.now)
    for _ in range(400):
        clock.now += 0.1
        quick.latency.note(0.01, clock.now)
        if balancer.choose((), NOBODY) is slow:
            break
        assert clock.now < 5100
    assert 5005 < clock.now < 5010.2, "not for as long as it is remembered, and no longer"
    slow.latency.note(2.0, clock.now)
    assert {balancer.choose((), NOBODY) for _ in range(20)} == {quick}
    quick.in_flight = 1000
    assert {balancer.choose((), NOBODY) for _ in range(20)} == {slow}, "everybody has their limit"


def test_one_that_nobody_knows_gets_one_request_and_no_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(power_of_two, "time", clock)
    known, new = each = [Member("known", latency=Latency()), Member("new", latency=Latency())]
    assert known.latency is not None
    known.latency.note(0.01, clock.now)
    balancer = PowerOfTwo(each, [1, 1])
    assert balancer.choose((), NOBODY) is new
    new.in_flight = 1
    assert {balancer.choose((), NOBODY) for _ in range(20)} == {known}


class Instances:
    """Some that answer in `quick` seconds, and a balancer that is asked a hundred times a second."""

    def __init__(self, clock: Clock, count: int, quick: float) -> None:
        self.clock, self.quick = clock, quick
        self.each = [Member(f"10.0.0.{number}:80", latency=Latency()) for number in range(count)]
        self.balancer = PowerOfTwo(self.each, [1] * count)

    def ask(self) -> Member:
        self.clock.now += 0.01
        chosen = self.balancer.choose((), NOBODY)
        assert chosen is not None
        return chosen

    def share(self, of: Member, seconds: float) -> float:
        """Its share of the requests, which all of them answer."""
        times = int(seconds * 100)
        seen = 0
        for _ in range(times):
            chosen = self.ask()
            seen += chosen is of
            assert chosen.latency is not None
            chosen.latency.note(self.quick, self.clock.now)
        return seen / times


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("ratio", [2, 10, 100, 1_000, 100_000])
def test_one_slow_answer_is_forgotten_after_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, ratio: float, count: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(power_of_two, "time", clock)
    instances = Instances(clock, count, 0.001)
    slow = instances.each[0]
    assert abs(instances.share(slow, 20) - 1 / count) < 0.1
    assert slow.latency is not None
    slow.latency.note(0.001 * ratio, clock.now)
    assert instances.share(slow, 1) == 0
    instances.share(slow, 9.2)
    assert abs(instances.share(slow, 20) - 1 / count) < 0.1


def test_one_that_stays_slow_is_tried_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(power_of_two, "time", clock)
    instances = Instances(clock, 3, 0.001)
    slow, tried = instances.each[0], 0
    assert slow.latency is not None
    slow.latency.note(FAILURE, clock.now)
    for _ in range(6_000):
        chosen = instances.ask()
        tried += chosen is slow
        assert chosen.latency is not None
        chosen.latency.note(FAILURE if chosen is slow else 0.001, clock.now)
    assert tried in (4, 5, 6), "one request in each ten seconds of a minute"


def test_one_that_was_forgotten_gets_one_request_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long response that runs there all the while neither keeps it from being tried nor draws a crowd."""
    clock = Clock()
    monkeypatch.setattr(power_of_two, "time", clock)
    instances = Instances(clock, 3, 0.001)
    silent, tried = instances.each[0], 0
    silent.in_flight = 1
    assert silent.latency is not None
    silent.latency.note(0.1, clock.now)
    for _ in range(2_900):
        chosen = instances.ask()
        if chosen is silent:
            tried += 1
            silent.in_flight += 1
        else:
            assert chosen.latency is not None
            chosen.latency.note(0.001, clock.now)
    assert tried == 2


def test_with_many_the_busier_half_gets_less() -> None:
    each = members(10)
    for busy in each[:5]:
        busy.in_flight = 50
    balancer = PowerOfTwo(each, [1] * 10)
    seen = Counter(balancer.choose((), NOBODY) in each[:5] for _ in range(5_000))
    assert abs(seen[True] / 5_000 - 2 / 9) < 0.04, "only where both that were looked at are busy"


# ---- consistent hash

KEYS = [exchange(f"X-User: user-{number}") for number in range(2_000)]


def ring(each: list[Member], weights: list[int]) -> ConsistentHash[Member]:
    return ConsistentHash(each, weights, by_header("X-User"))


def test_the_same_key_goes_to_the_same_member() -> None:
    each = members(5)
    first, second = ring(each, [10] * 5), ring(each[::-1], [10] * 5)
    assert [first.choose((), key) for key in KEYS] == [second.choose((), key) for key in KEYS]


def test_keys_are_spread_by_weight() -> None:
    each = members(3)
    seen = Counter(ring(each, [10, 20, 30]).choose((), key) for key in KEYS)
    for member, share in zip(each, (1 / 6, 2 / 6, 3 / 6), strict=True):
        assert abs(seen[member] / len(KEYS) - share) < 0.07


@pytest.mark.parametrize("gone", range(4))
def test_a_member_that_leaves_moves_only_its_own_keys(gone: int) -> None:
    each, weights = members(4), [10, 20, 10, 30]
    before = ring(each, weights)
    left = [(member, weight) for index, (member, weight) in enumerate(zip(each, weights, strict=True)) if index != gone]
    after = ring([member for member, _ in left], [weight for _, weight in left])
    spread = set()
    for key in KEYS:
        old, new = before.choose((), key), after.choose((), key)
        if old is each[gone]:
            spread.add(new)
            assert before.choose([each[gone]], key) is new, "a retry goes where the key would go"
        else:
            assert new is old
    assert len(spread) == 3, "and they do not all go to one"


def test_one_that_warms_up_moves_keys_to_itself_alone() -> None:
    each = members(3)
    cold, warm = ring(each, [10, 10, 1]), ring(each, [10, 10, 10])
    for key in KEYS:
        before, after = cold.choose((), key), warm.choose((), key)
        assert after in (before, each[2])


def test_a_member_takes_no_more_than_its_share_of_what_runs() -> None:
    each = members(4)
    balancer = ring(each, [10] * 4)
    for _ in range(400):
        chosen = balancer.choose((), KEYS[0])
        assert chosen is not None
        chosen.in_flight += 1
    assert max(member.in_flight for member in each) <= 1.25 * 100 + 1


def test_where_little_is_going_on_no_key_moves() -> None:
    each = members(4)
    balancer = ring(each, [10] * 4)
    home = balancer.choose((), KEYS[0])
    assert home is not None
    for _ in range(9):
        home.in_flight += 1
        assert balancer.choose((), KEYS[0]) is home


def test_requests_without_a_key_are_balanced_round_robin() -> None:
    each = members(4)
    balancer = ring(each, [10] * 4)
    assert Counter(balancer.choose((), exchange()) for _ in range(40)) == dict.fromkeys(each, 10)


@pytest.mark.parametrize(
    ("key_of", "lines", "key"),
    [
        (by_client, [], b"192.0.2.9"),
        (by_header("X-User"), ["x-user:  ann "], b"ann"),
        (by_header("X-User"), ["X-User: ann", "X-User: bob"], b"ann, bob"),
        (by_header("Cookie"), ["Cookie: a=1", "Cookie: b=2"], b"a=1; b=2"),
        (by_header("X-User"), [], b""),
        (by_cookie("id"), ["Cookie: other=1; id=abc; id=def"], b"abc"),
        (by_cookie("id"), ["Cookie: a=1", "Cookie: id=x=y"], b"x=y"),
        (by_cookie("id"), ["Cookie: id=1", "Cookie: id=2"], b"1"),
        (by_cookie("id"), ["Cookie: ID=1; xid=2; id"], b""),
        (by_cookie("id"), [], b""),
    ],
)
def test_keys(key_of: Any, lines: list[str], key: bytes) -> None:
    assert key_of(exchange(*lines, client_ip="192.0.2.9")) == key


def test_an_ipv6_client_stays_where_it_is_as_its_address_changes() -> None:
    keys = {by_client(exchange(client_ip=address)) for address in ("2001:db8::1", "2001:db8::ffff:2")}
    assert keys == {b"2001:db8::/64"}
