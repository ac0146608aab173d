"""The dictionary that forgets."""

from __future__ import annotations

from sys import getsizeof

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.policies.counters.generations import Generations

actions = st.lists(st.tuples(st.sampled_from(["put", "put", "get", "discard"]), st.integers(0, 12)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(actions, st.integers(1, 5))
def test_against_a_plain_dictionary(script: list[tuple[str, int]], capacity: int) -> None:
    """What it holds is right, what was used lately is there, and it never holds more than twice its capacity."""
    entries: Generations[int, int] = Generations(capacity)
    model: dict[int, int] = {}
    recent: list[int] = []
    for number, (action, key) in enumerate(script, 1):
        if action == "discard":
            entries.discard(key)
            model.pop(key, None)
            recent = [-1 if each == key else each for each in recent]  # it counted towards the capacity all the same
        elif action == "put":
            entries.put(key, number)
            model[key] = number
            recent = [*(each for each in recent if each != key), key]
        else:
            value = entries.get(key)
            assert value in (None, model.get(key))
            if key in recent[-capacity:]:
                assert value == model[key]
            if value is not None:
                recent = [*(each for each in recent if each != key), key]
        assert len(entries) <= 2 * capacity
    for key in {*recent[-capacity:]} - {-1}:
        assert (entries.young.get(key) or entries.old.get(key)) == model[key]


def test_an_entry_in_use_outlives_any_number_of_others() -> None:
    entries: Generations[str, int] = Generations(10)
    entries.put("used", 1)
    for number in range(1000):
        entries.put(str(number), number)
        if number % 9 == 0:
            assert entries.get("used") == 1
    assert entries.get("0") is None


def test_two_rotations_drop_what_is_unused_between() -> None:
    entries: Generations[str, int] = Generations(10)
    entries.put("a", 1)
    entries.put("b", 2)
    entries.rotate()
    assert entries.get("a") == 1
    entries.rotate()
    assert (entries.get("a"), entries.get("b")) == (1, None)


@pytest.mark.parametrize("length", [1, 60, 1000])
def test_long_keys_reduce_how_many_entries_fit(length: int) -> None:
    entries: Generations[str, int] = Generations(1000, max_bytes=50_000)
    for number in range(5000):
        entries.put(f"{number:0{length}}", number)
        size = sum(getsizeof(key) for key in (*entries.young, *entries.old))
        assert size <= 2 * 50_000
    assert entries.get(f"{4999:0{length}}") == 4999


def test_large_values_reduce_how_many_entries_fit() -> None:
    entries: Generations[int, bytes] = Generations(1000, max_bytes=100_000, weigh=len)
    for number in range(200):
        entries.put(number, bytes(10_000))
    assert 8 <= len(entries) <= 20


def test_replaced_and_removed_entries_free_their_bytes() -> None:
    entries: Generations[str, int] = Generations(10, max_bytes=2_000)
    for _ in range(100):
        entries.put("a", 1)
        entries.put("b", 2)
        entries.discard("b")
    assert (entries.young, entries.old) == ({"a": 1}, {})
