"""Decisions that several gateways share, in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from msgspec.structs import replace

from portico.processes.control import canary_redis
from portico.processes.control.canary import begun, commanded
from portico.processes.control.canary_counts import Counts, Sides
from portico.processes.control.canary_records import Record
from portico.processes.control.canary_redis import SharedCanaries, problems
from support.redis_process import RedisProcess
from support.redis_servers import RedisServer, cluster

TIMEOUT = 20.0
BEGUN = begun(("shop", "next", (5.0, 100.0)), 1_800_000_000.0)
TWO = Record(BEGUN, Sides(Counts(10, 1), Counts(2)))
Scene = Callable[[SharedCanaries, SharedCanaries], Awaitable[None]]


@pytest.fixture(scope="module")
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


@pytest.fixture(autouse=True)
def _empty(store: RedisProcess) -> None:
    store.client.flushall()


def play(url: str, scene: Scene) -> None:
    async def both() -> None:
        one, other = SharedCanaries(url), SharedCanaries(url)
        try:
            await scene(one, other)
        finally:
            await one.close()
            await other.close()

    asyncio.run(asyncio.wait_for(both(), TIMEOUT))


async def _agree(one: SharedCanaries, other: SharedCanaries) -> None:
    first = await one.exchange("r", TWO)
    assert (first.decision, first.counted, first.leads) == (BEGUN, TWO.counted, True)
    second = await other.exchange("r", Record(begun(("shop", "next", (5.0, 100.0)), 5.0), TWO.counted))
    assert second.decision == BEGUN, "the first one began it"
    second = await other.exchange("r", TWO)
    assert (second.counted.old.requests, second.counted.old.errors, second.counted.new.requests) == (20, 2, 4)
    assert not second.leads
    promoted = commanded(BEGUN, "promote", "anna", "", 6.0)
    assert await other.replace("r", BEGUN, promoted)
    assert not await one.replace("r", BEGUN, commanded(BEGUN, "abort", "ben", "", 7.0)), "which knows nothing of that"
    third = await one.exchange("r", TWO)
    assert (third.decision, third.counted) == (promoted, Sides()), "what was counted belongs to what was"


def test_one_decision_and_the_counts_of_both(store: RedisProcess) -> None:
    play(store.url, _agree)


def test_in_a_cluster() -> None:
    with cluster() as nodes:
        play(f"redis+cluster://127.0.0.1:{nodes[0].port}", _agree)


def test_another_one_decides_when_the_first_is_gone(store: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_redis, "_LEASE", 50)

    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        assert (await one.exchange("r", TWO)).leads
        while not (await other.exchange("r", TWO)).leads:
            await asyncio.sleep(0.005)

    play(store.url, scene)


def test_what_redis_has_lost_is_written_again(store: RedisProcess) -> None:
    later = replace(commanded(BEGUN, "pause", "anna", "", 6.0), elapsed=3.0)

    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        await one.exchange("r", TWO)
        store.client.flushall()
        assert (await other.exchange("r", TWO)).decision == BEGUN
        assert (await one.exchange("r", Record(later))).decision == later
        assert (await other.exchange("r", TWO)).decision == later

    play(store.url, scene)


def test_what_a_gateway_knows_of_an_earlier_run_is_over(store: RedisProcess) -> None:
    """It was away while the canary was taken out of the file, and written again for the next release."""
    old = begun(BEGUN.of, 1.0)
    for action in ("promote", "abort"):
        old = commanded(old, action, "anna", "", 2.0)
    assert old.version > BEGUN.version

    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        await one.exchange("r", TWO)
        found = await other.exchange("r", Record(old, TWO.counted))
        assert (found.decision, found.counted) == (BEGUN, TWO.counted)
        same_version = commanded(begun(BEGUN.of, 1.0), "pause", "anna", "", 2.0)
        assert not await other.replace("r", begun(BEGUN.of, 1.0), same_version)
        assert (await one.exchange("r", TWO)).decision == BEGUN

    play(store.url, scene)


def test_another_canary_of_the_route_is_another_one(store: RedisProcess) -> None:
    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        await one.exchange("r", Record(commanded(BEGUN, "promote", "anna", "", 6.0)))
        for service, to, steps in (("shop", "other", (5.0, 100.0)), ("shop", "next", (5.0,)), ("next", "shop", (5.0,))):
            begins = begun((service, to, steps), 7.0)
            assert (await other.exchange("r", Record(begins))).decision == begins

    play(store.url, scene)


def test_what_is_forgotten_begins_anew(store: RedisProcess) -> None:
    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        promoted = commanded(BEGUN, "promote", "anna", "", 6.0)
        await one.exchange("r", Record(promoted))
        assert all(0 < store.client.pttl(key) <= canary_redis._KEPT for key in store.client.keys("*"))
        await one.forget("r", promoted)
        assert store.client.keys("*") == []
        assert (await other.exchange("r", TWO)).decision == BEGUN

    play(store.url, scene)


def test_what_another_release_wrote_is_a_problem_and_no_crash(store: RedisProcess) -> None:
    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        await one.exchange("r", TWO)
        (key,) = (key for key in store.client.keys("*") if store.client.type(key) == "hash" and "counted" not in key)
        store.client.hset(key, "decision", "{}")
        with pytest.raises(problems()):
            await other.exchange("r", TWO)

    play(store.url, scene)


def test_without_redis() -> None:
    async def scene(one: SharedCanaries, other: SharedCanaries) -> None:
        for call in (one.exchange("r", TWO), other.replace("r", BEGUN, BEGUN)):
            with pytest.raises(problems()):
                await call

    with RedisServer() as gone:
        url = gone.url
    play(url, scene)
