"""Which side of a split a request takes, as a snapshot decides it: by its rules, its client, and the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from portico.config import Config
from portico.core.exchange import Exchange, RouteMatch
from portico.core.slices import at_once
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Snapshot
from portico.proxy.split import SplitWeights
from portico.snapshot.builder import SnapshotBuilder
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn
from upstreams.members import FakeDeadlines, exchange

NO_LOOP: Any = None
HALVES = {"old": 50, "new": 50}
TENTH = {"old": 90, "new": 10}


def config(weights: Mapping[str, float], *, rules: Mapping[str, Any] | None = None, **route: Any) -> Config:
    """A route `shop` whose sides are the services named here; `rules` are those of the last of them."""
    services = {name: {"instances": [f"http://{name}-{number}" for number in (1, 2)]} for name in weights}
    sides = [{"service": name, "weight": weight} for name, weight in weights.items()]
    sides[-1] |= rules or {}
    return Config.model_validate(
        {"services": services, "routes": [{"name": "shop", "path": "/shop", "split": sides, **route}]}
    )


class Worker:
    """A worker's builder and its snapshot."""

    def __init__(self, config: Config) -> None:
        self.metrics = Metrics()
        timers = cast(Deadlines, FakeDeadlines())
        self.builder = SnapshotBuilder(timers, cast(Turn, None), Path("/control"), {}, self.metrics)
        self.live = self.builder.live
        self.snapshot: Snapshot
        self.build(config)

    def build(self, config: Config) -> None:
        self.snapshot = self.builder.build(config, 1)

    def side(self, *lines: str, target: str = "/shop/x", **given: Any) -> str:
        """The service that a request is for, once it has passed all policies."""
        return str(self.passed(*lines, target=target, **given).match.handling.service_name)

    def passed(self, *lines: str, target: str = "/shop/x", **given: Any) -> Exchange:
        """A request that is about to be sent."""
        made = exchange(*lines, **given)
        assert made.request is not None
        found = self.snapshot.matcher.find(made.request, target.encode())
        assert isinstance(found, RouteMatch)
        made.match = found
        for policy in found.handling.policies:
            assert policy(made) is None
        if made.match is found:  # no side has policies of its own
            found.handling.forward(made, found.handling, NO_LOOP)
        return made

    def shares(self, times: int = 2000, **given: Any) -> Counter[str]:
        return Counter(self.side(**given) for _ in range(times))

    def sides(self, clients: int = 1000) -> list[str]:
        """That of each of so many clients, by address."""
        return [self.side(client_ip=f"192.0.2.{number}") for number in range(clients)]

    def fail(self, service: str, *, healthy: bool = False) -> None:
        self.live.set_health([(service, f"http://{service}-{number}", healthy) for number in (1, 2)])

    def diverted(self, service: str) -> int:
        return self.metrics.side("shop", service).diverted


def test_a_share_is_what_its_weight_says() -> None:
    worker = Worker(config(TENTH))
    assert all(8 <= worker.shares(100)["new"] <= 12 for _ in range(200))
    assert 1998 <= worker.shares(20_000)["new"] <= 2002


def test_clients_that_stay_are_as_many_as_the_weight_says() -> None:
    sides = Worker(config(TENTH, sticky="client_ip")).sides(20_000)
    assert 1880 <= sides.count("new") <= 2120


def test_a_client_stays_on_its_side_in_every_gateway() -> None:
    one, other = (Worker(config(HALVES, sticky="client_ip")) for _ in range(2))
    sides = one.sides()
    assert 440 <= sides.count("new") <= 560
    assert other.sides() == sides
    one.build(config(HALVES, sticky="client_ip"))
    assert one.sides() == sides


def test_whoever_is_on_the_new_side_stays_there_while_it_grows() -> None:
    worker = Worker(config({"old": 100, "new": 0}, sticky="client_ip"))
    before: set[int] = set()
    for share in (1, 5, 25, 50, 100):
        worker.live.set_weights({"shop": {"old": 100 - share, "new": share}})
        now = {number for number, side in enumerate(worker.sides()) if side == "new"}
        assert before <= now
        assert abs(len(now) - 10 * share) <= 40
        before = now


