"""Services: healthy instances in turn, retries within a budget, idle connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from portico.upstreams import instance as instance_module
from portico.upstreams import service as service_module
from portico.upstreams.instance import Address, Instance
from portico.upstreams.service import Retry, RetryBudget, Service, Timeouts
from portico.wire.client import UpstreamConnection
from portico.wire.deadlines import Deadlines
from portico.wire.writing import Outbox


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(service_module, "time", clock)
    monkeypatch.setattr(instance_module, "time", clock)
    return clock


class FakeDeadlines:
    def __init__(self) -> None:
        self.set_to: dict[int, float] = {}

    def set(self, item: FakeConnection, deadline: float) -> None:
        self.set_to[id(item)] = deadline


class FakeConnection:
    def __init__(self, keep_alive_timeout: float | None = None) -> None:
        self.keep_alive_timeout = keep_alive_timeout
        self.idle_since = 0.0
        self.alive = True
        self.closed = False

    def is_alive(self) -> bool:
        return self.alive and not self.closed

    def close(self) -> None:
        self.closed = True

    def as_connection(self) -> UpstreamConnection:
        return cast(UpstreamConnection, self)


def make_instance(name: str = "a:80", deadlines: FakeDeadlines | None = None, idle_time: float = 4.0) -> Instance:
    instance = Instance(Address(name), cast(Deadlines, deadlines or FakeDeadlines()), cast(Outbox, None))
    instance.idle_time = idle_time
    return instance


# ---- choice


def test_only_healthy_instances_have_turns() -> None:
    a, b = make_instance("a"), make_instance("b")
    service = Service("s", [(a, 2), (b, 1)], Timeouts(), Retry())

    def seen() -> list[str | None]:
        chosen = [service.choose() for _ in range(6)]
        return sorted(each.name if each else "" for each in chosen)  # type: ignore[return-value]

    assert seen() == ["a"] * 4 + ["b"] * 2
    a.healthy = False
    service.refresh()
    assert seen() == ["b"] * 6
    b.healthy = False
    service.refresh()
    assert service.choose() is None
    a.healthy = b.healthy = True
    service.refresh()
    assert seen() == ["a"] * 4 + ["b"] * 2


def test_the_tried_are_passed_over() -> None:
    a, b = make_instance("a"), make_instance("b")
    service = Service("s", [(a, 1), (b, 1)], Timeouts(), Retry())
    assert {service.choose([a]) for _ in range(4)} == {b}
    assert service.choose([a, b]) is None


# ---- the budget


def spent(budget: RetryBudget, wanted: int) -> int:
    return sum(budget.spend() for _ in range(wanted))


@pytest.mark.parametrize(("requests", "share", "allowed"), [(0, 0.2, 10), (100, 0.2, 30), (100, 0.0, 0), (50, 1.0, 60)])
def test_retries_are_a_share_of_requests_above_a_floor(clock: Clock, requests: int, share: float, allowed: int) -> None:
    budget = RetryBudget(share, _since=clock.now)
    for _ in range(requests):
        budget.note_request(clock.now)
    assert spent(budget, 1000) == allowed
    assert not budget.spend()


def test_a_budget_that_is_spent_comes_back(clock: Clock) -> None:
    budget = RetryBudget(0.2, _since=clock.now)
    assert spent(budget, 1000) == 10
    clock.now += 60
    assert spent(budget, 1000) >= 5


def test_an_outage_after_a_long_quiet_time_is_bounded_by_what_came_lately(clock: Clock) -> None:
    """A day of requests without a retry is no credit: they are gone, and so is what they could have borne."""
    budget = RetryBudget(0.2, _since=clock.now)
    for _ in range(1000):
        clock.now += 1
        for _ in range(100):
            budget.note_request(clock.now)
    lately = 100 * 22  # two windows, each ended by the first request after its ten seconds
    assert spent(budget, 100_000) <= 10 + 0.2 * lately


# ---- idle connections


def test_the_last_used_connection_is_taken_first(clock: Clock) -> None:
    instance = make_instance()
    first, second = FakeConnection(), FakeConnection()
    for connection in (first, second):
        instance.give_back(connection.as_connection())
    taken: list[object] = [instance.take(recently_used=False) for _ in range(3)]
    assert taken == [second, first, None]


def test_dead_connections_are_passed_over(clock: Clock) -> None:
    instance = make_instance()
    first, second = FakeConnection(), FakeConnection()
    for connection in (first, second):
        instance.give_back(connection.as_connection())
    second.alive = False
    assert instance.take(recently_used=False) is cast(object, first)
    assert instance.take(recently_used=False) is None


@pytest.mark.parametrize(("age", "recently_used", "taken"), [(0.5, True, True), (2.0, True, False), (2.0, False, True)])
def test_a_request_that_must_not_be_sent_twice_wants_a_fresh_connection(
    clock: Clock, age: float, recently_used: bool, taken: bool
) -> None:
    instance = make_instance()
    instance.give_back(FakeConnection().as_connection())
    clock.now += age
    assert (instance.take(recently_used) is not None) == taken


@pytest.mark.parametrize(
    ("idle_time", "advised", "kept_for"),
    [(4.0, None, 4.0), (4.0, 60.0, 4.0), (4.0, 3.0, 2.0), (4.0, 1.0, None), (4.0, 0.0, None), (0.5, None, 0.5)],
)
def test_a_connection_is_kept_no_longer_than_either_side_wants(
    clock: Clock, idle_time: float, advised: float | None, kept_for: float | None
) -> None:
    deadlines = FakeDeadlines()
    instance = make_instance(deadlines=deadlines, idle_time=idle_time)
    connection = FakeConnection(advised)
    instance.give_back(connection.as_connection())
    assert connection.closed == (kept_for is None)
    assert deadlines.set_to == ({} if kept_for is None else {id(connection): clock.now + kept_for})
    assert (instance.take(recently_used=False) is None) == (kept_for is None)


@pytest.mark.parametrize("end", [Instance.close, Instance.prune])
def test_what_is_idle_ends_with_the_instance_or_is_forgotten_when_dead(
    clock: Clock, end: Callable[[Instance], None]
) -> None:
    instance = make_instance()
    alive, dead = FakeConnection(), FakeConnection()
    dead.alive = False
    for connection in (alive, dead):
        instance.give_back(connection.as_connection())
    end(instance)
    assert alive.closed == (end is Instance.close)
    assert (instance.take(recently_used=False) is None) == (end is Instance.close)


def test_a_refused_connection_is_told_by_its_leg(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("socket") / "nobody"
    instance = Instance(Address("nobody", path=str(path)), cast(Deadlines, FakeDeadlines()), cast(Outbox, None))
    with pytest.raises(Exception, match="refused the connection") as caught:
        asyncio.run(instance.connect(5.0))
    assert getattr(caught.value, "leg", None) == "connect"
