"""What goes from one snapshot to the next: whose turn it is, and what second tries have used up."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from portico.config import Config
from portico.core.exchange import RouteMatch
from portico.core.found import Found
from portico.core.slices import at_once
from portico.observe.metrics import Metrics
from portico.policies import Chain
from portico.proxy.gateway import Snapshot
from portico.proxy.routing.route import Route
from portico.snapshot import builder as builder_module
from portico.snapshot.builder import Counting, SnapshotBuilder
from portico.upstreams import round_robin
from portico.upstreams.budget import Budget
from portico.upstreams.named_instance import NamedInstance
from portico.upstreams.service import Service
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn
from upstreams.members import FakeDeadlines, exchange

ANYBODY = exchange()
BALANCING = ["round_robin", "least_connections", {"consistent_hash": {"header": "X-None"}}]


@pytest.fixture(autouse=True)
def same_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_robin, "randrange", Random(7).randrange)


class World:
    """A worker's builder, and the service `a` of the snapshot that it built last."""

    def __init__(self, **service: Any) -> None:
        timers = cast(Deadlines, FakeDeadlines())
        self.builder = SnapshotBuilder(timers, cast(Turn, None), Path("/control"), {}, Metrics())
        self.generation = 0
        self.build(**service)

    def build(self, **service: Any) -> Service:
        """A reload: the service as it is configured now."""
        self.generation += 1
        snapshot = self.builder.build(Config.model_validate({"services": {"a": service}}), self.generation)
        self.service = service_of(snapshot)
        return self.service

    def choose(self) -> str:
        """The instance that the next request goes to; the request is over before the next one comes."""
        instance = self.service.choose((), ANYBODY)
        assert instance is not None
        return instance.name


def service_of(snapshot: Snapshot, path: str = "/api/a/x") -> Service:
    """The service that requests for a path go to."""
    return route_of(snapshot, path).handling.service


def route_of(snapshot: Snapshot, path: str = "/api/a/x") -> Route:
    match = snapshot.matcher.find(cast(Any, ANYBODY.request), path.encode())
    assert isinstance(match, RouteMatch)
    assert isinstance(match.route, Route)
    return match.route


def instances(*names: str, **weights: int) -> list[dict[str, Any]]:
    return [{"url": f"http://{name}", "weight": weights.get(name, 1)} for name in names]


def used_up(budget: Budget) -> int:
    """How many second tries were left in it."""
    return sum(budget.spend(0.0001) for _ in range(1000))


# ---- whose turn it is


@pytest.mark.parametrize("balancing", BALANCING, ids=str)
def test_a_request_between_any_two_reloads_goes_round(balancing: Any) -> None:
    written = {"instances": instances("a", "b", "c"), "load_balancing": balancing}
    world = World(**written)
    seen: Counter[str] = Counter()
    for _ in range(60):
        seen[world.choose()] += 1
        world.build(**written)
    assert seen == {"a": 20, "b": 20, "c": 20}


@pytest.mark.parametrize("balancing", BALANCING, ids=str)
def test_weights_hold_over_reloads(balancing: Any) -> None:
    written = {"instances": instances("a", "b", b=3), "load_balancing": balancing}
    world = World(**written)
    seen: Counter[str] = Counter()
    for _ in range(40):
        seen[world.choose()] += 1
        world.build(**written)
    assert seen == {"a": 10, "b": 30}


@pytest.mark.parametrize("balancing", BALANCING, ids=str)
@pytest.mark.parametrize("by", ["reload", "discover", "health", "weight"])
def test_nobody_is_favoured_where_the_instances_change_with_every_request(balancing: Any, by: str) -> None:
    """One instance comes and goes, or counts more and less; the others share evenly what is sent meanwhile."""
    few, many = instances("a", "b", "c"), instances("a", "b", "c", "z")
    more = {"load_balancing": balancing, "health_check": False, "discover": "admin" if by == "discover" else False}
    world = World(instances=few if by in ("reload", "discover") else many, **more)
    seen: Counter[str] = Counter()
    for turn in range(300):
        seen[world.choose()] += 1
        if by == "reload":
            world.build(instances=many if turn % 2 else few, **more)
        elif by == "discover":
            world.builder.live.discover("a", [Found("http://z")] if turn % 2 else [])
        elif by == "health":
            world.builder.live.set_health([("a", "http://z", turn % 2 == 0)])
        else:
            world.build(instances=instances("a", "b", "c", "z", z=1 + turn % 2), **more)
    share = (300 - seen["z"]) / 3
    assert seen["z"] > 12
    for name in "abc":
        assert abs(seen[name] - share) < 0.35 * share, seen