@pytest.mark.parametrize(
    ("sent", "holds"),
    [
        ({"shop": {"old": 0, "new": 100}}, {"new": 100}),
        ({"shop": {"new": 3}}, {"new": 100}),
        ({"shop": {"old": 1}}, {"old": 100}),
        ({"other": {"new": 100}}, None),
        ({"shop": {"new": 50, "third": 50}}, None),
        ({"shop": {"old": 0, "new": 0}}, None),
        ({}, None),
    ],
)
def test_weights_that_are_sent_hold_where_they_fit(sent: Any, holds: dict[str, int] | None) -> None:
    worker = Worker(config(HALVES))
    worker.live.set_weights(sent)
    assert (dict(worker.shares(100)) if holds else None) == holds
    worker.build(config(TENTH))
    assert (dict(worker.shares(100)) if holds else None) == holds
    worker.live.set_weights({})
    assert (dict(worker.shares(100)) if holds else None) == holds, "until there is another snapshot"
    worker.build(config(TENTH))
    assert 20 <= worker.shares(500)["new"] <= 90


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ({"a": 0.015, "b": 0.01, "c": 99.975}, [2, 3, 10000]),
        ({"a": 1, "b": 0, "c": 2}, [3333, 3333, 10000]),
        ({"a": 0, "b": 7}, [0, 10000]),
    ],
)
def test_every_side_has_its_part(weights: dict[str, float], parts: list[int]) -> None:
    assert SplitWeights(weights).parts == parts


def test_weights_sent_before_their_route_is_there() -> None:
    worker = Worker(config({"old": 1}))
    worker.live.set_weights({"shop": {"new": 1}})
    assert worker.shares(10) == {"old": 10}
    worker.build(config(TENTH))
    assert worker.shares(10) == {"new": 10}


def test_weights_sent_while_a_snapshot_is_made() -> None:
    worker = Worker(config({"old": 1}))
    building = worker.builder.building(config(TENTH), 2)
    next(building)
    worker.live.set_weights({"shop": {"new": 1}})
    worker.snapshot = at_once(building)
    assert worker.shares(10) == {"new": 10}


@pytest.mark.parametrize(
    ("rules", "lines", "side"),
    [
        ({"headers": {"X-Canary": "1"}}, ["X-Canary: 1"], "new"),
        ({"headers": {"X-Canary": "1"}}, ["x-canary: 1"], "new"),
        ({"headers": {"X-Canary": "1"}}, ["X-Canary: 2"], "old"),
        ({"headers": {"X-Canary": "1"}}, ["X-Canary: 2", "X-Canary: 1"], "new"),
        ({"headers": {"X-Canary": "1"}}, [], "old"),
        ({"headers": {"X-Canary": True}}, ["X-Canary:"], "new"),
        ({"headers": {"X-Canary": "~ ^v[23]$"}}, ["X-Canary: v3"], "new"),
        ({"headers": {"X-Canary": "~ ^v[23]$"}}, ["X-Canary: v34"], "old"),
        ({"cookies": {"beta": "1"}}, ["Cookie: a=b; beta=1"], "new"),
        ({"cookies": {"beta": "1"}}, ["Cookie: a=b", "Cookie: beta=1"], "new"),
        ({"cookies": {"beta": "1"}}, ["Cookie: xbeta=1; beta=11"], "old"),
        ({"cookies": {"beta": "1"}}, ["Cookie: beta=0; beta=1"], "new"),
        ({"headers": {"X-A": "1"}, "cookies": {"beta": True}}, ["Cookie: beta="], "new"),
    ],
)
def test_a_side_that_is_asked_for(rules: dict[str, Any], lines: list[str], side: str) -> None:
    worker = Worker(config({"old": 1, "new": 0}, rules=rules))
    assert worker.side(*lines) == side


@pytest.mark.parametrize(
    ("sticky", "known", "unknown"),
    [
        ("consumer", {"consumer": "alice"}, {}),
        ("client_ip", {"client_ip": "192.0.2.9"}, None),
        ({"header": "X-User"}, {"lines": ["X-User: alice"]}, {"lines": ["X-Other: alice"]}),
        ("cookie", {"lines": ["Cookie: portico_split_shop=77"]}, {"lines": ["Cookie: portico_split_shop=x"]}),
        ({"cookie": "half"}, {"lines": ["Cookie: a=1; half=77"]}, {"lines": ["Cookie: portico_split_shop=77"]}),
    ],
)
def test_by_what_a_client_is_known(sticky: Any, known: dict[str, Any], unknown: dict[str, Any] | None) -> None:
    worker = Worker(config(HALVES, sticky=sticky))
    assert len({worker.side(*known.get("lines", ()), **_fields(known)) for _ in range(50)}) == 1
    if unknown is not None:
        assert len({worker.side(*unknown.get("lines", ()), **_fields(unknown)) for _ in range(50)}) == 2


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "lines"}


