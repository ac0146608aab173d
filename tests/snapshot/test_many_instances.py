"""What many instances cost when they come and go: eight times as many, about eight times as much, not sixty-four."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from portico.core.found import Found
from portico.core.slices import at_once
from portico.snapshot import instances, live
from portico.upstreams import round_robin, service

from .test_builder import World

_FILES = (live.__file__, service.__file__, instances.__file__, round_robin.__file__)


def steps(do: Callable[[], Any]) -> int:
    """The lines that live services go through, those of loops counted each time."""
    count = 0

    def count_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return count_line if frame.f_code.co_filename in _FILES else None

    before = sys.gettrace()
    sys.settrace(count_line)
    try:
        do()
    finally:
        sys.settrace(before)
    return count


def found(network: int, count: int) -> list[Found]:
    return [Found(f"http://10.{network}.{number // 256}.{number % 256}") for number in range(count)]


def cost(count: int, change: str) -> int:
    """Of one change while `count` instances are registered."""
    world = World(discover="admin", instances=[{"url": "https://written.test"}])
    discover, discovering = world.builder.live.discover, world.builder.live.discovering
    discover("a", found(0, count))
    changes: dict[str, Callable[[], Any]] = {
        "as many more come": lambda: discover("a", found(0, count) + found(1, count)),
        "all go": lambda: discover("a", []),
        "others take their place": lambda: discover("a", found(1, count)),
        "a reload has none of them": lambda: world.build(url="http://other"),
        "one more comes": lambda: at_once(discovering("a", {"http://h": [Found("http://h")]})),
        "one goes": lambda: at_once(discovering("a", {found(0, 1)[0].url: []})),
        "one is down": lambda: world.builder.live.set_health([("a", found(0, 1)[0].url, False)]),
        "all are down": lambda: world.builder.live.set_health([("a", each.url, False) for each in found(0, count)]),
    }
    return steps(changes[change])


@pytest.mark.parametrize(
    "change",
    ["as many more come", "all go", "others take their place", "a reload has none of them", "all are down"],
)
def test_changes_cost_as_much_as_there_are_instances(change: str) -> None:
    """A worker that did ten thousand squared would be taken for one that hangs."""
    assert cost(160, change) < 10 * cost(20, change)


@pytest.mark.parametrize("change", ["one more comes", "one goes", "one is down"])
def test_what_becomes_of_one_does_not_cost_a_look_at_the_others(change: str) -> None:
    assert cost(160, change) == cost(20, change)
