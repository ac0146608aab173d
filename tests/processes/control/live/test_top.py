"""Who comes most, and when each route was last hit."""

from __future__ import annotations

import pytest

from portico.processes.control.live import top as top_module
from portico.processes.control.live.top import Top


class Clock:
    """The times that `time` gives."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wall = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def passes(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(top_module, "time", clock)
    return clock


def counted(**counts: dict[str, int]) -> dict[str, dict[str, int]]:
    return {"routes": {}, "consumers": {}, "paths": {}, "clients": {}} | counts


def test_rates_are_of_the_last_minute_and_of_all_workers(clock: Clock) -> None:
    top = Top()
    top.begin()
    clock.passes(10)
    top.add(counted(consumers={"ann": 20, "bob": 1}))
    top.add(counted(consumers={"ann": 30}))
    assert top.named(1)["consumers"] == [{"name": "ann", "rate": 5.0}]
    clock.passes(80)
    assert top.named(5) == {"window": 60, "consumers": [], "paths": [], "clients": []}


def test_a_route_that_was_hit_says_when_even_if_the_clock_was_set(clock: Clock) -> None:
    top = Top()
    top.begin()
    clock.passes(5)
    top.add(counted(routes={"shop": 10}))
    clock.passes(3)
    clock.wall -= 7200
    shop, cart = top.routes(["shop", "cart"], 100)
    assert (shop["rate"], shop["last_hit"]) == (1.25, clock.wall - 3)
    assert (cart["rate"], cart["last_hit"]) == (0.0, None)
    assert top.since() == clock.wall - 8


def test_of_many_routes_those_are_shown_that_were_hit_last(clock: Clock) -> None:
    top = Top()
    top.begin()
    names = [f"r{number}" for number in range(10_000)]
    top.add(counted(routes={"r7000": 1}))
    clock.passes(1)
    top.add(counted(routes={"r9000": 1}))
    assert [route["name"] for route in top.routes(names, 3)] == ["r9000", "r7000", "r0"]


def test_a_route_that_is_gone_is_forgotten(clock: Clock) -> None:
    top = Top()
    top.begin()
    clock.passes(1)
    top.add(counted(routes={"old": 1, "shop": 1}))
    assert [route["name"] for route in top.routes(["shop"], 100)] == ["shop"]
    assert top.routes(["shop", "old"], 100)[1]["last_hit"] is None


def test_what_was_watched_before_is_not_known_any_more(clock: Clock) -> None:
    top = Top()
    top.begin()
    top.add(counted(routes={"shop": 1}, paths={"/x": 1}))
    top.end()
    assert top.since() is None
    clock.passes(3)
    top.begin()
    assert top.named(5)["paths"] == []
    assert top.routes(["shop"], 100)[0]["last_hit"] is None


def test_names_that_are_ever_new_are_bounded(clock: Clock) -> None:
    top = Top()
    top.begin()
    for second in range(120):
        top.add(counted(paths={f"/{second}/{number}": 1 for number in range(100)}))
        clock.passes(1)
    assert sum(len(span.counts["paths"]) for span in top._spans) <= 12 * 500
