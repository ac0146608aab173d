"""Numbers of which the largest are kept, beside all of them in a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portico.core.slices import at_once
from portico.policies.counters.ranked import Ranked, Shared

KEYS = st.sampled_from("abcdefghij")


@given(st.lists(st.tuples(KEYS, st.integers(1, 50), st.integers(0, 30))))
def test_with_room_for_all_it_is_a_dictionary_of_what_is_above_the_floor(script: list[tuple[str, int, int]]) -> None:
    ranked: Ranked[str] = Ranked()
    model: dict[str, int] = {}
    floor = 0
    for key, number, more in script:
        floor = max(floor, more)
        model[key] = number
        ranked.put(key, number, floor)
        assert {key: ranked.get(key) for key in model if model[key] > floor} == {
            key: number for key, number in model.items() if number > floor
        }
    at_once(ranked.forgetting(50))
    assert not len(ranked)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 5))))
def test_the_largest_stay_however_the_others_come(script: list[tuple[int, int]]) -> None:
    ranked: Ranked[str] = Ranked(capacity=20)
    for number in range(10):
        ranked.put(f"large {number}", 1000.0 + number)
    for key, more in script:
        ranked.put(str(key), ranked.get(str(key)) + more)
        assert len(ranked) <= 20
    assert [ranked.get(f"large {number}") for number in range(10)] == [1000.0 + number for number in range(10)]


def test_one_that_grew_is_found_where_it_is_now() -> None:
    ranked: Ranked[int] = Ranked(capacity=1000)
    for key in range(1000):
        ranked.put(key, 1.0)
    ranked.put(0, 9.0)
    for key in range(1000, 3000):
        ranked.put(key, 2.0)
    assert ranked.get(0) == 9.0
    assert len(ranked) == 1000


def test_what_is_often_raised_does_not_let_it_grow() -> None:
    ranked: Ranked[int] = Ranked(capacity=100)
    for key in range(5000):
        for known in [*dict(ranked.items())]:
            ranked.put(known, ranked.get(known) + 1)
        ranked.put(key, 1.0)
    assert len(ranked) == 100


def test_bytes_are_bounded() -> None:
    ranked: Ranked[str] = Ranked(max_bytes=100_000)
    for number in range(5000):
        ranked.put(f"{number:01000}", float(number))
    assert 50 < len(ranked) < 100
    ranked.put("x" * 1_000_000, 1.0)
    assert ranked.get("x" * 1_000_000) == 0.0


def test_one_that_is_forgotten_goes_when_its_turn_comes() -> None:
    ranked: Ranked[str] = Ranked()
    ranked.put("a", 5.0)
    ranked.forget("a")
    ranked.forget("b")
    assert ranked.get("a") == 0.0
    ranked.put("a", 1.0)
    assert ranked.get("a") == 1.0
    at_once(ranked.forgetting(5.0))
    assert len(ranked) == 0


def test_forgetting_is_many_small_steps_between_which_others_may_come() -> None:
    ranked: Ranked[int] = Ranked()
    for key in range(10_000):
        ranked.put(key, float(key % 100 + 1))
    steps, count = ranked.forgetting(50.0), 0
    for _ in steps:
        ranked.put(20_000 + count, 100.0)
        ranked.put(count, 100.0)
        count += 1
    assert count > 70
    assert all(number > 50 for _, number in ranked.items())


def test_peeking_changes_nothing() -> None:
    ranked: Ranked[str] = Ranked()
    ranked.put("a", 5.0)
    peeked = ranked.peek()
    peeked.put("a", 6.0)
    peeked.put("b", 1.0)
    assert (peeked.get("a"), peeked.get("b")) == (6.0, 1.0)
    peeked.forget("a")
    assert peeked.get("a") == 0.0
    again = ranked.peek()
    again.forget("a")
    assert again.get("a") == 0.0
    assert dict(ranked.items()) == {"a": 5.0}


def test_many_share_their_bytes_and_each_keeps_its_part() -> None:
    shared = Shared(max_bytes=1_000_000)
    quiet: Ranked[int] = Ranked(shared=shared)
    for key in range(200):
        quiet.put(key, 1.0)
    flooded = [Ranked[int](shared=shared) for _ in range(9)]
    for key in range(5000):
        for each in flooded:
            each.put(key, 1.0 + key)
    assert shared.size <= 1_000_000 + 9 * 1000
    assert len(quiet) == 200
    for key in range(200, 1000):
        quiet.put(key, 1.0)
    assert 350 < len(quiet) < 500, "a tenth of a megabyte"
    assert shared.size <= 1_200_000
    quiet.peek().put(-1, 1.0)
    del each, flooded
    assert (shared.holders, shared.size < 150_000) == (1, True)
