"""Registered instances come and go by what has changed alone: what is there then is what a build would make of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, TypeAlias, cast

import pytest

from portico.config import Config
from portico.core.found import Found
from portico.core.overrides import Override
from portico.observe.metrics import Metrics
from portico.snapshot.builder import SnapshotBuilder
from portico.upstreams.instance import Instance
from portico.upstreams.service import Service
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn
from upstreams.members import FakeDeadlines

Members: TypeAlias = dict[str, tuple[int, bool, bool]]
"""By name: weight, whether it may be chosen, whether it is a backup."""

URLS = [f"http://h{number}" for number in range(6)]
VERSIONED = {
    "versions": {"v1": {}, "v2": {"instances": [{"url": "http://h0", "weight": 5}]}, "v3": {"tls": {"verify": False}}}
}
OF_REGISTRATIONS: list[dict[str, Any]] = [
    {},
    {"url": "http://h1"},
    {"instances": [{"url": "http://h1", "weight": 3}, {"url": "http://written"}], **VERSIONED},
    {"url": "http://written", "load_balancing": "least_connections", "sticky": {"cookie": "auto"}, **VERSIONED},
    {"load_balancing": {"consistent_hash": {"header": "X-None"}}, "slow_start": 10},
]


def made() -> SnapshotBuilder:
    return SnapshotBuilder(
        cast(Deadlines, FakeDeadlines()), cast(Turn, None), Path("/control"), {}, Metrics(), secret=b"s"
    )


def configured(service: Mapping[str, Any], **others: Any) -> Config:
    written = {"discover": "admin", "health_check": False, **service}
    return Config.model_validate({"services": {"a": written, "b": {"url": "http://b"}, **others}})


def services(builder: SnapshotBuilder, config: Config) -> Iterator[Service]:
    for version in (None, *config.services["a"].versions):
        yield builder.live.service("a", version)


def members(service: Service) -> Members:
    return {
        each.name: (service.weight_of(each), each in service.available, each.is_backup) for each in service.instances
    }


def is_retired(instance: Instance) -> bool:
    return instance.breaker is None and instance.idle_time == 0.0


def registrations(random: Random) -> list[Found]:
    """Of each URL none, one, or several of which the first counts."""
    versions = (None, "v1", "v2", "v3")
    return [
        Found(url, random.randint(1, 3), random.choice(versions), backup=random.random() < 0.2)
        for url in URLS
        for _ in range(random.choice((0, 0, 1, 1, 2)))
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("service", OF_REGISTRATIONS, ids=str)
def test_what_has_changed_makes_what_a_build_makes_of_all(service: dict[str, Any], seed: int) -> None:
    random = Random(seed)
    builder, config = made(), configured(service)
    builder.build(config, 1)
    for turn in range(12):
        found = registrations(random)
        builder.live.discover("a", found)
        fresh = made()
        fresh.live.learn({"a": found})
        fresh.build(config, 1)
        for one, other in zip(services(builder, config), services(fresh, config), strict=True):
            assert members(one) == members(other)
            assert set(one.authorities) == set(other.authorities)
            assert one.reachable == other.reachable
        known = {(key, url, each.name) for key, url, each in builder.live._current.instances}
        assert known == {(key, url, each.name) for key, url, each in fresh.live._current.instances}
        if turn % 4 == 3:
            builder.build(config, turn)


@pytest.mark.parametrize("seed", range(6))
def test_what_becomes_of_instances_while_a_snapshot_is_built_is_in_it(seed: int) -> None:
    """Breakers open and close, and instances are drained, between any two steps of a build."""
    random = Random(seed)
    urls = [f"http://h{number}" for number in range(12)]
    config = configured({"instances": [{"url": url} for url in urls], "discover": False, "circuit_breaker": {}})
    grown = configured(
        {"instances": [{"url": url} for url in (*urls[3:], "http://new")], "discover": False, "circuit_breaker": {}}
    )
    builder = made()
    builder.build(config, 1)
    overrides: dict[str, Override] = {}

    def happen() -> None:
        url = random.choice([*urls, "http://new"])
        if random.random() < 0.5:
            overrides.pop(url, None) or overrides.update(
                {url: Override("a", url, is_drained=random.random() < 0.5, weight=2)}
            )
            builder.live.override([*overrides.values()])
            return
        for each in builder.live._current.instances.at("a", url):
            assert each.breaker is not None
            if each.breaker.state == 0:
                for _ in range(5):
                    each.breaker.failed(object())
            else:
                each.breaker.deadline_passed()

    for generation in range(2, 8):
        for _ in builder.building(grown if generation % 2 else config, generation):
            if random.random() < 0.3:
                happen()
        for _ in builder.live.retiring():
            happen()
        service = builder.live.service("a", None)
        before = members(service)
        service.refresh()
        assert members(service) == before, "as one that looks at all of them now"
        expected = {each.name for each in service.instances if each.is_drained}
        assert expected <= {each.name for each in service.instances if not service.weight_of(each)}
        drained = {url.removeprefix("http://") for url, said in overrides.items() if said.is_drained}
        assert expected == drained & {each.name for each in service.instances}


def test_instances_that_are_gone_keep_no_connection_and_no_breaker() -> None:
    builder = made()
    builder.build(configured({}), 1)
    builder.live.discover("a", [Found("http://one"), Found("http://two")])
    one, two = builder.live.service("a", None).instances
    builder.live.discover("a", [Found("http://two")])
    assert is_retired(one)
    assert not is_retired(two)
    builder.build(configured({"instances": [{"url": "http://three"}], "discover": False}), 2)
    assert is_retired(two)
