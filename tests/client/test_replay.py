"""Identities that were used are remembered, within bounds."""

from __future__ import annotations

from portico.client.replay import Seen


def test_once_until_it_expires() -> None:
    seen = Seen()
    assert seen.first_use("a", expires=10, now=0)
    assert not seen.first_use("a", expires=10, now=9)
    assert seen.first_use("b", expires=30, now=20)
    assert len(seen) == 1, "what has expired is refused for that, and need not be remembered"


def test_never_more_than_the_capacity() -> None:
    seen = Seen(capacity=3)
    for number in range(10):
        assert seen.first_use(f"id{number}", expires=100 + number, now=0)
    assert len(seen) == 3
    for number in range(10):
        assert not seen.first_use(f"id{number}", expires=100 + number, now=0), "forgotten is not the same as new"
    assert not seen.first_use("late", expires=105, now=0)
    assert seen.first_use("new", expires=120, now=0)
