"""Services: which instances may be chosen, retries within a budget, idle connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import pytest

from portico.upstreams import breaker as breaker_module
from portico.upstreams import budget as budget_module
from portico.upstreams import instance as instance_module
from portico.upstreams import service as service_module
from portico.upstreams.breaker import Breaker, Trip
from portico.upstreams.budget import Budget
from portico.upstreams.instance import Address, Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.service import Balancing, Retry, Service, Timeouts
from portico.wire.deadlines import NEVER, Deadlines
from portico.wire.http1.client import UpstreamConnection
from portico.wire.turn import Turn

from .members import NOBODY, Clock, FakeDeadlines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (budget_module, service_module, instance_module, breaker_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


class FakeConnection:
    def __init__(self, keep_alive_timeout: float | None = None) -> None:
        self.keep_alive_timeout = keep_alive_timeout
        self.idle_since = self.deadline = 0.0
        self.wakes = NEVER
        self.alive = True
        self.closed = False
        self.pending = b""
        self.socket: socket.socket | None = None

    @property
    def transport(self) -> FakeConnection:
        return self

    def is_closing(self) -> bool:
        return self.closed or not self.alive

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self.socket if name == "socket" else None

    def is_alive(self) -> bool:
        return not self.is_closing()

    def close(self) -> None:
        self.closed = True

    def as_connection(self) -> UpstreamConnection:
        return cast(UpstreamConnection, self)


def make_instance(name: str = "a:80", deadlines: FakeDeadlines | None = None, idle_time: float = 4.0) -> Instance:
    instance = Instance(Address(name), cast(Deadlines, deadlines or FakeDeadlines()), cast(Turn, None))
    instance.idle_time = idle_time
    return instance


def make_service(
    *instances: tuple[Instance, int], balancing: Balancing | None = None, deadlines: FakeDeadlines | None = None
) -> Service:
    timers = cast(Deadlines, deadlines or FakeDeadlines())
    return Service("s", instances, Timeouts(), Retry(), timers, balancing)


# ---- choice


def test_only_healthy_instances_are_chosen() -> None:
    a, b = make_instance("a"), make_instance("b")
    service = make_service((a, 2), (b, 1))

    def seen() -> list[str | None]:
        chosen = [service.choose((), NOBODY) for _ in range(6)]
        return sorted(each.name if each else "" for each in chosen)  # type: ignore[return-value]

    assert seen() == ["a"] * 4 + ["b"] * 2
    a.healthy = False
    service.refresh()
    assert seen() == ["b"] * 6
    b.healthy = False
    service.refresh()
    assert service.choose((), NOBODY) is None
    a.healthy = b.healthy = True
    service.refresh()
    assert seen() == ["a"] * 4 + ["b"] * 2


def test_the_tried_are_passed_over() -> None:
    a, b = make_instance("a"), make_instance("b")
    service = make_service((a, 1), (b, 1))
    assert {service.choose([a], NOBODY) for _ in range(4)} == {b}
    assert service.choose([a, b], NOBODY) is None


def failing(service: Service, instance: Instance) -> Breaker:
    """A breaker that one failure opens."""
    instance.breaker = Breaker(Trip(failures=1, open_for=10), cast(Deadlines, FakeDeadlines()), service.refresh)
    return instance.breaker


@pytest.mark.parametrize(
    ("count", "most", "out", "left"),
    [
        (2, 0.5, 1, 1),
        (2, 0.5, 2, 2),
        (3, 0.5, 1, 2),
        (3, 0.5, 2, 3),
        (4, 0.5, 2, 2),
        (10, 0.3, 3, 7),
        (10, 0.3, 4, 10),
        (3, 1.0, 2, 1),
        (3, 1.0, 3, 3),
        (3, 0.0, 1, 3),
        (3, None, 2, 1),
        (3, None, 3, 0),
    ],
)
def test_no_more_are_ejected_than_may_be(clock: Clock, count: int, most: float | None, out: int, left: int) -> None:
    """Beyond the bound everybody is needed again; without one, nobody may be left."""
    instances = [make_instance(str(number)) for number in range(count)]
    service = make_service(*((each, 1) for each in instances), balancing=Balancing(max_ejected=most))
    for each in instances:
        failing(service, each)
    for each in instances[:out]:
        assert each.breaker is not None
        each.breaker.failed("x")
    assert len(service.available) == left
    if left < count:
        assert set(service.available) == set(instances[out:])


def test_those_that_fail_their_checks_count_as_out_and_are_never_used(clock: Clock) -> None:
    a, b, c = (make_instance(name) for name in "abc")
    service = make_service((a, 1), (b, 1), (c, 1), balancing=Balancing(max_ejected=0.5))
    breaker = failing(service, b)
    a.healthy = False
    breaker.failed("x")
    assert service.available == [b, c], "two of three are more than half: b is needed"
    a.healthy = True
    service.refresh()
    assert service.available == [a, c]


def test_one_of_weight_0_gets_no_requests() -> None:
    a, b = make_instance("a"), make_instance("b")
    service = make_service((a, 0), (b, 2))
    assert service.available == [b]
    assert dict(service.exceptions(0.0)) == {a: InstanceState.DRAINED}
    b.healthy = False
    service.refresh()
    assert service.choose((), NOBODY) is None, "not even where there is no other"
    service.replace([(a, 0), (b, 0)])
    assert service.choose((), NOBODY) is None


@pytest.mark.parametrize("most", [None, 0.5])
def test_a_backup_is_used_where_no_other_can_be(clock: Clock, most: float | None) -> None:
    a, b, spare = (make_instance(name) for name in ("a", "b", "spare"))
    spare.is_backup = True
    service = make_service((a, 1), (b, 1), (spare, 1), balancing=Balancing(max_ejected=most))
    breakers = [failing(service, each) for each in (a, b)]
    assert service.available == [a, b]
    assert dict(service.exceptions(clock.now)) == {spare: InstanceState.BACKUP}
    a.healthy = False
    service.refresh()
    assert service.available == [b]
    breakers[1].failed("x")
    assert service.available == [spare]
    assert dict(service.exceptions(clock.now)) == {a: InstanceState.DOWN, b: InstanceState.EJECTED}
    spare.healthy = False
    service.refresh()
    assert service.available == ([] if most is None else [b]), "with a bound, what was ejected is used again"


def test_a_backup_helps_before_ejected_ones_are_used(clock: Clock) -> None:
    instances = [make_instance(str(number)) for number in range(3)]
    spare = make_instance("spare")
    spare.is_backup = True
    pairs = [(each, 1) for each in (*instances, spare)]
    service = make_service(*pairs, balancing=Balancing(max_ejected=0.5))
    for each in instances[:2]:
        failing(service, each).failed("x")
    assert service.available == [instances[2], spare]


def test_a_backup_is_tried_behind_all_others() -> None:
    a, b, spare, busy = (make_instance(name) for name in ("a", "b", "spare", "busy"))
    spare.is_backup = busy.is_backup = True
    busy.in_flight = 1
    service = make_service((a, 1), (b, 1), (busy, 1), (spare, 1))
    assert (len(service.available), service.reachable) == (2, 4)
    assert service.untried([a], NOBODY) is b
    assert service.untried([a, b], NOBODY) is spare
    assert service.untried([a, b, spare], NOBODY) is busy
    busy.healthy = False
    assert service.untried([a, b, spare], NOBODY) is None
    assert service.choose([a, b], NOBODY) is None


def test_what_somebody_says_stands_in_place_of_what_is_written() -> None:
    a, b, c = (make_instance(name) for name in "abc")
    c.is_backup = True
    service = make_service((a, 1), (b, 1), (c, 1))
    a.is_drained = True
    service.refresh()
    assert [*service.available] == [b]
    assert dict(service.exceptions(0.0))[a] is InstanceState.DRAINED
    b.weight = 0
    service.refresh()
    assert [*service.available] == [c], "the backup"
    c.is_drained = True
    service.refresh()
    assert [*service.available] == []
    assert service.choose((), NOBODY) is None
    a.is_drained, a.weight = False, 3
    service.refresh()
    assert [service.choose((), NOBODY) for _ in range(3)] == [a] * 3


def test_a_drained_one_is_not_used_where_too_many_are_ejected(clock: Clock) -> None:
    a, b, c = (make_instance(name) for name in "abc")
    service = make_service((a, 1), (b, 1), (c, 1), balancing=Balancing(max_ejected=0.5))
    a.is_drained = True
    service.refresh()
    for instance in (b, c):
        breaker = failing(service, instance)
        breaker.failed(object())
    service.refresh()
    assert {*service.available} == {b, c}, "which is panic, and a is no part of it"
    assert service.choose((b, c), NOBODY) is None


def test_no_circuit_is_open_where_all_are_drained(clock: Clock) -> None:
    a = make_instance("a")
    service = make_service((a, 1))
    failing(service, a)
    assert service.opens_in(clock.monotonic()) is not None
    a.is_drained = True
    service.refresh()
    assert service.opens_in(clock.monotonic()) is None, "nobody waits for it"


def test_how_long_a_circuit_stays_open(clock: Clock) -> None:
    a, b = make_instance("a"), make_instance("b")
    service = make_service((a, 1), (b, 1))
    assert service.opens_in(clock.now) is None
    for each in (a, b):
        failing(service, each).failed("x")
        clock.now += 4
    assert service.choose((), NOBODY) is None
    left = service.opens_in(clock.now)
    assert left is not None
    assert 2 <= left <= 3, "the first of them, with its jitter"
    a.healthy = b.healthy = False
    assert service.opens_in(clock.now) is None, "it is not breakers that keep requests away"


def test_one_that_comes_back_warms_up(clock: Clock) -> None:
    a, b = make_instance("a"), make_instance("b")
    deadlines = FakeDeadlines()
    service = make_service((a, 3), (b, 3), balancing=Balancing(slow_start=20), deadlines=deadlines)

    def share() -> float:
        names = [each.name for _ in range(200) if (each := service.choose((), NOBODY))]
        return names.count("a") / names.count("b")

    assert share() == 1
    assert not deadlines.set_to
    a.returned = clock.now
    service.refresh()
    shares = [round(share(), 1)]
    while deadlines.set_to:
        clock.now = deadlines.set_to.pop(id(service)) + 0.01
        service.deadline = NEVER
        service.deadline_passed()
        shares.append(round(share(), 1))
    assert shares == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_what_is_said_of_instances(clock: Clock) -> None:
    a, b, c, d = (make_instance(name) for name in "abcd")
    balancing = Balancing(max_ejected=0.5, slow_start=20)
    service = make_service(*((each, 1) for each in (a, b, c, d)), balancing=balancing)

    def said() -> dict[str, str]:
        return {instance.name: state.value for instance, state in service.exceptions(clock.now)}

    breakers = {each: failing(service, each) for each in (a, b, c)}
    assert said() == {}
    breakers[a].failed("x")
    breakers[b].failed("x")
    assert said() == {"a": "ejected", "b": "ejected"}
    breakers[c].failed("x")
    assert said() == {"a": "panic", "b": "panic", "c": "panic"}, "more are out than may be"
    breakers[c].deadline_passed()
    assert said() == {"a": "ejected", "b": "ejected", "c": "half_open"}
    breakers[c].started("trial")
    assert said()["c"] == "half_open"
    breakers[c].answered("trial")
    c.returned = clock.now
    d.healthy = False
    service.refresh()
    assert said() == {"a": "panic", "b": "panic", "c": "slow_start", "d": "down"}
    clock.now += 20
    assert "c" not in said(), "it is warm"


def test_an_instance_that_asked_for_backoff(clock: Clock) -> None:
    a, b = make_instance("a"), make_instance("b")
    service = make_service((a, 1), (b, 1))
    a.backoff_until = clock.now + 3
    assert (service.backing_off(clock.now), service.has_ready(clock.now)) == ([a], True)
    b.backoff_until = clock.now + 5
    assert not service.has_ready(clock.now)
    assert service.has_ready(clock.now + 4)


# ---- the budget


def spent(budget: Budget, share: float, wanted: int) -> int:
    return sum(budget.spend(share) for _ in range(wanted))


@pytest.mark.parametrize(("requests", "share", "allowed"), [(0, 0.2, 10), (100, 0.2, 30), (100, 0.0, 0), (50, 1.0, 60)])
def test_retries_are_a_share_of_requests_above_a_floor(clock: Clock, requests: int, share: float, allowed: int) -> None:
    budget = Budget(since=clock.now)
    for _ in range(requests):
        budget.note_request(clock.now)
    assert spent(budget, share, 1000) == allowed
    assert not budget.spend(share)


def test_a_budget_that_is_spent_comes_back(clock: Clock) -> None:
    budget = Budget(since=clock.now)
    assert spent(budget, 0.2, 1000) == 10
    clock.now += 60
    assert spent(budget, 0.2, 1000) >= 5


def test_an_outage_after_a_long_quiet_time_is_bounded_by_what_came_lately(clock: Clock) -> None:
    """A day of requests without a retry is no credit: they are gone, and so is what they could have borne."""
    budget = Budget(since=clock.now)
    for _ in range(1000):
        clock.now += 1
        for _ in range(100):
            budget.note_request(clock.now)
    lately = 100 * 22  # two windows, each ended by the first request after its ten seconds
    assert spent(budget, 0.2, 100_000) <= 10 + 0.2 * lately


# ---- idle connections


def test_the_last_used_connection_is_taken_first(clock: Clock) -> None:
    instance = make_instance()
    first, second = FakeConnection(), FakeConnection()
    for connection in (first, second):
        instance.give_back(connection.as_connection())
    taken: list[object] = [instance.take(only_once=False) for _ in range(3)]
    assert taken == [second, first, None]


def test_a_connection_on_which_something_came_unasked_is_closed_rather_than_taken(clock: Clock) -> None:
    instance = make_instance()
    first, second = FakeConnection(), FakeConnection()
    for connection in (first, second):
        instance.give_back(connection.as_connection())
    second.pending = b"?"
    assert instance.take(only_once=False) is cast(object, first)
    assert second.closed
    assert not first.closed


def test_dead_connections_are_passed_over(clock: Clock) -> None:
    instance = make_instance()
    first, second = FakeConnection(), FakeConnection()
    for connection in (first, second):
        instance.give_back(connection.as_connection())
    second.alive = False
    assert instance.take(only_once=False) is cast(object, first)
    assert instance.take(only_once=False) is None


@pytest.mark.parametrize(("age", "only_once", "taken"), [(0.5, True, True), (2.0, True, False), (2.0, False, True)])
def test_a_request_that_must_not_be_sent_twice_wants_a_fresh_connection(
    clock: Clock, age: float, only_once: bool, taken: bool
) -> None:
    instance = make_instance()
    instance.give_back(FakeConnection().as_connection())
    clock.now += age
    assert (instance.take(only_once) is not None) == taken


@pytest.mark.parametrize("only_once", [True, False])
@pytest.mark.parametrize("said", [None, b"", b"unasked"])
def test_a_request_that_must_not_be_sent_twice_is_sent_on_no_connection_that_has_ended(
    clock: Clock, said: bytes | None, only_once: bool
) -> None:
    """The kernel knows of an end, or of unrequested bytes, before the event loop has read it."""
    instance, connection = make_instance(), FakeConnection()
    connection.socket, service = socket.socketpair()
    with connection.socket, service:
        instance.give_back(connection.as_connection())
        if said is not None:
            service.sendall(said)
            service.shutdown(socket.SHUT_WR)
        is_taken = instance.take(only_once) is not None
    assert is_taken == (said is None or not only_once)
    assert connection.closed != is_taken


def doubtful(instance: Instance) -> FakeConnection:
    """An idle connection whose last response was a 5xx."""
    own = FakeConnection()
    instance.give_back(own.as_connection())
    instance.doubt(own.as_connection())
    return own


@pytest.mark.parametrize(
    ("age", "only_once", "taken"),
    [
        (0.0, True, False),
        (0.2, True, False),
        (0.3, True, True),
        (0.7, True, True),
        (1.0, True, False),
        (0.0, False, True),
        (2.0, False, True),
    ],
)
def test_after_a_5xx_a_connection_has_to_prove_that_it_stays_open(
    clock: Clock, age: float, only_once: bool, taken: bool
) -> None:
    """uvicorn closes behind the answer to an unhandled exception, and does not say so."""
    instance = make_instance()
    doubtful(instance)
    clock.now += age
    assert (instance.take(only_once) is not None) == taken
    assert (instance.take(only_once=False) is not None) == (not taken), "it is kept for others"


def test_a_doubtful_connection_is_the_last_choice(clock: Clock) -> None:
    instance = make_instance()
    last = doubtful(instance)
    sound = FakeConnection()
    instance.give_back(sound.as_connection())
    taken: list[object] = [instance.take(only_once=False) for _ in range(3)]
    assert taken == [sound, last, None]


def test_a_doubtful_connection_is_closed_for_a_new_one_and_with_its_instance(clock: Clock) -> None:
    instance = make_instance()
    connections = [doubtful(instance) for _ in range(3)]
    instance.rebound(4.0, 2)
    assert [connection.closed for connection in connections] == [True, False, False]
    connections[1].alive = False
    instance.prune()
    assert instance.take(only_once=False) is cast(object, connections[2])
    last = doubtful(instance)
    instance.close()
    assert last.closed


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
    assert (instance.take(only_once=False) is None) == (kept_for is None)


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
    assert (instance.take(only_once=False) is None) == (end is Instance.close)


def test_a_refused_connection_has_its_phase(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("socket") / "nobody"
    instance = Instance(Address("nobody", path=str(path)), cast(Deadlines, FakeDeadlines()), cast(Turn, None))
    with pytest.raises(Exception, match="refused the connection") as caught:
        asyncio.run(instance.connect(5.0))
    assert getattr(caught.value, "phase", None) == "connect"


def test_what_failed_when_its_time_had_come_is_done_again(clock: Clock) -> None:
    timers = FakeDeadlines()
    service = make_service((make_instance(), 1), deadlines=timers)
    breaker = Breaker(Trip(), cast(Deadlines, timers), lambda: None)
    for each in (service, breaker):
        each.faulted()
        assert clock.now < each.deadline <= clock.now + 5