def test_another_way_to_balance_begins_anew() -> None:
    """Nothing of the turns before makes sense then: no fault, and everybody gets requests."""
    world = World(instances=instances("a", "b"))
    seen: Counter[str] = Counter()
    for turn in range(40):
        world.build(instances=instances("a", "b"), load_balancing=BALANCING[turn % 3])
        seen.update(world.choose() for _ in range(4))
    assert seen == {"a": 80, "b": 80}


def test_a_worker_that_has_reloaded_holds_no_older_snapshot() -> None:
    """What goes on is handed over, not hung on a chain of services that grows with every reload."""
    world = World(instances=instances("a", "b"))
    first = weakref.ref(world.service)
    for _ in range(3):
        world.build(instances=instances("a", "b"))
    gc.collect()
    assert first() is None


def test_a_snapshot_that_is_replaced_is_freed_at_once() -> None:
    """What is built with one the garbage collector never looks at: a circle in it would be there for ever."""
    world = World(instances=instances("a", "b"))
    gc.collect()
    gc.disable()
    try:
        routes = world.builder._routes.routes
        assert routes is not None
        gone = weakref.ref(routes)
        del routes
        world.build(instances=instances("a", "c"))
        assert gone() is None
    finally:
        gc.enable()


def test_a_route_of_a_snapshot_that_is_replaced_asks_the_routes_of_the_latest() -> None:
    """A response that began before a reload may come with a redirect after it."""
    world = World(instances=instances("a"))
    snapshot = world.builder.build(Config.model_validate({"services": {"a": {"url": "http://a"}}}), 2)
    match = snapshot.matcher.find(cast(Any, ANYBODY.request), b"/api/a/x")
    assert isinstance(match, RouteMatch)
    assert isinstance(match.route, Route)
    rewriting = match.route.handling.rewriting
    assert rewriting is not None
    assert [rewriting.is_public(b"h", path) for path in (b"/api/a/x", b"/api/b/x")] == [True, False]
    del snapshot
    world.builder.build(Config.model_validate({"services": {"b": {"url": "http://b"}}}), 3)
    assert [rewriting.is_public(b"h", path) for path in (b"/api/a/x", b"/api/b/x")] == [False, True]


# ---- what second tries have used up


def test_a_reload_does_not_refill_the_budget_of_retries() -> None:
    world = World(instances=instances("a", "b"))
    assert used_up(world.service.budget) == 10
    for _ in range(5):
        assert used_up(world.build(instances=instances("a", "b")).budget) == 0


def test_nor_does_another_setting_of_retries_or_instances() -> None:
    world = World(url="http://a", retries={"attempts": 1, "budget": "10%"})
    assert used_up(world.service.budget) == 10
    for written in (
        {"url": "http://a", "retries": 0},
        {"instances": instances("a", "b")},
        {"instances": instances("a", "b"), "retries": {"silence": 0}},
        {"instances": instances("b", "c"), "retries": {"budget": "50%"}},
        {"url": "http://c"},
    ):
        service = world.build(**written)
        assert used_up(service.budget) == 0, written
        assert service.failover is None or service.failover.budget is service.budget


def test_a_reload_does_not_refill_the_budget_of_hedges() -> None:
    written = {"instances": instances("a", "b"), "hedge": {"after": "50ms", "budget": "10%"}}
    world = World(**written)
    assert world.service.hedging is not None
    assert used_up(world.service.hedging.budget) == 10
    for again in (written, {"instances": written["instances"]}, {**written, "hedge": {"after": "9ms"}}):
        hedging = world.build(**again).hedging
        assert hedging is None or used_up(hedging.budget) == 0
    assert used_up(world.service.budget) == 10, "retries have their own"


def test_requests_that_came_before_a_reload_still_allow_for_retries_after_it() -> None:
    world = World(instances=instances("a", "b"))
    world.service.budget.requests += 1000
    assert world.build(instances=instances("a", "b")).budget.requests == 1000


def test_each_service_and_version_keeps_its_own() -> None:
    services = {
        "a": {"url": "http://a", "versions": {"v1": {}, "v2": {"url": "http://b"}}},
        "b": {"url": "http://a"},
    }
    config = Config.model_validate({"services": services})
    world = World(url="http://other")
    assert used_up(service_of(world.builder.build(config, 2), "/v1/a/x").budget) == 10
    after = world.builder.build(config, 3)
    left = {path: used_up(service_of(after, path).budget) for path in ("/api/a/x", "/v1/a/x", "/v2/a/x", "/api/b/x")}
    assert left == {"/api/a/x": 10, "/v1/a/x": 0, "/v2/a/x": 10, "/api/b/x": 10}


# ---- what registered


