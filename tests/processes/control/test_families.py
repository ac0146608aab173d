"""Families of refresh tokens, in a file and in Redis: what turns them, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from portico.processes.control.tokens.families import Families, Family, FileFamilies, StoreError, Turn
from portico.processes.control.tokens.shared_families import SharedFamilies
from support.redis_process import RedisProcess

FAMILY = Family("alice", ["read"], "", "mark")
DAY = 86_400.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    with RedisProcess() as server:
        yield server


@pytest.fixture(params=["file", "memory", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Families]:
    if request.param == "redis":
        url = request.getfixturevalue("redis").url
        return lambda: SharedFamilies(url)
    path = tmp_path / "new" / "families.sqlite" if request.param == "file" else None
    return lambda: FileFamilies(path)


def play(opened: Callable[[], Families], story: Callable[[Families, str], Awaitable[None]], name: str) -> None:
    async def run() -> None:
        families = opened()
        try:
            await families.begin(name, FAMILY, DAY)
            await story(families, name)
        finally:
            await families.close()

    asyncio.run(run())


def test_each_token_is_followed_by_the_next(opened: Callable[[], Families]) -> None:
    async def story(families: Families, name: str) -> None:
        assert await families.find(name) == FAMILY
        assert await families.turn(name, 0, DAY, 0) == Turn(1)
        assert await families.turn(name, 1, DAY, 0) == Turn(2)
        await families.end(name)
        assert await families.find(name) is None
        assert await families.turn(name, 2, DAY, 0) == Turn(None)

    play(opened, story, "follows")


def test_within_the_grace_the_last_one_leads_to_the_same(opened: Callable[[], Families]) -> None:
    async def story(families: Families, name: str) -> None:
        assert [await families.turn(name, 0, DAY, 60) for _ in range(3)] == [Turn(1)] * 3
        assert await families.turn(name, 1, DAY, 60) == Turn(2)
        assert await families.turn(name, 0, DAY, 60) == Turn(None, was_reused=True)
        assert await families.turn(name, 2, DAY, 60) == Turn(None)

    play(opened, story, "grace")


def test_without_grace_a_token_that_comes_again_ends_the_family(opened: Callable[[], Families]) -> None:
    async def story(families: Families, name: str) -> None:
        assert await families.turn(name, 0, DAY, 0) == Turn(1)
        assert await families.turn(name, 0, DAY, 0) == Turn(None, was_reused=True)
        assert await families.find(name) is None

    play(opened, story, "again")


def test_a_family_that_is_not_used_expires(tmp_path: Path) -> None:
    now = 1000.0
    families = FileFamilies(tmp_path / "families.sqlite", lambda: now)

    async def story() -> None:
        nonlocal now
        await families.begin("a", FAMILY, 10)
        now += 9
        assert await families.turn("a", 0, 10, 0) == Turn(1)
        now += 9
        assert await families.turn("a", 1, 10, 5) == Turn(2)
        now += 4.9
        assert await families.turn("a", 1, 10, 5) == Turn(2)
        now += 5.2
        assert await families.find("a") is None
        assert await families.turn("a", 2, 10, 0) == Turn(None)
        await families.close()

    asyncio.run(story())


def test_the_file_is_this_users_alone_and_outlasts_its_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "families.sqlite"

    async def begin() -> None:
        first = FileFamilies(path)
        await first.begin("a", FAMILY, DAY)
        await first.close()
        second = FileFamilies(path)
        assert await second.find("a") == FAMILY
        await second.close()

    asyncio.run(begin())
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, but text that is long enough to be none" * 20)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError):
            FileFamilies(path)


def test_a_redis_that_is_away() -> None:
    async def ask() -> None:
        families = SharedFamilies("redis://127.0.0.1:1")
        with pytest.raises(StoreError, match="Redis"):
            await families.turn("a", 0, DAY, 0)
        await families.close()

    asyncio.run(ask())
