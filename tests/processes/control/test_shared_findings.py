"""Gateways that share what their health checks find, in a real Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest

from portico.config import Config, ConfigError, load_text
from portico.processes.control import shared_findings
from portico.processes.control.prober import Finding
from portico.processes.control.shared_findings import SharedFindings
from support.checked import Instance, World, configured
from support.redis_process import RedisProcess
from support.redis_servers import cluster

TIMEOUT = 20.0
CHECK = "{path: /health, interval: 500ms, timeout: 5, unhealthy_after: 2, shared: true}"
Scene = Callable[[World, World, Instance], Awaitable[None]]


@pytest.fixture(scope="module")
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


@pytest.fixture(autouse=True)
def _empty(store: RedisProcess) -> None:
    store.client.flushall()


def play(scene: Scene) -> None:
    """A scene with two gateways and an instance."""

    async def run() -> None:
        one, other, instance = World(), World(), Instance()
        await instance.start()
        try:
            await scene(one, other, instance)
        finally:
            await one.health.close()
            await other.health.close()
            await instance.stop()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def shared(url: str, instance: Instance, check: str = CHECK) -> Config:
    return configured(check, instance.url, environment={"REDIS_URL": url})


async def counted(world: World, passes: int) -> None:
    """Until its check of the instance has passed so often."""
    while next(iter(world.health.checks.values())).passes < passes:
        await asyncio.sleep(0.01)


async def _one_asks(url: str, one: World, other: World, instance: Instance) -> None:
    config = shared(url, instance)
    one.health.watch(config)
    other.health.watch(config)
    await asyncio.gather(counted(one, 5), counted(other, 5))
    passes = [next(iter(world.health.checks.values())).passes for world in (one, other)]
    assert max(passes) <= instance.asked <= max(passes) + 1, "each finding is counted once, by both"
    instance.status = "503 No"
    assert await one.turned.get() == await other.turned.get() == ("s", instance.url, False)
    instance.status = "200 OK"
    assert await one.turned.get() == await other.turned.get() == ("s", instance.url, True)


def test_one_gateway_asks_and_both_count(store: RedisProcess) -> None:
    play(lambda one, other, instance: _one_asks(store.url, one, other, instance))


def test_in_a_cluster() -> None:
    with cluster() as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        play(lambda one, other, instance: _one_asks(url, one, other, instance))


def test_who_asks_and_is_gone_is_waited_for_no_longer_than_the_check_may_take(
    store: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_findings, "_TIMEOUT", 0.2)

    async def scene(one: World, other: World, instance: Instance) -> None:
        config = shared(store.url, instance, CHECK.replace("timeout: 5", "timeout: 200ms"))
        instance.answers.clear()
        one.health.watch(config)
        await instance.asked_times(1)
        await one.health.close()
        instance.answers.set()
        other.health.watch(config)
        await counted(other, 1)

    play(scene)


def test_while_redis_is_away_each_asks_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_findings, "_PAUSE", 0.1)
    caplog.set_level(logging.INFO)

    async def scene(one: World, other: World, instance: Instance) -> None:
        with RedisProcess() as away:
            config = shared(away.url, instance)
            one.health.watch(config)
            other.health.watch(config)
            await asyncio.gather(counted(one, 2), counted(other, 2))
            away.pause()
            before = instance.asked
            await instance.asked_times(before + 6)
            assert [record.getMessage() for record in caplog.records] == [
                "health checks are not shared while Redis is away: each gateway asks by itself"
            ] * 2
            away.resume()
            while len(caplog.records) < 4:
                await asyncio.sleep(0.01)
            assert {record.getMessage() for record in caplog.records[2:]} == {"health checks are shared again"}
            assert one.turned.empty()
            assert other.turned.empty()

    play(scene)


def test_once_redis_is_away_no_check_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_findings, "_TIMEOUT", 0.1)
    monkeypatch.setattr(shared_findings, "_PAUSE", 0.0)

    async def scene(one: World, other: World, instance: Instance) -> None:
        with RedisProcess() as away:
            config = shared(away.url, instance)
            one.health.watch(config)
            (check,) = one.health.checks.values()
            assert check.settings is not None
            findings = SharedFindings(away.url)
            away.pause()
            assert await findings.known(check, check.settings) is None
            with pytest.raises(StopIteration):
                findings.known(check, check.settings).send(None)  # has nothing to await
            away.resume()
            while await findings.known(check, check.settings) is None:
                findings.tell(check, check.settings, Finding(0.0, None))
                await asyncio.sleep(0.01)
            await findings.close()

    play(scene)


def test_a_check_with_other_settings_counts_no_finding_again(store: RedisProcess) -> None:
    async def scene(one: World, other: World, instance: Instance) -> None:
        instance.status = "503 No"
        one.health.watch(shared(store.url, instance, CHECK.replace("500ms", "1h")))
        other.health.watch(shared(store.url, instance, CHECK.replace("500ms", "1h")))
        while not all(check.failures for world in (one, other) for check in world.health.checks.values()):
            await asyncio.sleep(0.01)
        assert instance.asked == 1
        findings = SharedFindings(store.url)
        for world in (one, other):
            world.health.watch(shared(store.url, instance, CHECK.replace("500ms", "2h")))
            (check,) = world.health.checks.values()
            assert check.settings is not None
            assert check.failures == 1
            known = await findings.known(check, check.settings)
            assert known is not None
            assert known.finding is None
        await findings.close()

    play(scene)


def test_what_is_no_finding_is_replaced(store: RedisProcess, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(one: World, other: World, instance: Instance) -> None:
        config = shared(store.url, instance)
        one.health.watch(config)
        await counted(one, 1)
        await one.health.close()
        (key,) = store.client.keys("portico:health:*")
        store.client.hset(key, "found", '[1, {"x": 2}]')
        other.health.watch(config)
        await counted(other, 1)
        await other.health.close()
        store.client.set(key, "text")
        third = World()
        third.health.watch(config)
        await counted(third, 1)
        await third.health.close()
        store.client.hdel(key, "found")
        fourth = World()
        fourth.health.watch(config)
        await counted(fourth, 1)
        await fourth.health.close()
        assert not caplog.records

    play(scene)


def test_an_instance_that_a_worker_ejected_is_asked_anew(store: RedisProcess) -> None:
    async def scene(one: World, other: World, instance: Instance) -> None:
        config = shared(store.url, instance, CHECK.replace("500ms", "2s"))
        other.health.watch(config)
        await counted(other, 1)
        one.health.watch(config)
        one.health.ejected("worker-0", "s", instance.url, after_failure=False)
        assert await one.passed.get() == ("worker-0", "s", instance.url)
        assert instance.asked == 2

    play(scene)


@pytest.mark.parametrize(
    "services",
    [
        "services: {s: {url: http://h, health_check: {shared: true}}}",
        "services: {s: {versions: {v: {url: http://h, health_check: {shared: true}}}}}",
    ],
)
def test_it_takes_a_redis(services: str) -> None:
    with pytest.raises(ConfigError, match=r"health_check\.shared: needs a Redis that gateways share: set REDIS_URL"):
        load_text(services, "portico.yaml", {})