def test_a_cookie_holds_the_number_of_a_client() -> None:
    worker = Worker(config(HALVES, sticky={"cookie": "auto", "max_age": "1h"}))
    first = worker.passed()
    vary, cookie, control = first.response_lines
    assert (vary, control) == (b"Vary: Cookie", b"Cache-Control: private")
    pair, _, attributes = cookie.decode().partition(": ")[2].partition("; ")
    assert attributes == "Path=/shop; HttpOnly; SameSite=Lax; Max-Age=3600"
    for _ in range(20):
        again = worker.passed(f"Cookie: {pair}")
        assert again.match.handling.service_name == first.match.handling.service_name
        assert again.response_lines == (vary,)


def test_routes_that_name_a_cookie_share_it() -> None:
    worker = Worker(config(HALVES, sticky={"cookie": "half"}))
    cookie = worker.passed().response_lines[1]
    assert b"; Path=/; HttpOnly; SameSite=Lax" in cookie


def test_the_share_of_a_side_that_is_down_goes_to_the_others() -> None:
    worker = Worker(config({"old": 60, "new": 20, "third": 20}, sticky="client_ip"))
    before = worker.sides()
    worker.fail("new")
    after = worker.sides()
    assert [side for side in after if side == "new"] == []
    assert all(now == then for now, then in zip(after, before, strict=True) if then != "new")
    moved = Counter(now for now, then in zip(after, before, strict=True) if then == "new")
    assert 2 <= moved["old"] / moved["third"] <= 4.5
    assert worker.diverted("new") == moved.total()
    worker.fail("new", healthy=True)
    assert worker.sides() == before


def test_a_side_that_is_down_may_refuse() -> None:
    worker = Worker(config(HALVES, otherwise="refuse"))
    worker.fail("new")
    assert set(worker.shares(100)) == {"old", "new"}
    assert worker.diverted("new") == 0


def test_with_all_sides_down_each_keeps_its_own() -> None:
    worker = Worker(config(HALVES))
    worker.fail("new")
    worker.fail("old")
    assert set(worker.shares(100)) == {"old", "new"}


def test_a_side_without_weight_gets_nothing_of_another_that_is_down() -> None:
    worker = Worker(config({"old": 1, "new": 0}))
    worker.fail("old")
    assert worker.shares(10) == {"old": 10}


@pytest.mark.parametrize("instances", [(9, 2), (1, 7)])
def test_shares_belong_to_services_and_not_to_instances(instances: tuple[int, int]) -> None:
    written = config({"old": 80, "new": 20}).model_dump(include={"routes"}, exclude_unset=True)
    counts = dict(zip(("old", "new"), instances, strict=True))
    services = {name: {"instances": [f"http://{name}-{n}" for n in range(count)]} for name, count in counts.items()}
    worker = Worker(Config.model_validate({**written, "services": services}))
    served: Counter[str] = Counter()
    for _ in range(10_000):
        passed = worker.passed()
        served[passed.match.handling.service.choose((), passed).name] += 1
    for name, share in (("old", 8000), ("new", 2000)):
        own = [count for instance, count in served.items() if instance.startswith(name)]
        assert len(own) == counts[name]
        assert abs(sum(own) - share) <= 5
        assert max(own) - min(own) <= 1


def test_what_happens_to_a_side_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "portico.splits")
    worker = Worker(config(HALVES))
    worker.fail("new")
    worker.shares(100)
    worker.fail("new", healthy=True)
    worker.shares(100)
    assert [(record.levelname, record.message, vars(record)["service"]) for record in caplog.records] == [
        ("WARNING", "a side of a split has no instance that can be used", "new"),
        ("INFO", "a side of a split has an instance again", "new"),
    ]


def test_the_weights_of_a_route_are_the_same_at_every_listener() -> None:
    written = config(HALVES).model_dump(mode="json", exclude_unset=True)
    listen = [{"name": "all", "port": 1}, {"name": "shops", "port": 2, "routes": ["shop"]}]
    worker = Worker(Config.model_validate({**written, "gateway": {"listen": listen}}))
    snapshot = worker.snapshot
    for weights, expected in (({"old": 0, "new": 100}, "new"), ({"old": 100, "new": 0}, "old")):
        worker.live.set_weights({"shop": weights})
        for listener in ("all", "shops"):
            worker.snapshot = snapshot.at(listener)
            assert set(worker.shares(20)) == {expected}, listener
