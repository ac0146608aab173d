"""Rings for consistent hashing: the points are where a ring made anew would have them, whatever came and went."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from portico.core.slices import at_once
from portico.upstreams.ring import Ring

from .members import Member


def ring(weights: dict[Member, int]) -> Ring[Member]:
    made: Ring[Member] = Ring()
    at_once(made.following(weights))
    return made


def order(of: Ring[Member], seed: int = 0) -> list[list[Member]]:
    """The members behind some places, once around."""
    random = Random(seed)
    places = [0, 2**64 - 1, *(random.randrange(2**64) for _ in range(20))]
    return [[*of.after(place)] for place in places]


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_that_has_changed_is_as_one_made_anew(seed: int) -> None:
    random = Random(seed)
    members = [Member(f"10.0.0.{number}:80") for number in range(30)]
    weights: dict[Member, int] = {}
    changed: Ring[Member] = Ring()
    kept: list[tuple[Ring[Member], list[list[Member]]]] = []
    for _ in range(10):
        for member in random.sample(members, 6):
            weights.pop(member, None)
            if random.random() < 0.7:
                weights[member] = random.choice((1, 10, 10, 30, 500))
        if random.random() < 0.5:  # as at a reload, where the ring of the last snapshot is in use still
            kept.append((changed, order(changed)))
            before, changed = changed, Ring()
            changed.copy(before)
        at_once(changed.following(weights))
        assert changed.weights == weights
        assert order(changed) == order(ring(weights))
    for other, expected in kept:
        assert order(other) == expected, "what the copy became changed nothing here"
    at_once(changed.following({}))
    assert order(changed) == [[]] * 22


def test_members_of_one_name_come_and_go_by_themselves() -> None:
    """As while the TLS of an instance changes: every point of the one is one of the other."""
    one, other, third = Member("a:80"), Member("a:80"), Member("b:80")
    changed = ring({one: 500, third: 500})
    at_once(changed.following({one: 500, other: 500, third: 500}))
    assert set(changed.after(7)) == {one, other, third}
    at_once(changed.following({other: 500, third: 500}))
    assert order(changed) == order(ring({other: 500, third: 500}))
    at_once(changed.following({third: 500}))
    assert set(islice(changed.after(7), 9000)) == {third}


def test_another_member_takes_keys_and_moves_none_between_the_others() -> None:
    a, b, c = (Member(name) for name in "abc")
    few, many = ring({a: 10, b: 10}), ring({a: 10, b: 10, c: 10})
    moved = 0
    for place in range(0, 2**64, 2**64 // 300):
        before, now = next(few.after(place)), next(many.after(place))
        assert now in (before, c)
        moved += now is c
    assert 60 < moved < 140