@pytest.mark.parametrize(
    ("top", "own", "named"), [(["fe80::/64"], None, 1), (["fe80::/64"], ["h.test"], 0), (None, None, 0)]
)
def test_names_that_registered_are_screened_and_written_ones_are_not(top: Any, own: Any, named: int) -> None:
    discover = {"source": "admin", **({"allow": own} if own else {})}
    services = {"a": {"url": "http://written.test", "discover": discover}}
    above = {"source": "admin", "services": ["none"], **({"allow": top} if top else {})}
    config = Config.model_validate({"services": services, "discover": above})
    world = World(url="http://other")

    def screens() -> dict[str, Any]:
        named = [instance for instance in world.service.instances if isinstance(instance, NamedInstance)]
        return {instance.name: instance.host_name._named for instance in named}

    for _ in range(2):
        world.service = service_of(world.builder.build(config, 2))
        world.builder.live.discover("a", [Found("http://h.test")])
        written, registered = screens().values()
        assert written is None
        assert len(registered) == named
    world.build(instances=instances("h.test"), discover="admin")
    assert screens() == {"h.test": None}, "what is written counts, registered or not"


# ---- instances that are reached by other means


def test_an_instance_with_other_tls_is_the_same_instance_but_for_its_connections_and_breaker() -> None:
    """As when a certificate is renewed. What failed before may have been the TLS, so its breaker begins anew."""
    written = {"instances": [{"url": "https://one.test"}, {"url": "https://two.test"}], "slow_start": 10}
    written["load_balancing"] = "power_of_two"
    world = World(**written, tls={"server_name": "one"})
    before = {instance.name: instance for instance in world.service.instances}
    world.builder.live.set_health([("a", "https://two.test", False)])
    one = before["one.test"]
    assert isinstance(one, NamedInstance)
    assert one.latency is not None
    one.host_name.addresses = ["192.0.2.7"]
    one.answered_at, one.returned, one.backoff_until = 1.0, 2.0, 3.0
    world.build(**written, tls={"server_name": "other"})
    after = {instance.name: instance for instance in world.service.instances}
    new = after["one.test"]
    assert isinstance(new, NamedInstance)
    assert new is not one
    assert new.host_name.addresses == ["192.0.2.7"], "nothing fails while the name cannot be looked up"
    assert (new.latency, new.answered_at, new.returned, new.backoff_until) == (one.latency, 1.0, 2.0, 3.0)
    assert {name: instance.healthy for name, instance in after.items()} == {"one.test": True, "two.test": False}


# ---- a build that fails


def test_a_build_that_fails_leaves_those_after_it_where_limits_are_counted_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what happens to instances is reported to the services of the current snapshot alone."""
    counted_in: list[Any] = []
    fails = False

    def build(written: Any, state: Any, consumers: Any, shared: Any, table: Any, *others: Any, **more: Any) -> Chain:
        counted_in.append((shared, table))
        if fails:
            raise LookupError
        return Chain()

    monkeypatch.setattr(builder_module, "build_chain", build)
    world = World(instances=instances("a", "b"))
    world.builder.live.set_health([("a", "http://a", False)])
    before = counted_in[-1]
    fails = True
    config = Config.model_validate({"services": {"a": {"instances": instances("a", "b")}}})
    other: Any = object()
    with pytest.raises(LookupError):
        at_once(world.builder.building(config, 2, Counting(other, None)))
    assert counted_in[-1] == (other, None)
    world.builder.live.set_health([("a", "http://a", True)])
    assert {world.choose(), world.choose()} == {"a", "b"}
    assert not world.builder.live._coming.of_upstream
    fails = False
    world.build(instances=instances("a", "b"))
    assert counted_in[-1] == before
    at_once(world.builder.building(config, 4, Counting(other, None)))
    world.build(instances=instances("a", "b"))
    assert counted_in[-1] == (other, None)


def test_replaced_routes_are_freed_though_no_collection_looks_at_them() -> None:
    world = World(url="http://h")
    others = {"services": {"a": {"url": "http://h", "case_insensitive": True}}, "policies": {"rewrite_location": True}}
    snapshot = world.builder.build(Config.model_validate(others), 2)
    rewriting = route_of(snapshot).handling.rewriting
    assert rewriting is not None
    assert rewriting.is_public(b"any", b"/api/a/x")
    router = weakref.ref(snapshot.matcher.router)
    gc.collect()
    gc.disable()
    try:
        snapshot = world.builder.build(Config.model_validate({"services": {"b": {"url": "http://h"}}}), 3)
        assert router() is None
    finally:
        gc.enable()
    assert not rewriting.is_public(b"any", b"/api/a/x"), "a response that outlasts them goes by the routes of now"
    assert rewriting.is_public(b"any", b"/api/b/x")
