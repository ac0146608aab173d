"""The adaptive limit before a simulated service: it settles and recovers, without collapse or endless growth."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import pytest

from portico.upstreams import adaptive_limit
from portico.upstreams.adaptive_limit import AdaptiveLimit

WORK = 0.02
"""Seconds that the simulated service works on one request."""


class World:
    """A clock, and a service of so many `servers` with a queue before them, behind the limit.

    `spread` says how unequal requests are: 0 alike, 1 exponential.
    """

    def __init__(self, limit: AdaptiveLimit, servers: int, spread: float = 1.0, seed: int = 1) -> None:
        self.now = 1000.0
        self.limit = limit
        self.servers = servers
        self.work = WORK
        self.spread = spread
        self.random = Random(seed)
        self.free: list[float] = []
        """When each busy server will be free."""
        self.ends: list[tuple[float, float]] = []
        """End and start of what is under way."""
        self.done = self.refused = 0
        self.limits: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def run(self, seconds: float, rate: float) -> None:
        """Let requests come at `rate` a second, by chance; counts begin anew."""
        self.done = self.refused = 0
        self.limits = []
        end = self.now + seconds
        while (coming := self.now + self.random.expovariate(rate)) < end:
            self.answer_until(coming)
            self.now = coming
            self.limits.append(self.limit.most)
            if self.limit.enter():
                self.begin()
            else:
                self.refused += 1
        self.answer_until(end)
        self.now = end

    def begin(self) -> None:
        work = self.work * (1 - self.spread + self.spread * self.random.expovariate(1.0))
        while self.free and (self.free[0] <= self.now or len(self.free) > self.servers):
            heapq.heappop(self.free)
        start = self.now
        if len(self.free) >= self.servers:
            start = heapq.heappop(self.free)
        heapq.heappush(self.free, start + work)
        heapq.heappush(self.ends, (start + work, self.now))

    def answer_until(self, moment: float) -> None:
        while self.ends and self.ends[0][0] <= moment:
            self.now, began = heapq.heappop(self.ends)
            self.done += 1
            self.limit.leave(began, self.now - began)

    @property
    def capacity(self) -> float:
        """Requests a second that the service can do."""
        return self.servers / self.work

    @property
    def level(self) -> float:
        """The limit on average, over the second half of a run."""
        half = self.limits[len(self.limits) // 2 :]
        return sum(half) / len(half)


Make = Callable[..., World]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def made(servers: int, spread: float = 1.0, seed: int = 1, least: int = 10, most: int = 1000) -> World:
        world = World(AdaptiveLimit(least, most), servers, spread, seed)
        monkeypatch.setattr(adaptive_limit, "time", world)
        return world

    return made


OVERLOADS = [2.0, 10.0]


@pytest.mark.parametrize("load", OVERLOADS)
@pytest.mark.parametrize(("servers", "spread"), [(1, 0.0), (4, 1.0), (20, 0.2), (60, 1.0)])
def test_it_settles_where_the_service_is_busy_and_not_much_above(
    make: Make, servers: int, spread: float, load: float
) -> None:
    """However long the overload lasts."""
    world = make(servers, spread)
    rate = min(load * world.capacity, 6000)
    levels = []
    for _ in range(3):
        world.run(20, rate)
        levels.append(world.level)
        assert world.done >= 0.85 * 20 * world.capacity
        assert world.refused > 0
    assert all(0.9 * servers <= level <= max(25, 3 * servers) for level in levels), levels


def test_it_is_out_of_the_way_while_the_service_keeps_up(make: Make) -> None:
    world = make(servers=20)
    world.run(30, 0.7 * world.capacity)
    assert world.refused <= 0.05 * world.done, "while it rises from its least"
    world.run(60, 0.7 * world.capacity)
    assert world.refused <= 0.005 * world.done


def test_it_does_not_grow_where_nobody_needs_it(make: Make) -> None:
    world = make(servers=1000)
    world.run(30, 20)
    assert world.limit.most == 10


def test_it_follows_a_service_that_slows_down_and_recovers(make: Make) -> None:
    world = make(servers=20)
    world.run(30, 1.5 * world.capacity)
    before = world.level
    world.work = 10 * WORK
    world.run(60, 10 * world.capacity)
    assert world.done >= 0.8 * 60 * world.capacity, "slow it may be, but busy"
    assert world.level <= 4 * world.servers
    world.work = WORK
    world.run(20, 0.7 * world.capacity)
    world.run(20, 0.7 * world.capacity)
    assert world.refused <= 0.02 * world.done, "what it learned in bad times is forgotten"
    world.run(60, 1.5 * world.capacity)
    assert before / 2 <= world.level <= 2 * before


def test_it_rises_fast_at_first(make: Make) -> None:
    world = make(servers=400, spread=0.2)
    world.run(5, 0.5 * world.capacity)
    world.run(5, 0.5 * world.capacity)
    assert not world.refused


@pytest.mark.parametrize(("least", "most"), [(3, 8), (50, 50)])
def test_it_keeps_within_its_bounds(make: Make, least: int, most: int) -> None:
    world = make(servers=20, least=least, most=most)
    world.run(40, 3 * world.capacity)
    assert least <= min(world.limits)
    assert max(world.limits) <= most


def test_a_service_that_fails_quickly_does_not_look_fast(make: Make) -> None:
    world = make(servers=20)
    world.run(20, 1.5 * world.capacity)
    before = world.limit.most
    for _ in range(100_000):
        world.now += 0.0001
        if world.limit.enter():
            world.limit.leave(world.now, 0.0001, answered=False)
    assert world.limit.most == before


def test_a_service_that_answers_no_more_lowers_the_limit(make: Make) -> None:
    world = make(servers=20)
    world.run(20, 1.5 * world.capacity)
    began = world.now
    for _ in range(50):
        running = world.limit.running
        for _ in range(world.limit.most - running):
            assert world.limit.enter()
        world.now += 5
        for _ in range(world.limit.running):
            world.limit.leave(began, 5.0, answered=False)
        began = world.now
    assert world.limit.most < 20


def test_other_bounds_keep_what_was_found_as_far_as_they_let_it(make: Make) -> None:
    world = make(servers=20)
    world.run(20, 1.5 * world.capacity)
    found = world.limit.most
    world.limit.rebound(5, 500)
    assert world.limit.most == found
    world.limit.rebound(1, 12)
    assert world.limit.most == 12
