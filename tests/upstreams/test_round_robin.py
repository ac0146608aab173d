"""Turns by weight."""

from __future__ import annotations

from collections import Counter
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.upstreams.round_robin import RoundRobin, smooth_cycle

from .members import NOBODY


@pytest.mark.parametrize(
    ("weights", "cycle"),
    [
        ([], ""),
        ([1], "a"),
        ([7], "a"),
        ([1, 1], "ab"),
        ([3, 3, 3], "abc"),
        ([2, 1], "aba"),
        ([5, 1, 1], "aabacaa"),
        ([4, 2], "aba"),
        ([1, 3], "bbab"),
    ],
)
def test_cycles_are_those_of_nginx(weights: list[int], cycle: str) -> None:
    assert "".join(smooth_cycle("abc"[: len(weights)], weights)) in rotations(cycle)


def rotations(cycle: str) -> set[str]:
    return {cycle[index:] + cycle[:index] for index in range(len(cycle) or 1)}


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_each_has_its_share_in_a_cycle_and_nobody_gets_ahead(weights: list[int]) -> None:
    members = list(range(len(weights)))
    cycle = smooth_cycle(members, weights)
    divisor = gcd(*weights)
    assert Counter(cycle) == {member: weight // divisor for member, weight in zip(members, weights, strict=True)}
    for length in range(1, len(cycle) + 1):
        for member, count in Counter(cycle[:length]).items():
            assert count < length * weights[member] / sum(weights) + 1


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 4))
def test_choices_go_round(weights: list[int], rounds: int) -> None:
    members = list(range(len(weights)))
    balancer = RoundRobin(members, weights)
    chosen = [balancer.choose((), NOBODY) for _ in range(rounds * sum(weights))]
    assert Counter(chosen) == {member: rounds * weight for member, weight in zip(members, weights, strict=True)}


@given(st.lists(st.integers(1, 4), max_size=4), st.sets(st.integers(0, 3)), st.integers(0, 9))
def test_the_excluded_are_passed_over(weights: list[int], excluded: set[int], spent: int) -> None:
    members = list(range(len(weights)))
    balancer = RoundRobin(members, weights)
    for _ in range(spent):
        balancer.choose((), NOBODY)
    left: set[int | None] = {member for member in members if member not in excluded}
    chosen: set[int | None] = {balancer.choose(sorted(excluded), NOBODY) for _ in range(2 * sum(weights) + 1)}
    assert chosen == (left or {None})
